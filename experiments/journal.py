"""What a local search has asked and learnt, on disk before the next step: a killed one is taken up where it was."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from kubeloop.digests import document_digest
from kubeloop.errors import InputError
from kubeloop.experiments.katib import to_experiment
from kubeloop.experiments.search import Search

FILE = "journal.jsonl"


def identity(search: Search, seed: int, first: list[dict[str, str]]) -> str:
    """Digest of all that decides what a search asks; the sizes of its budget may grow."""
    document = to_experiment(search)
    for key in ("maxTrialCount", "maxFailedTrialCount", "parallelTrialCount"):
        document["spec"].pop(key, None)
    return document_digest({"experiment": document, "seed": seed, "first": first})


class Journal:
    """Events of one search, a JSON document a line, each on disk before `write` returns."""

    def __init__(self, folder: Path, known: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE
        self.events = list(self._read())
        if self.events and self.events[0].get("search") != known:
            raise InputError(
                f"{folder} holds another search: its file, seed or first trials were different",
                "give another folder with --out, or start anew with --fresh",
                folder=str(folder),
            )
        whole = sum(len(_line(event)) for event in self.events)
        self._stream: IO[bytes] = self._path.open("r+b" if self._path.exists() else "w+b")
        self._stream.truncate(whole)  # a line that a kill cut short
        self._stream.seek(whole)
        if not self.events:
            self.write({"search": known})

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().split(b"\n")[:-1]:
            try:
                yield dict(json.loads(line))
            except ValueError:
                return

    def write(self, event: Mapping[str, Any]) -> None:
        """Add an event."""
        self._stream.write(_line(event))
        self._stream.flush()
        os.fdatasync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
