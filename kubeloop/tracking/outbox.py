"""What tasks of a local run have to tell MLflow, kept until whoever drives the run tells it.

Importing MLflow costs more than a second of CPU in every process; a run on a laptop has eight. So its tasks leave a
file each, and the driver, which has time while they work, imports MLflow once and passes all of them on.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubeloop.errors import TransientError
from kubeloop.site.addresses import write_whole
from kubeloop.site.model import Site
from kubeloop.site.processes import HOME, OWNER, is_alive
from kubeloop.tracking.finite import plain

FOLDER = "mirror"
_OWED = ".owed"


def kept(call: str, arguments: Mapping[str, Any]) -> bool:
    """Keep a call for the driver of this run; False where there is none, and the caller tells MLflow itself.

    Args:
        call: `register_version` or `set_alias`.
        arguments: JSON types, without the Site.
    """
    home, owner = os.environ.get(HOME), os.environ.get(OWNER, "")
    joined = bool(os.environ.get("MLFLOW_RUN_ID"))
    if not home or joined or owner.partition(":")[0] == str(os.getpid()) or not is_alive(owner):
        return False
    from fsspec.implementations.local import LocalFileSystem

    # Named by time: an alias is set after its version was told.
    place = (Path(home) / FOLDER / f"{time.time_ns():020d}-{os.getpid()}.json").resolve()
    write_whole(
        LocalFileSystem(), str(place), json.dumps({"call": call, "arguments": plain(arguments)}).encode("utf-8")
    )
    return True


def waiting(home: Path) -> list[Path]:
    """The kept calls, in their order."""
    return sorted((home / FOLDER).glob("[0-9]*.json"))


def owe(home: Path, run_id: str) -> None:
    """Note that a run has to be mirrored, before it begins: it may be killed."""
    place = home / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{run_id}{_OWED}").touch()


def owed(home: Path) -> list[str]:
    """Ids of the runs that have to be mirrored, in the order of their names."""
    return sorted(file.name.removesuffix(_OWED) for file in (home / FOLDER).glob(f"*{_OWED}"))


def settle(home: Path, run_id: str) -> None:
    """Note that a run is mirrored."""
    (home / FOLDER / f"{run_id}{_OWED}").unlink(missing_ok=True)


def pass_on(home: Path, site: Site) -> None:
    """Tell MLflow all that was kept. What it did not take stays, and so does what came after it.

    Args:
        home: Where tasks kept them.
        site: Whose MLflow.

    Raises:
        TransientError: MLflow did not take one.
    """
    for file in waiting(home):
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:  # another command passes on too
            continue
        try:
            _tell(site, document["call"], document["arguments"])
        except TransientError as error:
            if not error.context.get("gone"):
                raise
        file.unlink(missing_ok=True)


def _tell(site: Site, call: str, arguments: dict[str, Any]) -> None:
    from kubeloop.tracking import mlflow_store

    if call == "register_version":
        mlflow_store.register_version(site, **arguments)
    else:
        mlflow_store.set_alias(site, **arguments)
