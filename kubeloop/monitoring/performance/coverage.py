"""How much of the truth is there, and how late it came."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubeloop.monitoring.labels.joining import Joined


@dataclass(frozen=True)
class Coverage:
    """Counts of rows, and the lag of labels.

    Attributes:
        rows: Predicted rows whose answer was logged.
        mature: Those old enough that their label would be there.
        labelled: Mature rows with a label.
        early: Rows with a label that are not mature yet; not used, for what comes early is a choice of its own.
        superseded: Mature rows without a label whose key was predicted again; none is awaited for them.
        share: labelled / (mature - superseded); None where none is mature.
        lag_s: Seconds from prediction to label of the labelled rows: 50%, 90% and 100%; None without any.
    """

    rows: int
    mature: int
    labelled: int
    early: int
    superseded: int
    share: float | None
    lag_s: tuple[float, float, float] | None


def mature_rows(joined: Joined, maturity: dt.timedelta, now: dt.datetime) -> NDArray[np.bool_]:
    """(n,) whether a row is answered and at least `maturity` old."""
    limit = np.datetime64((now - maturity).astimezone(dt.UTC).replace(tzinfo=None), "us")
    return np.asarray(joined.window.answered & (joined.window.times <= limit), dtype=np.bool_)


def coverage_of(joined: Joined, maturity: dt.timedelta, now: dt.datetime) -> Coverage:
    """The coverage of a window at a moment."""
    mature = mature_rows(joined, maturity, now)
    answered, labelled = joined.window.answered, joined.labelled
    awaited = int((mature & ~joined.superseded).sum())
    there = labelled & answered
    lags = (joined.arrived[there] - joined.window.times[there]) / np.timedelta64(1, "s")
    return Coverage(
        rows=int(answered.sum()),
        mature=int(mature.sum()),
        labelled=int((mature & labelled).sum()),
        early=int((there & ~mature).sum()),
        superseded=int((mature & joined.superseded).sum()),
        share=float((mature & labelled).sum() / awaited) if awaited else None,
        lag_s=tuple(float(value) for value in np.quantile(lags, [0.5, 0.9, 1.0])) if len(lags) else None,  # type: ignore[arg-type]
    )
