"""Static files under hashed names, so that they may be cached for ever."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Rewrite the imports between ES modules too, so that one module never loads another's old version.

    A module's name holds the hash of what it imports, so modules must not import each other in a circle; types
    that a JSDoc comment imports count as well.
    """

    support_js_module_import_aggregation = True
    # One pass for each step of the longest chain of imports.
    max_post_process_passes = 20
