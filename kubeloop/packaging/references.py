"""The reference profile's way into a package."""

import json
from pathlib import Path

from kubeloop.errors import PermanentError
from kubeloop.packaging.manifest import REFERENCE

PROFILE = "reference.zip"
MADE = "made.json"
"""Of a folder that `fit_monitor` wrote: the profile, and of which model it is."""

_FIX = "run the whole pipeline again; only the reference of the judged model is packaged"


def take_reference(folder: Path, stage: Path, estimator: str) -> str:
    """Copy a reference profile into a package.

    Args:
        folder: What `fit_monitor` wrote: the profile, and the digest of its model's file.
        stage: The package in the making.
        estimator: Digest of the judged estimator's file.

    Returns:
        Its path in the package.

    Raises:
        PermanentError: The folder is none of `fit_monitor`, or of another model.
    """
    try:
        made = json.loads((folder / MADE).read_text(encoding="ascii"))
        content = (folder / PROFILE).read_bytes()
    except (OSError, ValueError) as error:
        raise PermanentError(
            f"a reference from `fit_monitor` was expected in {folder.name}, but {error}", _FIX
        ) from error
    if made.get("estimator") != estimator:
        raise PermanentError(f"a reference of {estimator} was expected, but it is of {made.get('estimator')}", _FIX)
    (stage / REFERENCE).parent.mkdir(exist_ok=True)
    (stage / REFERENCE).write_bytes(content)
    return REFERENCE
