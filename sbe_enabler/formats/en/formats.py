"""Instants to the second, in the order that sorts: support compares them with logs. With their zone."""

DATETIME_FORMAT = "Y-m-d H:i:s T"
