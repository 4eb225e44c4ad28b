"""What is watched of a served model, at which rate of false alarms, and what cannot be told."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kubeloop.reports.facts import count, items, mappings, number, percent, shown, text
from kubeloop.reports.look import render
from kubeloop.reports.troubles import Trouble

Facts = Mapping[str, Any]


def watch_section(
    facts: Facts,
    attached: Facts | None = None,
    troubles: tuple[Trouble, ...] = (),
    absent: str = "The record says nothing about this.",
) -> Markup:
    """The reference profile of a model, and where its endpoint is watched.

    Args:
        facts: Of `fit_monitor`.
        attached: Of `attach_monitor`, where it has run.
        troubles: What stopped either.
        absent: What to say when there is nothing.
    """
    rows, rate, blocks = count(facts.get("rows")), number(facts.get("rate")), count(facts.get("blocks"))
    by = text(facts.get("dependence"))
    entries = [
        ("Reference rows", rows),
        ("Rows that depend on each other", f"{shown(blocks)} blocks, by {by}" if by and blocks else None),
        ("Signals of inputs and answers", count(facts.get("signals"))),
        ("Signals of losses, once the truth is known", count(facts.get("labels"))),
        ("Windows with nothing wrong that show any signal", _promise(rate, number(facts.get("confidence")))),
        ("Engine", text(facts.get("engine"))),
        ("Watched", text((attached or {}).get("how"))),
    ]
    return render(
        "watch.html.j2",
        troubles=troubles,
        empty="" if facts or attached or troubles else absent,
        keys=[(key, shown(value)) for key, value in entries if value is not None],
        windows=[
            (shown(count(each.get("rows"))), shown(count(each.get("evidence"))), _share(number(each.get("usual"))))
            for each in _windows(facts)
        ],
        notes=[said for each in items(facts.get("notes")) if (said := text(each))],
        columns=[name for each in items(facts.get("columns")) if (name := text(each))],
    )


def _promise(rate: float | None, confidence: float | None) -> str | None:
    if rate is None or confidence is None:
        return None if rate is None else f"{percent(rate)} at most, on average over references like this one"
    return f"{percent(rate)} at most, against {percent(confidence)} of references like this one"


def _share(usual: float | None) -> str:
    return "\N{EN DASH}" if usual is None else percent(usual)


def _windows(facts: Facts) -> list[Facts]:
    found = mappings(facts.get("windows"))
    return [each for each in found if count(each.get("rows")) is not None and count(each.get("evidence")) is not None]
