"""The page of one run: verdict first, then what went in, what was seen, what was decided and why, where it serves."""

import datetime as dt
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kubeloop.decisions import Decision
from kubeloop.reports import sections, words
from kubeloop.reports.facts import count, duration, mapping, moment, number, plural, shown, text
from kubeloop.reports.judgement import ordered
from kubeloop.reports.look import render, shell
from kubeloop.reports.search_page import search_section
from kubeloop.reports.troubles import Trouble, trouble_of, troubles_of
from kubeloop.reports.verdicts import blocking, next_steps
from kubeloop.reports.watch_section import watch_section
from kubeloop.site.model import Site
from kubeloop.tracking.record import RunRecord, TaskRecord

_ANCHORS = {
    "ingest": "data",
    "validate": "data",
    "split": "split",
    "tune": "train",
    "train": "train",
    "evaluate": "evaluation",
    "fit_monitor": "watch",
    "attach_monitor": "watch",
    "register": "deploy",
    "deploy": "deploy",
    "refused": "decision",
}


@dataclass(frozen=True)
class _Run:
    """A record, and what the page asks of it again and again."""

    record: RunRecord
    site: Site
    state: words.State

    def task(self, name: str) -> TaskRecord | None:
        return next((task for task in reversed(self.record.tasks) if task.task == name), None)

    def facts(self, name: str) -> dict[str, Any]:
        task = self.task(name)
        return dict(task.facts) if task else {}

    def did(self, name: str) -> bool:
        task = self.task(name)
        return task is not None and task.status in ("done", "cached")

    @property
    def decisions(self) -> list[Decision]:
        """Of the gates, in order; the task `refused` only repeats one."""
        found = [task.decision for task in self.record.tasks if task.decision and task.task != "refused"]
        repeated = [task.decision for task in self.record.tasks if task.decision and task.task == "refused"]
        return found or repeated

    @property
    def blocker(self) -> Decision | None:
        """The decision that ended the run."""
        return next((found for found in reversed(self.decisions) if found.verdict != "pass"), None)

    @property
    def stopped_at(self) -> TaskRecord | None:
        """The task in which it ended, or is."""
        ended = ("failed", "killed", "running", "refused")
        return next((task for task in self.record.tasks if task.status in ended), None)


def state_of(record: RunRecord) -> words.State:
    """How a run ended, in one word: what its badge says."""
    if record.status in ("running", "killed", "failed"):
        return record.status
    if record.verdict == "inconclusive":
        return "inconclusive"
    if record.status == "refused" or record.verdict == "fail":
        return "refused"
    return "pass" if record.verdict == "pass" else "done"


def run_page(record: RunRecord, site: Site) -> str:
    """The report of a run; whatever the record does not hold is said to be missing, or left out.

    Args:
        record: With its tasks; may be old, partial, running, or of a run that failed.
        site: Where it ran.

    Returns:
        Self-contained HTML: no script, nothing loaded. The same record gives the same bytes.
    """
    run = _Run(record, site, state_of(record))
    body = render(
        "run.html.j2",
        state=run.state,
        headline=_headline(run),
        lede=_lede(run),
        notice=_notice(run),
        keys=_keys(run),
        track=_track(run),
        parts=_parts(run),
    )
    return shell(f"{record.name}: {words.BADGES[run.state].lower()}", body, aside=record.run_id, kind="run")


def _headline(run: _Run) -> str:
    name, at = run.record.name, run.stopped_at
    where = f" in {at.task}" if at else ""
    blocker = run.blocker
    gate = f"the {words.gate(blocker.gate).lower()}" if blocker else "a gate"
    if run.state == "pass":
        if not run.did("deploy"):
            return f"{name} passed its gates"
        if text(run.facts("deploy").get("outcome")) == "already champion":
            return f"{name} is still champion"
        return f"{name} passed, and became the champion"
    return {
        "refused": f"{name} was refused by {gate}",
        "inconclusive": f"{gate[:1].upper()}{gate[1:]} could not decide about {name}",
        "failed": f"{name} failed{where}",
        "killed": f"{name} was killed{where}",
        "running": f"{name} is running{where and f': {where[4:]}'}",
    }.get(run.state, f"{name} has ended")


def _lede(run: _Run) -> str:
    if run.state not in ("pass", "done"):
        return ""
    facts = run.facts("evaluate")
    task = run.task("evaluate")
    found = ordered(facts, task.decision if task else None)
    for name, estimate in found.items():
        value, low, high = (number(estimate.get(key)) for key in ("value", "low", "high"))
        if value is None:
            continue
        interval = f", interval {words.interval((low, high))}," if low is not None and high is not None else ""
        rows = count(facts.get("rows"))
        on = f" on {plural(rows, 'test row')} that the training never saw" if rows else ""
        return f"{words.metric(name)} {shown(value)}{interval}{on}."
    return ""


def _notice(run: _Run) -> dict[str, Any] | None:
    """For a run that did not end well: why, what to do, what it means; in the page's largest words."""
    blocker = run.blocker
    if run.state in ("refused", "inconclusive") and blocker:
        verb = "refused" if blocker.verdict == "fail" else "could not decide"
        title = f"Why the {words.gate(blocker.gate).lower()} {verb}"
        return _notice_of(run.state, title, blocking(blocker), next_steps(blocker), _aftermath(run))
    if run.state in ("failed", "killed", "refused", "inconclusive"):
        trouble = _cause(run)
        silent = {"killed": "The process was ended from outside before it could say anything"}
        problem = trouble.problem or silent.get(run.state, "The record does not say why")
        steps = [trouble.fix] if trouble.fix else []
        log = text(run.record.facts.get("log"))
        steps += [f"The log of the run: {log}"] if log and run.state == "failed" else []
        steps += (
            ["Run again: `kubeloop run`. It goes on where it can, or starts clean."] if run.state == "killed" else []
        )
        return _notice_of(run.state, "What went wrong", [problem], steps, _aftermath(run)) | {"where": trouble.where}
    return None


def _notice_of(state: str, title: str, reasons: list[str], steps: list[str], after: str) -> dict[str, Any]:
    return {"state": state, "title": title, "reasons": reasons, "steps": steps, "after": after, "where": ()}


def _cause(run: _Run) -> Trouble:
    """The error of the task that stopped the run, else the run's own."""
    at = run.stopped_at
    own = trouble_of(run.state, run.record.error)
    seen = trouble_of(run.state, at.error) if at else own
    return seen if seen.problem else own


def _aftermath(run: _Run) -> str:
    """What did not happen, as far as the record can tell."""
    if run.did("deploy"):
        return ""
    if run.task("deploy"):
        return "The deployment did not end well. `kubeloop status` shows what serves now."
    words_of = (("train", "trained"), ("register", "registered"), ("deploy", "deployed"))
    missing = [word for name, word in words_of if not run.did(name)]
    listed = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} or {missing[-1]}"
    return f"Nothing was {listed} by this run. What served before, if anything, still serves."


def _keys(run: _Run) -> list[tuple[str, str, bool]]:
    record = run.record
    found = [
        ("Run", record.run_id, True),
        ("Started", moment(record.started), False),
        ("Took", _took(record.started, record.finished) or "not finished", False),
        ("Where", f"{run.site.name}, namespace {record.namespace}", False),
    ]
    pipeline = text(record.facts.get("pipeline"))
    return [*found, ("Pipeline", pipeline, True)] if pipeline else found


def _took(started: dt.datetime, finished: dt.datetime | None) -> str:
    return "" if finished is None else duration(max((finished - started).total_seconds(), 0.0))


def _task_state(task: TaskRecord | None) -> words.State:
    if task is None:
        return "absent"
    return task.status


def _tone(task: TaskRecord | None) -> str:
    """The colour of a task: its status, and for a gate what it said."""
    if task is not None and task.status in ("done", "cached"):
        return task.decision.verdict if task.decision else "pass"
    return _task_state(task)


def _tasks(run: _Run) -> list[tuple[str, TaskRecord | None]]:
    """The tasks of the train pipeline in order, with those that left no record, then all others."""
    known = {task.task for task in run.record.tasks}
    ours = words.TRAIN if known & set(words.TRAIN) or text(run.record.facts.get("pipeline")) == "kubeloop-train" else ()
    others = [task.task for task in run.record.tasks if task.task not in ours and task.task != "refused"]
    return [(name, run.task(name)) for name in (*ours, *dict.fromkeys(others))]


def _track(run: _Run) -> list[dict[str, Any]]:
    ended = run.record.status != "running"
    found = []
    for name, task in _tasks(run):
        state = _task_state(task)
        said = task.decision.verdict if task and task.decision and state in ("done", "cached") else state
        found.append(
            {
                "name": name,
                "state": said if task or ended else "absent",
                "tone": _tone(task),
                "took": _took(task.started, task.finished) if task else "",
                "anchor": _ANCHORS.get(name, "timings"),
            }
        )
    return found


def _parts(run: _Run) -> list[Markup]:
    task = run.task
    gate = task("validate")
    data = {**run.facts("ingest"), **run.facts("validate")}
    evaluate = task("evaluate")
    tune = mapping(run.facts("tune"))
    trained = run.facts("train")
    if trained and "parameters" not in trained and mapping(tune.get("parameters")):
        trained["parameters"] = tune["parameters"]
    absent = _absent(run)
    return [
        sections.data_section(data, None, troubles_of(task("ingest"), gate), absent),
        sections.split_section(run.facts("split"), troubles_of(task("split")), absent),
        *([search_section(tune)] if tune.get("search") else []),
        sections.train_section(trained, troubles_of(task("tune"), task("train")), absent),
        sections.evaluation_section(
            run.facts("evaluate"), evaluate.decision if evaluate else None, troubles_of(evaluate), absent
        ),
        sections.decision_section(*run.decisions),
        _deployment(run, absent),
        watch_section(
            run.facts("fit_monitor"),
            run.facts("attach_monitor"),
            troubles_of(task("fit_monitor"), task("attach_monitor")),
            absent,
        ),
        _timings(run),
    ]


def _absent(run: _Run) -> str:
    """Why a section has nothing to show."""
    if run.state in ("refused", "inconclusive"):
        return "Did not run: the gate ended the run before."
    return {
        "failed": "Did not run: the run failed before.",
        "killed": "Did not run: the run was killed before.",
        "running": "Not yet.",
    }.get(run.state, "The record says nothing about this.")


def _deployment(run: _Run, absent: str) -> Markup:
    facts = {**run.facts("register"), **run.facts("deploy")}
    commands = _commands(run, facts) if run.did("deploy") else ()
    return sections.deploy_section(facts, troubles_of(run.task("register"), run.task("deploy")), commands, absent)


def _commands(run: _Run, facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    url, name = text(facts.get("url")), run.record.name
    if url:
        body = '{"instances": [{"column": value}]}'
        line = f"curl -H 'Content-Type: application/json' -d '{body}' {url.rstrip('/')}/v1/models/{name}:predict"
        return (("A request, over the V1 protocol; give a value for each feature column:", line),)
    if run.site.home is not None:
        line = f"kubeloop serve {name} --home {shlex.quote(str(run.site.home))}"
        return (("Keeps the champion up in the foreground, and prints a curl line that works:", line),)
    return ()


def _timings(run: _Run) -> Markup:
    record = run.record
    ends = [task.finished for task in record.tasks if task.finished]
    last = max([*ends, *([record.finished] if record.finished else [])], default=None)
    whole = max((last - record.started).total_seconds(), 0.001) if last else None
    return render("timings.html.j2", tasks=[_timing(task, record.started, whole) for task in record.tasks])


def _timing(task: TaskRecord, origin: dt.datetime, whole: float | None) -> dict[str, Any]:
    after = max((task.started - origin).total_seconds(), 0.0)
    took = (task.finished - task.started).total_seconds() if task.finished else None
    bar = whole is not None and took is not None
    left = round(min(100 * after / whole, 99.0), 2) if whole and bar else 0.0
    width = round(min(100 * max(took or 0.0, 0.0) / whole, 100 - left), 2) if whole and bar else None
    return {
        "name": task.task,
        "what": words.TASKS.get(task.task, ""),
        "state": task.status,
        "tone": _tone(task),
        "took": duration(max(took, 0.0)) if took is not None else "\N{EN DASH}",
        "left": left,
        "width": width,
        "label": f"{task.task}: starts after {duration(after)}"
        + (f", takes {duration(max(took, 0.0))}" if took is not None else ""),
    }


def headline_metric(record: RunRecord) -> tuple[str, float, float | None, float | None] | None:
    """Name, value and interval of the first metric of a run; None where there is none."""
    for task in reversed(record.tasks):
        if task.task != "evaluate":
            continue
        for name, found in ordered(task.facts, task.decision).items():
            value = number(found.get("value"))
            if value is not None:
                return name, value, number(found.get("low")), number(found.get("high"))
    return None


def headline_reason(record: RunRecord) -> str:
    """Why a run did not pass, in one sentence; empty for one that did."""
    state = state_of(record)
    if state not in ("refused", "inconclusive", "failed"):
        return ""
    decided = [task.decision for task in record.tasks if task.decision and task.decision.verdict != "pass"]
    if decided and state != "failed":
        return blocking(decided[-1])[0]
    return next(
        (seen.problem for task in record.tasks for seen in troubles_of(task)), trouble_of(state, record.error).problem
    )
