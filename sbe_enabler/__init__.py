"""The wiring of the SBE Enabler: settings, URLs and processes. No other package imports it."""

__version__ = "0.1.0"
