"""Static files under hashed names, so that they may be cached for ever."""

from servestatic.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Rewrite the imports between ES modules too, so that one module never loads another's old version."""

    support_js_module_import_aggregation = True
