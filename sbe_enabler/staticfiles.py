"""Static files under hashed names, which clients may cache forever."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also rewrites the imports between ES modules, so that a module never loads an old version of another module.

    A module's hash depends on the modules that it imports. So imports must not be circular, including imports of types
    in JSDoc comments.
    """

    support_js_module_import_aggregation = True
    # The most passes: one for each step of the longest chain of imports.
    max_post_process_passes = 20
