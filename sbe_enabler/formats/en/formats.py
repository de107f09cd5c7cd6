"""Instants as in logs, so that support can compare them: year first, to the second, and with their time zone."""

DATETIME_FORMAT = "Y-m-d H:i:s T"
