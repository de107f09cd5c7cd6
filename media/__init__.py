"""The media plane. Only this package imports aiortc and its relatives."""
