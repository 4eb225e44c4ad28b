"""What the contract asks of the table as a whole, and what is seen of it in the same scan as the row rules."""

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubeloop.contract.data import Change, Data
from kubeloop.contract.durations import length_of
from kubeloop.contract.sections import ValidateSection
from kubeloop.data.casting import MARKS
from kubeloop.data.engine import quoted
from kubeloop.data.history import LastSnapshot
from kubeloop.decisions import Check, Verdict

_NUMERIC = ("integer", "number")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Seen:
    """What one scan saw of a snapshot.

    Attributes:
        rows: Number of rows.
        newest: Latest `data.time`; None where that was not asked or no row has one.
        columns: By name: null_rate, and mean and deviation of numbers; only what a check asks for.
    """

    rows: int
    newest: dt.datetime | None
    columns: Mapping[str, Mapping[str, float]]

    @property
    def profile(self) -> dict[str, Any]:
        """What the next snapshot is held against; JSON types."""
        return {"rows": self.rows, "columns": {name: dict(column) for name, column in self.columns.items()}}


class Aggregates:
    """The aggregates that the checks of a section need, for the scan that also counts broken rules."""

    def __init__(self, data: Data, types: Mapping[str, str]) -> None:
        change = data.checks.change is not None
        asked = [name for name, column in data.columns.items() if column.null_at_most is not None and name in types]
        self._counted = [name for name in types if name not in MARKS] if change else asked
        self._measured = [
            name
            for name in self._counted
            if change and types[name] in _NUMERIC and (name not in data.columns or data.columns[name].policy is None)
        ]
        self._time = data.time if data.checks.fresh_within is not None else None

    @property
    def sql(self) -> list[str]:
        """SQL of the aggregates, in the order in which `read` takes their values."""
        parts = [f"count({quoted(name)})" for name in self._counted]
        for name in self._measured:
            cell = f"CAST({quoted(name)} AS DOUBLE)"
            finite = f"FILTER (isfinite({cell}))"
            parts += [f"avg({cell}) {finite}", f"stddev_pop({cell}) {finite}"]
        if self._time is not None:
            parts.append(f"epoch_us(CAST(max({quoted(self._time)}) AS TIMESTAMPTZ))")
        return parts

    def read(self, rows: int, values: tuple[Any, ...]) -> Seen:
        """What the values of `sql` say."""
        found = list(values)
        columns: dict[str, dict[str, float]] = {}
        for name in self._counted:
            columns[name] = {"null_rate": 1 - found.pop(0) / rows if rows else 0.0}
        for name in self._measured:
            mean, deviation = found.pop(0), found.pop(0)
            if mean is not None:
                columns[name] |= {"mean": float(mean), "deviation": float(deviation or 0.0)}
        newest = found.pop(0) if self._time is not None else None
        return Seen(rows, None if newest is None else _EPOCH + dt.timedelta(microseconds=newest), columns)


def snapshot_checks(
    section: ValidateSection, seen: Seen, moment: dt.datetime | None, last: LastSnapshot | None
) -> Iterator[Check]:
    """Row count, missing values, freshness, terms of use, change since the last snapshot.

    Args:
        section: The contract's part.
        seen: What the scan saw.
        moment: The moment of the run, UTC; where a check needs it and it is None, the check is inconclusive.
        last: The last snapshot that passed; like `moment` where it is None.
    """
    checks = section.data.checks
    if checks.rows is not None:
        yield _rows(seen.rows, checks.rows.at_least, checks.rows.at_most)
    for name, column in section.data.columns.items():
        if column.null_at_most is not None and name in seen.columns:
            yield _null_rate(name, seen.columns[name]["null_rate"], column.null_at_most)
    if checks.fresh_within is not None:
        yield _fresh(checks.fresh_within, seen.newest, moment)
    for source, day in section.expires.items():
        yield _terms(source, day, moment)
    if checks.change is not None:
        yield from _changes(section.name, checks.change, seen, last)


def _rows(rows: int, at_least: int | None, at_most: int | None) -> Check:
    few, many = at_least is not None and rows < at_least, at_most is not None and rows > at_most
    asked = [f"at least {at_least:,}"] if at_least is not None else []
    asked += [f"at most {at_most:,}"] if at_most is not None else []
    return Check(
        name="row_count",
        verdict="fail" if few or many else "pass",
        reason=f"the snapshot has {rows:,} rows; {' and '.join(asked)} must be there",
        evidence={"rows": rows}
        | ({"at_least": at_least} if at_least else {})
        | ({"at_most": at_most} if at_most else {}),
    )


def _null_rate(name: str, rate: float, at_most: float) -> Check:
    return Check(
        name=f"null_rate:{name}",
        verdict="fail" if rate > at_most else "pass",
        reason=f"{name} is missing in {100 * rate:.3g}% of the rows; at most {100 * at_most:.3g}% may lack it",
        evidence={"null_rate": rate, "at_most": at_most},
    )


def _fresh(within: str, newest: dt.datetime | None, moment: dt.datetime | None) -> Check:
    name = "fresh"
    if moment is None or newest is None:
        missing = "no row has a time" if newest is None else "the moment of the run is not known"
        return Check(name=name, verdict="inconclusive", reason=f"whether the data is fresh cannot be told: {missing}")
    age = moment - newest
    evidence = {
        "newest": newest.isoformat(),
        "moment": moment.isoformat(),
        "age_s": age.total_seconds(),
        "within": within,
    }
    if age < -dt.timedelta(days=1):
        return Check(
            name=name,
            verdict="fail",
            reason=f"the newest row is of {newest:%Y-%m-%d %H:%M} UTC, which is {_days(-age)} after the run began",
            evidence=evidence,
        )
    return Check(
        name=name,
        verdict="fail" if age > length_of(within) else "pass",
        reason=f"the newest row is of {newest:%Y-%m-%d %H:%M} UTC, {_days(age)} before the run; at most {within} may "
        "pass",
        evidence=evidence,
    )


def _days(age: dt.timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if abs(hours) >= 48 else f"{hours:.1f} hours"


def _terms(source: str, day: dt.date, moment: dt.datetime | None) -> Check:
    name = f"terms:{source}"
    if moment is None:
        reason = f"the terms of {source} end on {day}; the moment of the run is not known"
        return Check(name=name, verdict="inconclusive", reason=reason, evidence={"expires": day.isoformat()})
    over = moment.astimezone(dt.UTC).date() > day
    return Check(
        name=name,
        verdict="fail" if over else "pass",
        reason=f"the terms of {source} ended on {day}: it may not be used any more; renew them, or take the source out"
        if over
        else f"the terms of {source} allow its use until {day}",
        evidence={"expires": day.isoformat(), "moment": moment.isoformat()},
    )


def _changes(model: str, change: Change, seen: Seen, last: LastSnapshot | None) -> Iterator[Check]:
    if last is None or last.status == "unavailable":
        detail = f" ({last.detail})" if last is not None and last.detail else ""
        yield Check(
            name="change",
            verdict="inconclusive",
            reason=f"the last snapshot of {model} cannot be read{detail}: how far this one is from it cannot be told",
            evidence={"baseline": "unavailable"},
        )
        return
    if last.status == "none_yet":
        yield Check(
            name="change",
            verdict="pass",
            reason=f"no snapshot of {model} has passed yet: this one is the first, and is held against none",
            evidence={"baseline": "none_yet"},
        )
        return
    known = {"baseline": last.digest}
    if change.rows_at_most is not None:
        yield _row_change(change.rows_at_most, int(last.profile["rows"]), seen.rows, known)
    before: Mapping[str, Any] = last.profile["columns"]
    if before and not before.keys() & seen.columns.keys():
        reason = "none of the last snapshot's columns is here: how far this one is from it cannot be told"
        yield Check(name="change", verdict="inconclusive", reason=reason, evidence=known)
        return
    if change.null_rate_at_most is not None:
        pairs = {
            name: (each["null_rate"], seen.columns[name]["null_rate"])
            for name, each in before.items()
            if name in seen.columns
        }
        moved = {name: abs(now - then) for name, (then, now) in pairs.items()}
        yield _column_change("null_rate", "the share of missing values", moved, change.null_rate_at_most, known)
    if change.mean_at_most is not None:
        moved = {
            name: _distance(each, seen.columns[name])
            for name, each in before.items()
            if "mean" in each and "mean" in seen.columns.get(name, {})
        }
        yield _column_change("mean", "the mean, in standard deviations,", moved, change.mean_at_most, known)


def _row_change(limit: float, before: int, now: int, known: dict[str, Any]) -> Check:
    share = abs(now - before) / max(before, 1)
    return Check(
        name="change:rows",
        verdict="fail" if share > limit else "pass",
        reason=f"the last snapshot had {before:,} rows, this one has {now:,}: a change by {100 * share:.3g}%; at most "
        f"{100 * limit:.3g}% is allowed",
        evidence={"before": before, "now": now, "change": share, "at_most": limit, **known},
    )


def _distance(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """How many standard deviations of the last snapshot a mean has moved; of a constant, any move is far."""
    moved = abs(now["mean"] - before["mean"])
    spread = before["deviation"]
    return moved / spread if spread > 0 else (0.0 if moved == 0 else 1e9)


def _column_change(word: str, shown: str, moved: Mapping[str, float], limit: float, known: dict[str, Any]) -> Check:
    far = {name: value for name, value in sorted(moved.items(), key=lambda pair: -pair[1]) if value > limit}
    most = ", ".join(f"{name} by {value:.3g}" for name, value in list(far.items())[:5])
    verdict: Verdict = "fail" if far else "pass"
    largest = max(moved.values(), default=0.0)
    return Check(
        name=f"change:{word}",
        verdict=verdict,
        reason=f"since the last snapshot {shown} has changed of {most}; by at most {limit:.3g} is allowed"
        if far
        else f"since the last snapshot {shown} of {len(moved)} columns has changed by at most {largest:.3g}",
        evidence={"columns": dict(list(far.items())[:20]), "largest": largest, "at_most": limit, **known},
    )
