"""The predictor's own inference log: what it answered, written where the sink writes what KServe's logger posts.

Request and answer are read back from their bytes, as the sink does it: so one place says what a row is, however it came
and whichever way it was answered. An answer other than 200 is not logged, as by KServe's logger.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from kubeloop.contract.monitoring import Log
from kubeloop.monitoring.log.commits import Commit, FullError
from kubeloop.monitoring.log.models import model_of
from kubeloop.monitoring.log.privacy import SECRET, UnusableError
from kubeloop.monitoring.log.records import ANSWER, REQUEST, Speaker
from kubeloop.monitoring.log.writer import LogWriter, open_log
from kubeloop.packaging.package import Package
from kubeloop.serving.sink_events import Event
from kubeloop.serving.sink_payloads import answers, document_of, request_rows
from kubeloop.serving.tally import Tally

_Who = tuple[str, str, str]


@dataclass(slots=True)  # frozen takes a microsecond more, which here is much
class Asked:
    """A request as it was scored: neither compressed nor in an envelope.

    Attributes:
        body: Its bytes.
        json_length: How many of them are JSON, with binary tensors behind; None: all, or as the body itself shows.
        at: When it came, microseconds since 1970 UTC.
    """

    body: bytes
    json_length: int | None
    at: int


class Logbook:
    """Keeps requests with their answers.

    Args:
        writer: The log.
        names: The model's columns, in the order of a row.
        tally: Where it counts: `stored`, and `lost`, `refused` and `unusable`, which are not in the log.
    """

    def __init__(self, writer: LogWriter, names: list[str], tally: Tally) -> None:
        self._writer = writer
        self._names = names
        self._tally = tally

    def keep(self, event_id: str, asked: Asked, answer: bytes) -> Commit | None:
        """Log a request with its answer.

        Args:
            event_id: What the client was told as `x-request-id`.
            asked: The request.
            answer: The body of the answer.

        Returns:
            In the mode `required`: the answer may leave when this is done without an error; else None.

        Raises:
            FullError: In the mode `required`, and there is no room: the answer must not leave.
        """
        try:
            rows, keys = request_rows(*_document(REQUEST, asked.body, asked.json_length), self._names)
            predictions, probabilities = answers(*_document(ANSWER, answer, None))
            listed = () if keys is None or type(keys) is not list or len(keys) != len(rows) else keys
            writer = self._writer
            lost = writer.lost
            commit = writer.append(event_id, asked.at, rows, predictions, probabilities, listed)
        except UnusableError:
            self._tally.logged("unusable")
            return None
        except FullError:
            self._tally.logged("refused")
            raise
        self._tally.logged("lost" if writer.lost > lost else "stored")
        return commit

    def close(self) -> None:
        """Sync what waits and let go of the log."""
        self._writer.close()


def _document(kind: int, body: bytes, json_length: int | None) -> tuple[dict[str, Any], bytes]:
    if json_length is None:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:  # packed, or with binary tensors behind it
            pass
        else:
            return document, b""
    metadata = {} if json_length is None else {"Inference-Header-Content-Length": str(json_length)}
    return document_of(Event(kind, ("", "", ""), "", None, "", metadata, body))


def open_logbook(package: Package, name: str, namespace: str, root: Path, tally: Tally) -> Logbook:
    """Open the log of a loaded package, in the mode that its contract asks for.

    Args:
        package: What answers.
        name: Under which name.
        namespace: Of the service.
        root: The log's root on a local disk.
        tally: Where it counts.

    Raises:
        InputError: The folder cannot be made, or the key of hashes is needed and is nowhere.
    """
    words = Log.model_validate((package.manifest.contract.get("monitoring") or {}).get("log") or {})
    model = model_of(package.manifest, package.digest)
    hashed = model.keys == "hashed" or any(column.kept == "hashed" for column in model.columns)
    writer = open_log(root, Speaker(namespace, name, "predictor", model), words.mode, _secret() if hashed else None)
    return Logbook(writer, [column.name for column in model.columns], tally)


def _secret() -> bytes:
    from kubeloop.site import load_site
    from kubeloop.site.secrets import read_secret

    return read_secret(SECRET, load_site()).reveal().encode("utf-8")


def micros_now() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000
