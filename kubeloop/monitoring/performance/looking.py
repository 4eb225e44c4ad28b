"""One look at a served model: how much truth there is, what it says, and what may be guessed for the rest."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from kubeloop.contract.durations import length_of
from kubeloop.contract.monitoring import Labels
from kubeloop.evaluation.bootstrap import Estimate
from kubeloop.evaluation.metrics import as_fact
from kubeloop.monitoring.labels.joining import join
from kubeloop.monitoring.log.reading import moment_of
from kubeloop.monitoring.log.windows import Window, WindowKey, read_window
from kubeloop.monitoring.performance.coverage import Coverage, coverage_of, mature_rows
from kubeloop.monitoring.performance.estimated import Estimated, estimated
from kubeloop.monitoring.performance.measured import Measured, measured


@dataclass(frozen=True)
class Judging:
    """How performance is judged.

    Attributes:
        labels: The contract's words about labels.
        confidence: Of all intervals.
        seed: Of bootstraps and draws.
        blocks: `day`, a feature, or None: which rows depend on each other.
    """

    labels: Labels
    confidence: float = 0.95
    seed: int = 0
    blocks: str | None = None


@dataclass(frozen=True)
class Look:
    """What is known of a window's performance at one moment.

    Attributes:
        window: The rows.
        now: The moment.
        coverage: How much of the truth is there.
        measured: On mature rows with a label.
        estimated: On answered rows without.
        unsure: Why the measured numbers do not stand for all mature rows; None: they do.
    """

    window: Window
    now: dt.datetime
    coverage: Coverage
    measured: Measured
    estimated: Estimated
    unsure: str | None

    def facts(self) -> dict[str, Any]:
        """All of it as JSON types."""
        times = self.window.times.astype("int64")
        ends = [moment_of(int(end)).isoformat() for end in (times.min(), times.max())] if len(times) else [None, None]
        found = self.estimated.calibration
        return {
            "service": self.window.key.service,
            "namespace": self.window.key.namespace,
            "versions": sorted(set(self.window.versions.tolist())),
            "now": self.now.isoformat(),
            "from": ends[0],
            "to": ends[1],
            "skipped": dict(self.window.skipped),
            "coverage": asdict(self.coverage),
            "measured": {
                "rows": self.measured.rows,
                "metrics": _facts(self.measured.metrics),
                "undefined": dict(self.measured.undefined),
                "unknown_class": self.measured.unknown,
                "unsure": self.unsure,
            },
            "estimated": {
                "rows": self.estimated.rows,
                "metrics": _facts(self.estimated.metrics),
                "undefined": dict(self.estimated.undefined),
                "calibration": found if isinstance(found, str) else dict(as_fact(found)),
                "assumes": self.estimated.assumes,
            },
        }


def _facts(found: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: dict(as_fact(estimate)) for name, estimate in found.items()}


def look(
    store: sa.Engine,
    key: WindowKey,
    judging: Judging,
    now: dt.datetime,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> Look:
    """Look at the rows of a service within [since, until), as far as is known at `now`.

    Raises:
        InputError: The service has logged nothing, or a moment has no time zone.
    """
    maturity = length_of(judging.labels.maturity)
    window = read_window(store, key, since=since, until=until)
    joined = join(store, window, maturity, now)
    mature = mature_rows(joined, maturity, now)
    coverage = coverage_of(joined, maturity, now)
    return Look(
        window,
        now,
        coverage,
        measured(joined, mature, judging.confidence, judging.seed, judging.blocks),
        estimated(joined, mature, judging.confidence, judging.seed),
        _unsure(coverage, judging.labels),
    )


def _unsure(coverage: Coverage, labels: Labels) -> str | None:
    if coverage.share is None:
        return (
            f"no row is older than {labels.maturity} yet, and so long a label may take; where all come sooner, "
            "write how soon: monitoring.labels.maturity in loop.yaml, such as 7d"
        )
    if coverage.share < labels.coverage_at_least:
        return (
            f"{coverage.share:.0%} of the mature rows have a label, {labels.coverage_at_least:.0%} were expected: "
            "those without may differ from those with one"
        )
    return None
