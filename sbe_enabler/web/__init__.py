"""The only package that relies on names that Daphne, Twisted and autobahn do not document.

Elsewhere, only `events.consumers` imports from these libraries: one public exception of autobahn. The rest of the
project uses `DaphneServer` and `endpoint` of `sbe_enabler.web.server`, whose interface uses no types of the libraries.
`tests/sbe_enabler/test_daphne_adapter.py` is the contract: it fails when a release changes anything that these modules
rely on.
"""
