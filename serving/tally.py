"""What an endpoint counts of its requests: plain additions into memory that all workers share, read when scraped.

prometheus_client's own counters cost a request several microseconds and need files once there are several workers; a
slot in an array costs less than a tenth of that, and the sum over the workers is what a scrape of any of them answers.
"""

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

PROTOCOLS = ("v1", "v2", "grpc")
CODES = (200, 400, 403, 404, 405, 408, 413, 415, 500, 503, 504)
BOUNDS_S = (
    1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the latency histogram's buckets in seconds; the last bucket is open."""

COLUMNS = 512
"""Columns whose values outside the rules are counted one by one; further ones are counted under the last."""

LOGGED = ("stored", "lost", "refused", "unusable")
"""What became of an answer in the predictor's own log: in it; not, for it was full, and the answer left all the same
(mode `bounded`) or did not (`required`); not, for it could not be read back."""

_WIDTH = len(CODES) + len(BOUNDS_S) + 1 + 2  # codes, buckets with the open one, sum of seconds, rows
_SECONDS, _ROWS = _WIDTH - 2, _WIDTH - 1
_OUTSIDE = len(PROTOCOLS) * _WIDTH
_LOG = _OUTSIDE + COLUMNS
_SLOTS = _LOG + len(LOGGED)
_LOGGED = {outcome: slot for slot, outcome in enumerate(LOGGED, _LOG)}
_CODE = {code: slot for slot, code in enumerate(CODES)}
_EIGHT = 8


class Tally:
    """The counts of one worker, in memory that it may share with others.

    Args:
        model: The model's name.
        memory: File descriptor of the shared memory, `size(workers)` bytes; None: this worker is alone.
        worker: Which part of it is this worker's, from 0.
        workers: How many parts there are.

    Attributes:
        version: The package's digest; empty until it is loaded.
        columns: The package's columns; empty until it is loaded.
    """

    def __init__(self, model: str, memory: int | None = None, worker: int = 0, workers: int = 1) -> None:
        self.version = ""
        self.columns: Sequence[str] = ()
        self._model = model
        self._workers = workers
        # MAP_SHARED: a worker that is started again goes on where the one before it ended.
        self._all = memoryview(mmap.mmap(-1 if memory is None else memory, size(workers))).cast("d")
        self._own = self._all[worker * _SLOTS : (worker + 1) * _SLOTS]
        self._at = {protocol: place * _WIDTH for place, protocol in enumerate(PROTOCOLS)}

    def count(self, protocol: str, code: int, seconds: float, rows: int = 0) -> None:
        """Count an answered request.

        Args:
            protocol: One of `PROTOCOLS`.
            code: HTTP status; a gRPC answer counts as its HTTP equal.
            seconds: From its arrival in this process to its answer.
            rows: Rows scored.
        """
        own, at = self._own, self._at[protocol]
        own[at + _CODE.get(code, 8)] += 1.0  # a status that is not listed is our mistake
        own[at + len(CODES) + bisect_left(BOUNDS_S, seconds)] += 1.0
        own[at + _SECONDS] += seconds
        own[at + _ROWS] += rows

    def outside(self, columns: Sequence[str]) -> None:
        """Count a request with values outside the rules of these columns."""
        for name in columns:
            self._own[_OUTSIDE + min(self.columns.index(name), COLUMNS - 1)] += 1.0

    def logged(self, outcome: str) -> None:
        """Count an answer that the predictor's own log was given; one of `LOGGED`."""
        self._own[_LOGGED[outcome]] += 1.0

    def describe(self) -> Iterator[Metric]:
        """Nothing: prometheus_client then does not ask for the values when it is told of this collector."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The sums over all workers, as prometheus_client wants them."""
        sums = [sum(self._all[slot::_SLOTS]) for slot in range(_SLOTS)]
        model = [self._model, self.version]
        requests = CounterMetricFamily(
            "kubeloop_requests", "Answered requests.", labels=["model", "version", "protocol", "code"]
        )
        latency = HistogramMetricFamily(
            "kubeloop_request_seconds",
            "Seconds from a request's arrival in the process to its answer.",
            labels=["model", "version", "protocol"],
        )
        rows = CounterMetricFamily("kubeloop_rows", "Rows scored.", labels=["model", "version", "protocol"])
        for protocol, at in self._at.items():
            for code, slot in _CODE.items():
                if sums[at + slot]:
                    requests.add_metric([*model, protocol, str(code)], sums[at + slot])
            if any(sums[at : at + _WIDTH]):
                latency.add_metric([*model, protocol], _buckets(sums[at + len(CODES) :]), sums[at + _SECONDS])
                rows.add_metric([*model, protocol], sums[at + _ROWS])
        outside = CounterMetricFamily(
            "kubeloop_requests_outside_rules",
            "Requests with a value of this column that the contract does not list, or training never saw.",
            labels=["model", "version", "column"],
        )
        for place, name in enumerate(self.columns[:COLUMNS]):
            if sums[_OUTSIDE + place]:
                outside.add_metric([*model, name], sums[_OUTSIDE + place])
        log = CounterMetricFamily(
            "kubeloop_predictor_log",
            "Answers by what became of them in our own log.",
            labels=["model", "version", "outcome"],
        )
        for place, outcome in enumerate(LOGGED):
            if sums[_LOG + place]:
                log.add_metric([*model, outcome], sums[_LOG + place])
        yield from (requests, latency, rows, outside, log)


def size(workers: int) -> int:
    """Bytes of memory for so many workers."""
    return workers * _SLOTS * _EIGHT


def shared_memory(workers: int) -> int:
    """A new file descriptor for so many workers' counts, to be handed on to them."""
    memory = os.memfd_create("kubeloop-tally")
    os.ftruncate(memory, size(workers))
    os.set_inheritable(memory, True)
    return memory


def _buckets(counts: Sequence[float]) -> list[tuple[str, float]]:
    total, made = 0.0, []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=False):
        total += count
        made.append((bound, total))
    return made
