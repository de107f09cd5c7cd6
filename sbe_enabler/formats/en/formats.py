"""Instants to the second with the year first, as in logs, so that support can compare them; with their zone."""

DATETIME_FORMAT = "Y-m-d H:i:s T"
