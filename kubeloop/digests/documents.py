"""Digests of JSON documents."""

import hashlib
import json
from typing import Any


def canonical_json(document: Any) -> str:
    """ASCII JSON with sorted keys and no white space; equal documents give equal text.

    Raises:
        ValueError: The document holds a NaN or an infinity.
        TypeError: The document holds something that is no JSON type.
    """
    return json.dumps(document, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def document_digest(document: Any) -> str:
    """`sha256-...` of the canonical JSON of `document`."""
    return "sha256-" + hashlib.sha256(canonical_json(document).encode("ascii")).hexdigest()
