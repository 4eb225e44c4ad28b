"""The last snapshot of a model that passed the data gate: what the next one is held against."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from kubeloop.decisions import Decision
from kubeloop.digests import canonical_json
from kubeloop.errors import KubeloopError

if TYPE_CHECKING:
    from kubeloop.site import Site


@dataclass(frozen=True)
class LastSnapshot:
    """What is known of it.

    Attributes:
        status: `known`; `none_yet`: the store answered that there is none; `unavailable`: the store did not answer, or
            what it holds cannot be read.
        digest: Of the snapshot.
        profile: rows, and columns: name -> null_rate, and for numbers that are not personal mean and deviation.
        detail: Why it is unavailable.
    """

    status: Literal["known", "none_yet", "unavailable"]
    digest: str = ""
    profile: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


def last_snapshot(site: "Site", name: str) -> LastSnapshot:
    """The last snapshot of the model `name` that passed; never raises for a store that does not answer."""
    from kubeloop.site.addresses import filesystem

    try:
        files, path = filesystem(site, _address(site, name))
        if not files.exists(path):
            return LastSnapshot("none_yet")
        document = json.loads(files.cat_file(path))
        return LastSnapshot("known", str(document["digest"]), dict(document["profile"]))
    except (KubeloopError, OSError, ValueError, KeyError, TypeError) as error:
        return LastSnapshot("unavailable", detail=type(error).__name__)


def keep_if_passed(site: "Site", name: str, decision: Decision, facts: Mapping[str, Any]) -> None:
    """Remember a snapshot, as `validate` tells of it in its facts, if the data gate passed it.

    Raises:
        InputError: The disk is full.
    """
    from kubeloop.site.addresses import filesystem, write_whole

    if decision.verdict == "pass":
        files, path = filesystem(site, _address(site, name))
        document = {"digest": facts["snapshot"], "profile": facts["profile"]}
        write_whole(files, path, canonical_json(document).encode("ascii"))


def _address(site: "Site", name: str) -> str:
    return f"{site.store}/snapshots/{site.namespace}/{name}.json"
