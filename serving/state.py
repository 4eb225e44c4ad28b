"""Which endpoints this machine serves: one small file per model, believed only while its process lives."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from kubeloop.site.addresses import disk_full
from kubeloop.site.processes import identity, is_alive


@dataclass(frozen=True)
class Running:
    """A served model.

    Attributes:
        name: The model.
        pid: Process id of the supervisor.
        owner: Its identity, which no later process with the same id has.
        port: The public port on 127.0.0.1.
        url: `http://127.0.0.1:<port>`.
        digest: The package that answers.
        since: Since when this package answers, ISO 8601, UTC.
        standby: The package that waits beside it, proven, and could answer at once; empty: none.
        sink: Where labels are posted; empty: it is not watched.
        pages: Where its windows are shown; empty: it is not watched.
    """

    name: str
    pid: int
    owner: str
    port: int
    url: str
    digest: str
    since: str
    standby: str = ""
    sink: str = ""
    pages: str = ""


def running(home: Path) -> list[Running]:
    """The models that are served from a state root now, by name; files of dead supervisors are passed over."""
    found: list[Running] = []
    for file in sorted((home / "serving").glob("*.json")):
        # Half a file cannot be: it is written beside and renamed. One that vanishes meanwhile no longer serves.
        with contextlib.suppress(OSError, ValueError, TypeError):
            entry = Running(**json.loads(file.read_text(encoding="utf-8")))
            if is_alive(entry.owner):
                found.append(entry)
    return found


def write(
    home: Path, name: str, port: int, digest: str, since: str, standby: str, watched: tuple[str, str] = ("", "")
) -> None:
    """Say that this process serves a model; the arguments are those of `Running`, `watched` its `sink` and `pages`.

    Raises:
        InputError: The disk is full.
    """
    url = f"http://127.0.0.1:{port}"
    entry = Running(name, os.getpid(), identity(), port, url, digest, since, standby, *watched)
    _put(_file(home, name), json.dumps(asdict(entry)))


def ask(home: Path, name: str, digest: str) -> None:
    """Ask whoever serves a model to bring up another package beside it, and to prove it.

    Raises:
        InputError: The disk is full.
    """
    _put(_wish(home, name), digest)


def asked(home: Path, name: str) -> str:
    """The package that was asked for; empty: none."""
    try:
        return _wish(home, name).read_text(encoding="ascii")
    except OSError:
        return ""


def answered(home: Path, name: str) -> None:
    """Take the wish away: it was met, or cannot be."""
    _wish(home, name).unlink(missing_ok=True)


def _put(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise disk_full(error, str(file)) or error from None


def remove(home: Path, name: str) -> None:
    """Say that it no longer does; another process's word is left alone."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        file = _file(home, name)
        if json.loads(file.read_text(encoding="utf-8"))["owner"] == identity():
            file.unlink()


def log_file(home: Path, name: str, digest: str) -> Path:
    """Where the predictor of a package writes."""
    return home / "serving" / "logs" / f"{name}-{digest[7:19]}.log"


def _wish(home: Path, name: str) -> Path:
    return home / "serving" / f"{name}.wish"


def _file(home: Path, name: str) -> Path:
    return home / "serving" / f"{name}.json"
