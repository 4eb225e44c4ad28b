"""Dot-and-interval strips: one number, its interval and what it is held against, on a scale of its own.

Geometry only, in per cent of the strip's width, so that a strip fits every window without a script.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubeloop.reports.facts import shown

_PAD = 0.07


@dataclass(frozen=True)
class Strip:
    """Places on a strip; all in per cent from its left end, rounded so that pages are the same everywhere.

    Attributes:
        dot: The estimate.
        whisker: Both ends of its interval.
        folds: The estimates of single folds.
        bound: The threshold.
        out: The side of the threshold on which the gate refuses.
        dummy: The dummy baseline.
        champion: The champion.
        ends: What the two ends of the scale stand for.
        label: All of it in words, for those who do not see it.
    """

    dot: float | None = None
    whisker: tuple[float, float] | None = None
    folds: tuple[float, ...] = ()
    bound: float | None = None
    out: tuple[float, float] | None = None
    dummy: float | None = None
    champion: float | None = None
    ends: tuple[str, str] = ("", "")
    label: str = ""


@dataclass(frozen=True)
class Points:
    """What a strip shows, in the metric's unit.

    Attributes:
        name: Of the metric, for the label.
        value: The estimate.
        low: Lower end of its interval.
        high: Upper end of its interval.
        folds: Estimates of single folds.
        at_least: Threshold from below.
        at_most: Threshold from above.
        dummy: The dummy baseline's value.
        champion: The champion's value.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    folds: tuple[float, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    dummy: float | None = None
    champion: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends, if both are known."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def all(self) -> list[float]:
        """Every number that the strip must hold."""
        single = (self.value, self.low, self.high, self.at_least, self.at_most, self.dummy, self.champion)
        return [each for each in (*single, *self.folds) if each is not None]


@dataclass(frozen=True)
class Scale:
    """A linear scale from `low` to `high`."""

    low: float
    high: float
    ends: tuple[str, str] = field(default=("", ""))

    def at(self, value: float) -> float:
        """Per cent from the left end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


def scale_of(values: Iterable[float], natural: tuple[float | None, float | None] = (None, None)) -> Scale | None:
    """A scale that holds all values with some air, and does not leave the metric's natural range; None for no value."""
    known = list(values)
    if not known:
        return None
    low, high = min(known), max(known)
    air = (high - low) * _PAD or max(abs(high) * _PAD, 0.05)
    low, high = low - air, high + air
    if natural[0] is not None and min(known) >= natural[0]:
        low = max(low, natural[0])
    if natural[1] is not None and max(known) <= natural[1]:
        high = min(high, natural[1])
    return Scale(low, high, (shown(low), shown(high)))


def strip(points: Points, scale: Scale | None) -> Strip | None:
    """Put points on a scale; None without an estimate."""
    if scale is None or points.value is None:
        return None
    place = scale.at
    bound = points.at_least if points.at_least is not None else points.at_most
    at = None if bound is None else place(bound)
    out = None
    if at is not None:
        out = (0.0, at) if points.at_least is not None else (at, round(100 - at, 2))
    return Strip(
        dot=place(points.value),
        whisker=None if points.interval is None else (place(points.interval[0]), place(points.interval[1])),
        folds=tuple(place(each) for each in points.folds),
        bound=at,
        out=out,
        dummy=None if points.dummy is None else place(points.dummy),
        champion=None if points.champion is None else place(points.champion),
        ends=scale.ends,
        label=_label(points),
    )


def _label(points: Points) -> str:
    parts = [f"{points.name} {shown(points.value)}"]
    if points.interval:
        parts.append(f"interval {shown(points.interval[0])} to {shown(points.interval[1])}")
    if points.folds:
        parts.append(f"folds {', '.join(shown(each) for each in points.folds)}")
    named = (
        ("required at least", points.at_least),
        ("required at most", points.at_most),
        ("dummy baseline", points.dummy),
        ("champion", points.champion),
    )
    parts += [f"{words} {shown(value)}" for words, value in named if value is not None]
    return "; ".join(parts)
