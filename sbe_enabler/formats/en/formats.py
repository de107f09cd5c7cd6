"""Instants with the year first, to the second and with their zone, as in logs, so that support can compare them."""

DATETIME_FORMAT = "Y-m-d H:i:s T"
