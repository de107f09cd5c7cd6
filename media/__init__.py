"""The media plane. Only this package imports aiortc, aioice and pylibsrtp."""
