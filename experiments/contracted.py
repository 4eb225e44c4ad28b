"""From the contract's `search:` to a neutral search over Kubeloop's own trainer, and from an assignment to a choice."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from kubeloop.contract.durations import length_of
from kubeloop.contract.judgement import HIGHER_IS_BETTER, MetricName
from kubeloop.contract.search import Range
from kubeloop.contract.search import Search as Words
from kubeloop.contract.sections import TuneSection
from kubeloop.experiments.search import (
    Algorithm,
    Assignment,
    Budget,
    Condition,
    MedianStop,
    Objective,
    Parameter,
    Search,
    Template,
    TrialParameter,
    number_text,
)

ESTIMATOR = "estimator"
"""Name of the parameter that chooses the estimator."""

SECONDS = "train_seconds"
"""Metric beside the primary one: how long the fits of a trial took, in seconds."""

LEAVE_OUT = "leave_out."
CONTAINER = "trial"
YES, NO = "yes", "no"


def search_of(section: TuneSection, metric: MetricName, command: Sequence[str]) -> Search:
    """The search that a contract asks for.

    Args:
        section: With `search`.
        metric: What trials report, `metrics.primary`.
        command: The trial program; `<parameter>=<value>` comes after it for each parameter.
    """
    words = section.search
    assert words is not None
    parameters = parameters_of(section, words)
    higher = HIGHER_IS_BETTER[metric]
    early = words.early_stopping
    return Search(
        name=section.name,
        parameters=parameters,
        # A trial prints its mean after every fold: the last one is over all of them.
        objective=Objective(
            metric,
            "maximize" if higher else "minimize",
            None if words.goal is None else float(words.goal),
            (SECONDS,),
            {metric: "latest", SECONDS: "latest"},
        ),
        algorithm=Algorithm(words.algorithm, dict(words.settings)),
        budget=Budget(words.trials, min(words.parallel, words.trials), _failures(words)),
        template=template_of(parameters, command, words),
        early=None if early is None else MedianStop(early.after_trials, early.after_folds),
    )


def _failures(words: Words) -> int | None:
    return None if words.failures is None else min(words.failures, words.trials)


def parameters_of(section: TuneSection, words: Words) -> tuple[Parameter, ...]:
    """Parameters of the contract's estimator by their own names, those of others as `<estimator>.<name>`."""
    own = section.estimator.kind
    several = bool(words.estimators)
    found = [Parameter(ESTIMATOR, "categorical", values=(own, *words.estimators))] if several else []
    only = Condition(ESTIMATOR, (own,)) if several else None
    found += [_parameter(name, range_, only) for name, range_ in words.parameters.items()]
    for kind, ranges in words.estimators.items():
        found += [
            _parameter(f"{kind}.{name}", range_, Condition(ESTIMATOR, (kind,))) for name, range_ in ranges.items()
        ]
    found += [Parameter(f"{LEAVE_OUT}{group}", "categorical", values=(NO, YES)) for group in words.leave_out]
    return tuple(found)


def _parameter(name: str, words: Range, when: Condition | None) -> Parameter:
    if words.values:
        return Parameter(name, words.type, values=tuple(text_of(value) for value in words.values), when=when)
    assert words.low is not None
    assert words.high is not None
    step = None if words.step is None else float(words.step)
    return Parameter(name, words.type, float(words.low), float(words.high), step, log=words.scale == "log", when=when)


def text_of(value: Any) -> str:
    """A value of a list as trials get it: words as they are, all else as JSON.

    Percent-encoded where a shell would read more in it, for Katib joins a trial's command without quoting.
    """
    return quote(value if isinstance(value, str) else json.dumps(value), safe="/:,+=@")


def placeholder(name: str) -> str:
    """What stands for a parameter in the template: letters, digits and `_`."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def template_of(parameters: Sequence[Parameter], command: Sequence[str], words: Words) -> Template:
    """A batch Job that runs the trainer once: never again by itself, and not without end."""
    arguments = [f"{each.name}=${{trialParameters.{placeholder(each.name)}}}" for each in parameters]
    container = {"name": CONTAINER, "command": [*command, *arguments]}
    job: dict[str, Any] = {
        "backoffLimit": 0,
        "template": {
            "metadata": {"labels": {"sidecar.istio.io/inject": "false"}},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        },
    }
    if words.trial_limit is not None:
        job["activeDeadlineSeconds"] = int(length_of(words.trial_limit).total_seconds())
    return Template(
        {"apiVersion": "batch/v1", "kind": "Job", "spec": job},
        CONTAINER,
        tuple(TrialParameter(placeholder(each.name), each.name) for each in parameters),
    )


def choice_of(section: TuneSection, assignment: Assignment) -> dict[str, Any]:
    """What an assignment means to the trainer: `estimator`, its `parameters`, columns to `leave_out`."""
    words = section.search
    assert words is not None
    kind = assignment.get(ESTIMATOR, section.estimator.kind)
    own = kind == section.estimator.kind
    ranges = words.parameters if own else words.estimators[kind]  # type: ignore[index]
    prefix = "" if own else f"{kind}."
    found = {name: value_of(range_, assignment[prefix + name]) for name, range_ in ranges.items()}
    groups = [group for group in words.leave_out if assignment[f"{LEAVE_OUT}{group}"] == YES]
    left_out = list(dict.fromkeys(name for group in groups for name in words.leave_out[group]))
    kept = dict(section.estimator.parameters) if own else {}
    return {"estimator": kind, "parameters": kept | found, "leave_out": left_out}


def value_of(words: Range, text: str) -> Any:
    """The value that a text stands for."""
    if words.values:
        return next(value for value in words.values if text_of(value) == text)
    return int(float(text)) if words.type == "int" else float(text)


def assignment_of(section: TuneSection, kind: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """As much of an assignment as known parameters of an estimator give: those that lie in the search's ranges.

    Args:
        section: With `search`.
        kind: Of the estimator.
        parameters: By scikit-learn's names.
    """
    words = section.search
    assert words is not None
    own = kind == section.estimator.kind
    if not own and kind not in words.estimators:
        return {}
    ranges = words.parameters if own else words.estimators[kind]  # type: ignore[index]
    found = {ESTIMATOR: kind} if words.estimators else {}
    for name, range_ in ranges.items():
        text = _inside(range_, parameters.get(name)) if name in parameters else None
        if text is not None:
            found[name if own else f"{kind}.{name}"] = text
    return found | {f"{LEAVE_OUT}{group}": NO for group in words.leave_out}


def _inside(words: Range, value: Any) -> str | None:
    if words.values:
        return text_of(value) if value in words.values else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    assert words.low is not None
    assert words.high is not None
    if not words.low <= value <= words.high or (words.type == "int" and value != int(value)):
        return None
    return number_text(float(value))
