"""Secrets by reference: `${secret:name}` in a setting, the value in the environment or in a file."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from kubeloop.errors import InputError
from kubeloop.site.model import Site
from kubeloop.site.urls import REFERENCE

SECRET_DIR = Path("/etc/kubeloop/secret")


class Secret:
    """A value that no repr, str, format, pickle or JSON shows.

    Args:
        name: Its name, which may be shown.
        value: The value; read it with `reveal`, as late as possible.
    """

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def __reduce__(self) -> str:
        raise TypeError(f"{self!r} is not written to files or sent to processes; send its reference")


def secret_variable(name: str) -> str:
    """The environment variable that holds a secret."""
    return "KUBELOOP_SECRET_" + name.upper().replace("-", "_").replace(".", "_")


def read_secret(name: str, site: Site, environ: Mapping[str, str] = os.environ) -> Secret:
    """Look a secret up: `KUBELOOP_SECRET_<NAME>`, then `/etc/kubeloop/secret/<name>`, then `<home>/secrets/<name>`.

    The variable's name is the secret's in upper case with `-` and `.` as `_`. A file's last newline is dropped.

    Raises:
        InputError: It is nowhere, is empty, or lies in a file under `home` that others may read.
    """
    variable = secret_variable(name)
    own = None if site.home is None else site.home / "secrets" / name
    if variable in environ:
        value = environ[variable]
    elif (SECRET_DIR / name).is_file():
        value = (SECRET_DIR / name).read_text(encoding="utf-8")
    elif own is not None and own.is_file():
        _refuse_open(own)
        value = own.read_text(encoding="utf-8")
    else:
        places = [f"${variable}", str(SECRET_DIR / name), *([str(own)] if own else [])]
        raise InputError(
            f"the secret {name} is in none of {', '.join(places)}", "put its value into one of them", secret=name
        )
    value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise InputError(f"the secret {name} is empty", "put its value where it is looked up", secret=name)
    return Secret(name, value)


def resolve(text: str, site: Site, environ: Mapping[str, str] = os.environ) -> str:
    """`text` with each `${secret:name}` replaced by its value; use the result at once and keep it nowhere.

    Inside a URL the value is percent-encoded, as the parsers of URLs expect it; a text that is nothing but one
    reference becomes the bare value.

    Raises:
        InputError: A secret is not found, or is not kept closed.
    """
    inside_url = "://" in text
    return REFERENCE.sub(
        lambda found: (
            quote(read_secret(found[1], site, environ).reveal(), safe="")
            if inside_url
            else read_secret(found[1], site, environ).reveal()
        ),
        text,
    )


def _refuse_open(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(
            f"the secret file {path} has mode {mode:04o}, and 0600 was expected: others can read it",
            f"chmod 600 {path}",
            file=str(path),
        )
