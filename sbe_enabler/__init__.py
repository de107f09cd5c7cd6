"""The wiring of the SBE Enabler: settings, URLs, processes. Nothing imports it."""

__version__ = "0.1.0"
