"""The Dev Server of the design sheet: the back end of the test page, and an ordinary client of the enabler.

It uses the enabler only through REST with an API key, so the enabler may run on another server.
"""
