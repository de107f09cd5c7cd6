"""The wiring of the SBE Enabler: settings, URLs, processes. Nothing imports it."""
