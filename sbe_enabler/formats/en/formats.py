"""Instants to the second, in the order that sorts: support compares them with logs."""

DATETIME_FORMAT = "Y-m-d H:i:s"
