"""One line a step: what a task of a run says to the person who waits for it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kubeloop.tracking.record import PROGRESS, RunRecord, TaskRecord

if TYPE_CHECKING:
    from rich.progress import Progress

STYLES = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
WIDTH = 74
WORDS = {"running": "...", "killed": "killed", "cached": "cached", "failed": "FAILED", "refused": "REFUSED"}


class Steps:
    """Prints a line for each finished task; on a terminal, the running one turns below with the time it has taken."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._turning: Progress | None = None
        self._name = ""

    def __call__(self, task: TaskRecord) -> None:
        """A task began, told what it is at, or ended."""
        if task.status != "running":
            self.stop()
            self.console.print(line(task), soft_wrap=True, highlight=False)
        elif self.console.is_terminal:
            self._turn(task.task, str(task.facts.get(PROGRESS, "...")))

    def _turn(self, name: str, words: str) -> None:
        if self._turning is not None and name == self._name:
            self._turning.update(self._turning.task_ids[0], description=f"{name} {words}")
            return
        self.stop()
        self._name = name
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn("dots"), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._turning = Progress(*columns, console=self.console, transient=True)
        self._turning.add_task(f"{name} {words}", total=None)
        self._turning.start()

    def stop(self) -> None:
        """Clear the turning line."""
        if self._turning is not None:
            self._turning.stop()
            self._turning = None


def line(task: TaskRecord) -> Text:
    """A finished task in one line: name, what it found, verdict, seconds."""
    seconds = (task.finished - task.started).total_seconds() if task.finished else 0.0
    text = Text(f"{task.task:<14}", style="bold")
    text.append(f" {summary(task):<{WIDTH}}", style="default not bold")
    if task.status in WORDS:
        text.append(f" {WORDS[task.status]:<12}", style="red" if task.status != "cached" else "cyan")
    elif task.decision:
        verdict = task.decision.verdict
        text.append(f" {verdict.upper():<12}", style=STYLES[verdict])
    else:
        text.append(f" {'done':<12}", style="dim")
    return text.append(f" {seconds:5.1f} s", style="dim")


def summary(task: TaskRecord) -> str:
    """What a task found, in a few words."""
    if task.error and task.status in ("failed", "refused"):
        return _cut(str(task.error.get("problem", ""))).rstrip(":")
    teller = _SUMMARIES.get(task.task)
    return _cut(teller(task.facts)) if teller and task.facts else ""


def _cut(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    return first if len(first) <= WIDTH else first[: WIDTH - 3] + "..."


def short(digest: Any) -> str:
    """The first twelve digits of a digest."""
    return str(digest).removeprefix("sha256-")[:12]


def _ingest(facts: dict[str, Any]) -> str:
    dropped = facts.get("target_unknown", 0)
    more = f", {dropped:,} without target dropped" if dropped else ""
    return f"{facts['rows']:,} rows, {len(facts['columns'])} columns{more}; snapshot {short(facts['digest'])}"


def _validate(facts: dict[str, Any]) -> str:
    return f"{facts['valid']:,} of {facts['rows']:,} rows keep all rules, {facts['quarantined']:,} in quarantine"


def _split(facts: dict[str, Any]) -> str:
    return f"{facts['development']:,} development rows in {len(facts['folds'])} folds, {facts['test']:,} test rows"


def _tune(facts: dict[str, Any]) -> str:
    search = facts.get("search")
    if not search:
        return f"parameters from the {facts['source']}"
    tried = f"{len(facts['trials'])} trials, {search['failed']} failed"
    return f"{search['algorithm']}: {tried}; best {search['metric']} {search['value']:.4f} (trial {search['best']})"


def _train(facts: dict[str, Any]) -> str:
    name, estimate = _primary(facts, "cv")
    interval = f"{estimate['mean']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"
    return f"{facts['estimator']}; cross-validated {name} {interval}"


def _evaluate(facts: dict[str, Any]) -> str:
    name, estimate = _primary(facts, "metrics")
    return f"{name} {interval_text(estimate)} on {facts['rows']:,} test rows"


def _fit_monitor(facts: dict[str, Any]) -> str:
    sizes = [each["rows"] for each in facts["windows"]]
    span = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else f"{sizes[0]:,}" if sizes else ""
    judged = f"windows of {span} rows can be judged" if span else "too few rows to judge any window"
    return f"{facts['signals'] + facts['labels']} signals; {judged}"


def _register(facts: dict[str, Any]) -> str:
    return f"version {facts['version']}, package {short(facts['digest'])}"


def _attach_monitor(facts: dict[str, Any]) -> str:
    return str(facts["how"])


def _deploy(facts: dict[str, Any]) -> str:
    proof = facts.get("proof", facts)
    golden = proof.get("golden")
    replayed = f"; {golden} golden requests answered alike over {', '.join(proof['protocols'])}" if golden else ""
    return f"champion is {short(facts['digest'])}{replayed}"


def _read_rows(facts: dict[str, Any]) -> str:
    return f"{facts['rows']:,} rows, {facts['columns']} columns, for {facts['name']} {short(facts['digest'])}"


def _predict(facts: dict[str, Any]) -> str:
    early = f", {facts['taken_up']:,} by an earlier try" if facts["taken_up"] else ""
    refused = f", {facts['refused']:,} refused" if facts["refused"] else ""
    return f"{facts['rows'] - facts['refused']:,} rows answered{refused}{early}"


def _write_rows(facts: dict[str, Any]) -> str:
    return f"answers in {facts['out']}"


def _primary(facts: dict[str, Any], key: str) -> tuple[str, dict[str, Any]]:
    """The metric that decides, or the first one where it could not be computed."""
    name = facts.get("primary", "")
    return (name, facts[key][name]) if name in facts[key] else next(iter(facts[key].items()))


_SUMMARIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "ingest": _ingest,
    "validate": _validate,
    "split": _split,
    "tune": _tune,
    "train": _train,
    "evaluate": _evaluate,
    "fit_monitor": _fit_monitor,
    "register": _register,
    "attach_monitor": _attach_monitor,
    "deploy": _deploy,
    "read_rows": _read_rows,
    "predict": _predict,
    "write_rows": _write_rows,
}


def interval_text(estimate: dict[str, Any]) -> str:
    """`0.912 (0.841 to 0.967)`; a dash for what could not be computed."""
    value, low, high = (estimate.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def closing_table(record: RunRecord) -> Table | None:
    """What the model gate saw, check by check; None when the run did not come that far."""
    judged = next((task for task in reversed(record.tasks) if task.decision and task.task != "refused"), None)
    if judged is None or judged.decision is None:
        return None
    table = Table(title=f"{judged.decision.gate} gate", title_justify="left", title_style="bold", box=None)
    table.add_column("check", style="bold", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("what was seen", min_width=60)
    for check in judged.decision.checks:
        table.add_row(check.name, Text(check.verdict, style=STYLES[check.verdict]), Text(check.reason))
    return table
