"""The log as our own predictor writes it: two calls, one that opens it and one for each request.

    log = open_log(root, Speaker("default", "heart", "predictor", model_of(manifest, digest)), "required")
    commit = log.append(event_id, at, rows, predictions, probabilities)
    if commit is not None:
        commit.wait(SYNC_S)       # or, in an event loop: commit.when_done(...)

Mode `required`: the answer waits until request and answer are on disk. Mode `bounded`: the answer leaves at once; a
crash loses what came within `LINGER_S` and one sync before it. What the full log refuses is counted as lost.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kubeloop.monitoring.log import records
from kubeloop.monitoring.log.commits import Commit, CommitLog, FullError
from kubeloop.monitoring.log.privacy import Keeper
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.segments import SegmentFiles

LogMode = Literal["required", "bounded"]

LINGER_S = 0.05
"""Seconds that `bounded` gathers records before a sync."""

SYNC_S = 10.0
"""Seconds to wait for the disk before the log is called broken."""


class LogWriter:
    """The log of one model of one service.

    Attributes:
        lost: Requests that `bounded` could not log because the log was full.
    """

    def __init__(self, log: CommitLog, speaker: Speaker, mode: LogMode, secret: bytes | None) -> None:
        self._log = log
        self._mode = mode
        self._keeper = Keeper(speaker.model, secret)
        self.lost = 0
        log.define(records.definition(0, speaker))

    def append(
        self,
        event_id: str,
        at: int,
        rows: Sequence[Any],
        predictions: Sequence[Any] | None,
        probabilities: Sequence[Sequence[float]] | None = None,
        keys: Sequence[str | None] = (),
    ) -> Commit | None:
        """Log one request with its answer; from any thread.

        Args:
            event_id: Unique within the service: the `Ce-Id` or `X-Request-Id` of the request, or a fresh UUID.
            at: When the request came, microseconds since 1970 UTC.
            rows: n rows, each a list of cells in the model's order or an object by column name, as JSON types.
            predictions: n labels or values; None: only probabilities were answered.
            probabilities: n rows of k, in the order of the classes.
            keys: n business keys, by which late labels may come; None where a row has none.

        Returns:
            `required`: wait for it before answering. `bounded`: None.

        Raises:
            FullError: Mode `required`, and the log is full: answer 503.
            UnusableError: The rows are none of the model's, which a predictor has refused before.
        """
        import orjson

        inputs = orjson.dumps(self._keeper.rows(rows))
        outputs = orjson.dumps([predictions, probabilities], option=orjson.OPT_SERIALIZE_NUMPY)
        kept = orjson.dumps(self._keeper.keys(keys)) if keys else b""
        try:
            commit = self._log.append(records.encode(records.BOTH, 0, at, event_id, inputs, outputs, kept))
        except FullError:
            if self._mode == "required":
                raise
            self.lost += 1
            return None
        return commit if self._mode == "required" else None

    def close(self) -> None:
        """Sync what waits and let go of the folder."""
        self._log.close()


def open_log(root: Path, speaker: Speaker, mode: LogMode, secret: bytes | None = None) -> LogWriter:
    """Open the log of a predictor.

    Args:
        root: The log's root on a local disk: `log_root(site)`.
        speaker: Who serves what.
        mode: `required` or `bounded`.
        secret: The key under which personal cells and keys are hashed; needed where a column or the keys are `hashed`.

    Raises:
        InputError: The folder cannot be made, or a key is needed and there is none.
    """
    log = CommitLog(SegmentFiles(root, "predictor"), linger_s=LINGER_S if mode == "bounded" else 0.0)
    return LogWriter(log, speaker, mode, secret)
