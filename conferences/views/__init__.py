"""The REST interface (protocol sections 3, 4 and 6). A view parses the request, calls one operation and renders."""
