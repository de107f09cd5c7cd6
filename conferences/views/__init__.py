"""The REST interface (protocol sections 3, 4 and 6). Views translate: parse, one call, render."""
