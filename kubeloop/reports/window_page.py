"""Pages of watched windows: one of a window, with what was told and how it moved; one of the last windows."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from kubeloop.monitoring.reference.signals import WORDS
from kubeloop.reports.facts import (
    count,
    items,
    mapping,
    mappings,
    moment,
    number,
    numbers,
    percent,
    plural,
    short,
    text,
)
from kubeloop.reports.look import render, shell
from kubeloop.reports.window_figures import bars, curves

Facts = Mapping[str, Any]
_STREAMS = {"inputs": "Inputs and answers", "labels": "Losses of rows whose truth is known"}
_CLOSED = {
    "rows": "it had all its rows",
    "time": "its time was over",
    "futile": "too many rows came that cannot be judged",
}
_UNUSUAL = {"outliers": "unlike any in training", "novel": "near no known class"}


def window_page(window: Facts) -> str:
    """The page of one window.

    Args:
        window: Its document, as `kubeloop.monitoring.watching.results` gives it; what has another shape is left out.

    Returns:
        Self-contained HTML.
    """
    service, place = text(window.get("service")) or "", count(window.get("number"))
    signals = mappings(window.get("signals"))
    present = {str(name) for name in items(window.get("present"))}
    rows = [_signal(signal, present) for signal in sorted(signals, key=_rank)]
    told = [row for row in rows if row["told"]]
    confirm = mapping(window.get("confirm"))
    view = {
        "headline": _headline(window, told),
        "state": _state(window),
        "lede": _lede(window, told, present),
        "keys": _keys(window),
        "told": told,
        "others": [row for row in rows if not row["told"]],
        "needed": f"{count(confirm.get('windows')) or 1} of the last {count(confirm.get('of')) or 1} windows",
        "figures": _figures(window),
        "unusual": _unusual(window),
        "notes": [str(note) for note in items(window.get("notes"))],
    }
    title = f"{service}, window {place}"
    aside = f"{text(window.get('namespace')) or ''} / {service}"
    return shell(title, render("window.html.j2", **view), aside=aside)


def windows_page(windows: Sequence[Facts], unwatched: Sequence[Facts] = (), waiting: Sequence[Facts] = ()) -> str:
    """The page of the last windows.

    Args:
        windows: Their documents, each stream's together, newest first; each links to `windows/<id>` below this page.
        unwatched: What cannot be watched: service, component, version, reason.
        waiting: Windows that are not full yet: service, version, stream, rows, and `full`, the rows of a full one.

    Returns:
        Self-contained HTML.
    """
    groups: dict[tuple[str, str, str], list[Facts]] = {}
    for window in windows:
        names = [text(window.get(name)) or "" for name in ("service", "version", "stream")]
        groups.setdefault((names[0], names[1], names[2]), []).append(window)
    view = {
        "lede": f"{plural(len(groups), 'stream')} of windows, the newest window first."
        if groups
        else "No window has been judged yet: a window is judged when it is full (monitoring.detectors.window) and its "
        "rows have settled.",
        "waiting": [_waiting(each) for each in waiting],
        "groups": [_group(*names, found) for names, found in groups.items()],
        "unwatched": [
            {
                "name": text(each.get("service")) or "",
                "version": short(each.get("version")) or "no version",
                "reason": text(each.get("reason")) or "",
            }
            for each in unwatched
        ],
    }
    return shell("Watched windows", render("windows.html.j2", **view))


def _waiting(window: Facts) -> str:
    stream, version = text(window.get("stream")) or "", text(window.get("version")) or ""
    rows, full = count(window.get("rows")) or 0, count(window.get("full"))
    have = f"{rows:,} of {plural(full, 'row')}" if full else plural(rows, "row")
    name = text(window.get("service")) or ""
    return f"{name} {short(version) or version}, {_STREAMS.get(stream, stream).lower()}: {have}."


def _group(service: str, version: str, stream: str, found: Sequence[Facts]) -> dict[str, Any]:
    alarms = sum(bool(window.get("alarm")) for window in found)
    return {
        "name": service,
        "note": f"{_STREAMS.get(stream, stream)}; version {short(version) or version}; "
        f"{plural(alarms, 'window')} of {len(found)} told something",
        "windows": [
            {
                "state": _state(window),
                "href": f"windows/{quote(text(window.get('id')) or '', safe='')}",
                "number": count(window.get("number")),
                "span": _brief_span(window),
                "rows": count(window.get("rows")) or 0,
                "told": ", ".join(str(name) for name in items(window.get("told"))) or "\N{EN DASH}",
                "present": ", ".join(str(name) for name in items(window.get("present"))) or "\N{EN DASH}",
            }
            for window in found
        ],
    }


def _state(window: Facts) -> tuple[str, str]:
    """CSS class and word."""
    if not count(window.get("judged")):
        return "absent", "Not judged"
    if items(window.get("present")):
        return "fail", "Confirmed"
    return ("inconclusive", "Told once") if window.get("alarm") else ("pass", "As in training")


def _headline(window: Facts, told: Sequence[Mapping[str, Any]]) -> str:
    service = text(window.get("service")) or "The model"
    if not count(window.get("judged")):
        return f"{service}: this window was not judged"
    if not told:
        return f"{service}: as in training"
    more = f", and {len(told) - 1} more" if len(told) > 1 else ""
    return f"{service}: {told[0]['words']}{more}"


def _lede(window: Facts, told: Sequence[Mapping[str, Any]], present: set[str]) -> str:
    stream = _STREAMS.get(text(window.get("stream")) or "", "")
    rows = plural(count(window.get("rows")) or 0, "row")
    if not count(window.get("judged")):
        return f"{stream}: {rows}."
    fresh = {str(name) for name in items(window.get("fresh"))}
    words = f"{stream}: {rows}, held against training. {plural(len(told), 'signal')} told"
    if present:
        words += f", {len(present)} confirmed by earlier windows"
        words += f" ({len(fresh)} for the first time)" if fresh else ""
    return words + "."


def _keys(window: Facts) -> list[tuple[str, str]]:
    rows, seen, judged = (count(window.get(name)) or 0 for name in ("rows", "seen", "judged"))
    found = [
        ("Rows come from", _span(window)),
        ("Closed because", _CLOSED.get(text(window.get("closed")) or "", "")),
        ("Version", short(window.get("version")) or text(window.get("version")) or "unknown"),
        ("Judged", f"{judged:,} of {rows:,} rows by {text(window.get('engine')) or '?'}"),
    ]
    if window.get("stream") == "labels" and seen:
        found.append(("Truth known", f"{percent(rows / seen)} of {seen:,} mature rows"))
    if unanswered := count(window.get("unanswered")):
        found.append(("Answer not logged", plural(unanswered, "row")))
    for reason, left in mapping(window.get("skipped")).items():
        found.append((f"Left out: {reason}", f"{left:,}" if isinstance(left, int) else str(left)))
    if late := count(window.get("late")):
        found.append(("Late for the window before", plural(late, "event")))
    return [(key, value) for key, value in found if value]


def _span(window: Facts) -> str:
    ends = [_moment(text(window.get(name))) for name in ("from", "to")]
    return " to ".join(end for end in ends if end)


def _brief_span(window: Facts) -> str:
    """To the minute, and the year once."""
    try:
        first, last = (dt.datetime.fromisoformat(text(window.get(name)) or "") for name in ("from", "to"))
    except ValueError:
        return ""
    return f"{first.day} {first:%b %Y %H:%M} to {last.day} {last:%b %H:%M}"


def _moment(words: str | None) -> str:
    try:
        return moment(dt.datetime.fromisoformat(words or ""))
    except ValueError:
        return words or ""


def _rank(signal: Facts) -> tuple[bool, float, float]:
    corrected = number(signal.get("corrected"))
    return not signal.get("told"), 2.0 if corrected is None else corrected, -(number(signal.get("effect")) or 0.0)


def _signal(signal: Facts, present: set[str]) -> dict[str, Any]:
    kind, column, name = (text(signal.get(part)) or "" for part in ("kind", "column", "name"))
    words = WORDS.get(kind, kind)
    found = {part: number(signal.get(part)) for part in ("statistic", "effect", "corrected")}
    return {
        "words": words if not column or signal.get("group") == "labels" else f"{column} {words}",
        "name": name,
        "told": bool(signal.get("told")),
        "confirmed": name in present,
        **{part: "\N{EN DASH}" if value is None else f"{value:.3f}" for part, value in found.items()},
    }


def _figures(window: Facts) -> list[dict[str, Any]]:
    drawn = []
    for place, shape in enumerate(mappings(window.get("shapes")), start=1):
        training, now, at = (numbers(shape.get(name)) for name in ("training", "window", "at"))
        labels = [str(label) for label in items(shape.get("labels"))]
        svg = bars(f"shape-{place}", training, now) if labels else curves(f"shape-{place}", at, training, now)
        if not svg:
            continue
        note = "; ".join(f"{i} {label}" for i, label in enumerate(labels, start=1))
        if not labels and (beyond := max(0.0, 1 - now[-1])) > max(0.05, 2 * (1 - training[-1])):
            note = f"Of the window {percent(round(beyond, 3))} lie beyond the last value drawn"
        missing = numbers(shape.get("missing"))
        if len(missing) == 2 and max(missing) > 0:
            lacking = f"Without a value: {percent(missing[0])} in training, {percent(missing[1])} here"
            note = f"{note}. {lacking}" if note else lacking
        drawn.append(
            {
                "title": text(shape.get("column")) or "",
                "told": bool(shape.get("told")),
                "effect": f"{number(shape.get('effect')) or 0.0:.3f}",
                "note": note,
                "svg": Markup(svg),  # noqa: S704 - made by our own figures
            }
        )
    return drawn


def _unusual(window: Facts) -> list[dict[str, Any]]:
    found = []
    for kind, words in _UNUSUAL.items():
        entry = mapping(mapping(window.get("unusual")).get(kind))
        if size := count(entry.get("count")):
            rows = [items(row) for row in items(entry.get("rows"))]
            named = [f"{row[0]}, row {row[1]}" for row in rows if len(row) == 2]
            found.append({"words": f"{plural(size, 'row')} {words}", "rows": named, "more": size - len(named)})
    return found
