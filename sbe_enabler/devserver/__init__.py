"""The Dev Server of the sheet: the application behind the test page, a client of the enabler like any other.

It knows the enabler by REST and its API key only, so it also works against an enabler elsewhere.
"""
