"""What stopped a task or a run, from the error that its record carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeloop.reports.facts import mapping, shown, text
from kubeloop.tracking.record import TaskRecord

_PLACES = ("file", "line", "column", "row", "task")


@dataclass(frozen=True)
class Trouble:
    """An error for a person.

    Attributes:
        state: `failed`, `refused`, `killed` or `running`: how it is badged.
        problem: What is wrong; empty if the record does not say.
        fix: What to do; empty if the record does not say.
        where: File, line, column, row; nothing else of an error's context is shown.
    """

    state: str
    problem: str = ""
    fix: str = ""
    where: tuple[tuple[str, str], ...] = ()


def trouble_of(state: str, error: Mapping[str, Any] | None) -> Trouble:
    """From `KubeloopError.to_dict()`, or from a record without an error."""
    found = mapping(error)
    context = mapping(found.get("context"))
    where = tuple((key, shown(context[key])) for key in _PLACES if text(context.get(key)) is not None)
    return Trouble(state, text(found.get("problem")) or "", text(found.get("fix")) or "", where)


def troubles_of(*tasks: TaskRecord | None) -> tuple[Trouble, ...]:
    """What stopped these tasks, or still keeps them; a task that is done has no trouble."""
    silent = {
        "killed": "The process was ended from outside before the task could say anything",
        "running": "It has not finished yet",
        "failed": "The record does not say why",
        "refused": "The record does not say why",
    }
    found = []
    for task in tasks:
        if task is None or task.status not in silent:
            continue
        seen = trouble_of(task.status, task.error)
        if not seen.problem:
            seen = Trouble(task.status, f"{task.task}: {silent[task.status][0].lower()}{silent[task.status][1:]}")
        found.append(seen)
    return tuple(found)
