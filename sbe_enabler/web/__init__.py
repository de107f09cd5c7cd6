"""The only package that imports Daphne, Twisted and autobahn, and relies on names that they do not document.

The rest of the project uses `DaphneServer` and `endpoint` of `sbe_enabler.web.server`, whose interface has none of
their types. `tests/sbe_enabler/test_daphne_adapter.py` is the contract: it fails when a release changes anything that
these modules rely on.
"""
