"""One way to hash a document, a file tree, a row, a table. A digest is written `sha256-` and 64 hexadecimal digits."""

from typing import TYPE_CHECKING, Any

from kubeloop.digests.documents import canonical_json, document_digest
from kubeloop.digests.trees import file_digest, tree_digest

if TYPE_CHECKING:
    from kubeloop.digests.rows import row_digests, table_digest

__all__ = ["canonical_json", "document_digest", "file_digest", "row_digests", "table_digest", "tree_digest"]


def __getattr__(name: str) -> Any:
    """Import what needs Arrow only when it is asked for."""
    if name in ("row_digests", "table_digest"):
        from kubeloop.digests import rows

        return getattr(rows, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
