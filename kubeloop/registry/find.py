"""Find the version that a person means."""

import re

import sqlalchemy as sa

from kubeloop.errors import InputError
from kubeloop.registry.versions import Version, challenger, search, versions

_SHORTEST = 6


def find(engine: sa.Engine, namespace: str, name: str, which: str) -> Version:
    """The one version of `name` that `which` says.

    Args:
        engine: Of the Site.
        namespace: Whose registry.
        name: The model.
        which: `champion`, `challenger`, a number such as `3` or `v3`, a semantic number such as `1.2.0`, or a digest
            or its first six or more digits.

    Raises:
        InputError: There is no such model, no such version, or more than one.
    """
    known = versions(engine, namespace, name)
    if not known:
        names = sorted({version.name for version in search(engine, namespace)})
        raise InputError(
            f"a registered model was expected, got {name!r}",
            f"registered are: {', '.join(names)}" if names else "register one with `kubeloop run`",
        )
    if which == "champion":
        found = [version for version in known if version.is_champion]
    elif which == "challenger":
        rival = challenger(engine, namespace, name)
        found = [rival] if rival else []
    else:
        found = [version for version in known if _is(version, which)]
    if len(found) != 1:
        raise InputError(
            f"one version of {name} was expected, and {which!r} is {'none' if not found else f'{len(found)} of them'}",
            f"numbers are {known[-1].version} to {known[0].version}; `kubeloop versions {name}` lists them",
            name=name,
        )
    return found[0]


def _is(version: Version, which: str) -> bool:
    if re.fullmatch(r"v?\d{1,9}", which) and int(which.removeprefix("v")) == version.version:
        return True
    if which in (version.semantic, version.digest):
        return True
    digits = which.removeprefix("sha256-")
    return len(digits) >= _SHORTEST and version.digest[7:].startswith(digits)
