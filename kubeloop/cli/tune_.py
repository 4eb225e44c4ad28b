"""`kubeloop tune`: check a Katib Experiment, and run one on this machine."""

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, console, shown_path
from kubeloop.errors import InputError, PermanentError

if TYPE_CHECKING:
    from kubeloop.experiments.lint import Finding
    from kubeloop.experiments.search import Search
    from kubeloop.experiments.trials import Outcome, Trial

FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group(
    "tune",
    epilog="""\b
Examples:
  kubeloop tune lint experiment.yaml
  kubeloop tune run experiment.yaml --seed 7""",
)
def command() -> None:
    """Check a Katib Experiment, and run one on this machine. A contract's own search runs with `kubeloop run`."""


@command.command(
    "lint",
    short_help="Say what is wrong with an Experiment; send nothing.",
    epilog="""\b
Examples:
  kubeloop tune lint experiment.yaml
  kubeloop tune lint experiment.yaml --json | jq -r '.findings[].rule'""",
)
@FILE
@JSON
def lint_command(file: Path, as_json: bool) -> None:
    """Say all that Katib or its algorithm would refuse in the Experiment in FILE, and what one would regret.

    Exits with 2 for errors; advice alone exits with 0. Nothing is sent anywhere.
    """
    from kubeloop.experiments.lint import lint

    findings = lint(read_experiment(file))
    errors = sum(finding.level == "error" for finding in findings)
    if as_json:
        click.echo(json.dumps({"file": str(file), "errors": errors, "findings": [each.to_dict() for each in findings]}))
    else:
        _show(file, findings, errors)
    if errors:
        sys.exit(InputError.exit_code)


def _show(file: Path, findings: "list[Finding]", errors: int) -> None:
    _list(findings)
    milder = len(findings) - errors
    if not findings:
        click.echo(f"{shown_path(file)} is right")
        return
    words = [f"{errors} error{'s' * (errors != 1)}"] * bool(errors) + [
        f"{milder} piece{'s' * (milder != 1)} of advice"
    ] * bool(milder)
    click.echo(f"{shown_path(file)}: {', '.join(words)}")


def _list(findings: "list[Finding]", *, err: bool = False) -> None:
    colours = {"error": "red", "advice": "yellow"}
    for each in findings:
        click.secho(each.level, fg=colours[each.level], bold=True, nl=False, err=err)
        click.echo(f"  {each}\n       {'':>2}mend: {each.mend}", err=err)


@command.command(
    "run",
    short_help="Run an Experiment's trials as processes here.",
    epilog="""\b
Examples:
  kubeloop tune run experiment.yaml
  kubeloop tune run experiment.yaml --seed 7 --limit 120 --out search
  kubeloop tune run experiment.yaml --json | jq .best.assignment""",
)
@FILE
@HOME
@click.option("--out", type=click.Path(path_type=Path), help="Trials, table and report.  [default: HOME/searches/NAME]")
@click.option(
    "--workdir", type=click.Path(path_type=Path, exists=True), help="Where trials run.  [default: FILE's folder]"
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Unless the algorithm's settings have random_state.",
)
@click.option(
    "--limit", type=click.FloatRange(min=0, min_open=True), help="Seconds for one trial, beside activeDeadlineSeconds."
)
@click.option("--fresh", is_flag=True, help="Start anew, without the trials that an earlier run kept.")
@JSON
def run_command(
    file: Path,
    home: Path | None,
    out: Path | None,
    workdir: Path | None,
    seed: int,
    limit: float | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Run the Experiment in FILE here: its trials as processes, its metrics read as Katib reads them.

    A run that was stopped or killed goes on where it was. Images are not used: the trial's command must exist here.
    """
    from kubeloop.experiments.katib import from_experiment
    from kubeloop.experiments.lint import lint, refuse
    from kubeloop.experiments.local import Place, run_local

    document = read_experiment(file)
    findings = lint(document)
    errors = [finding for finding in findings if finding.level == "error"]
    if len(errors) > 1:  # a single one is what the refusal says
        _list(errors, err=True)
    refuse(findings, str(file))
    if document["spec"].get("nasConfig") or document["spec"]["trialTemplate"].get("trialSpec") is None:
        refuse_remote(document)
    search = from_experiment(document)
    root = (home or file.resolve().parent / ".kubeloop").resolve()
    folder = (out or root / "searches" / search.name).resolve()
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    show = _Progress(search, console(stderr=as_json))
    place = Place(folder, root, (workdir or file.resolve().parent).resolve(), limit)
    outcome = run_local(search, place, seed=seed, on_trial=show)
    facts = _write(search, outcome, folder, seed)
    if as_json:
        click.echo(
            json.dumps(
                {"out": str(folder), "ended": outcome.reason, "best": facts["best"], "trials": len(outcome.trials)}
            )
        )
    else:
        _end(search, outcome, folder)
    if outcome.best is None:
        raise PermanentError(f"no trial succeeded: {outcome.reason}", f"see the logs in {shown_path(folder)}")
    if outcome.ended == "failed":
        raise PermanentError(
            f"the search ended before its budget: {outcome.reason}",
            "mend what the failed trials name and begin again with --fresh, or raise maxFailedTrialCount and go on",
        )


class _Progress:
    """A line for each trial that ends: its value, and the best so far."""

    def __init__(self, search: "Search", out: Any) -> None:
        self._search, self._out = search, out

    def __call__(self, trial: "Trial", best: "Trial | None") -> None:
        from rich.text import Text

        value = f"{trial.value:.6g}" if trial.value is not None else "-"
        top = f"{best.value:.6g}" if best is not None else "-"
        colour = {"Succeeded": "green", "EarlyStopped": "yellow"}.get(trial.status, "red")
        line = Text(f"trial {trial.number:>4}  ").append(f"{trial.status:<18}", style=colour)
        line.append(f" {value:>12}   best {top:>12} {trial.seconds:8.1f} s")
        given = ", ".join(f"{key} {text}" for key, text in self._search.active(trial.assignment).items())
        told = f"{given}: {trial.reason}" if trial.reason else given
        self._out.print(line.append(f"  {told}", style="dim"), soft_wrap=True)


def read_experiment(file: Path) -> Any:
    """The document of an Experiment's file.

    Raises:
        InputError: There is no such file, it is no YAML, or holds several documents.
    """
    import yaml

    try:
        documents = [each for each in yaml.safe_load_all(file.read_text(encoding="utf-8")) if each is not None]
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read: {error.strerror}", "give the path of an Experiment in YAML"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: YAML was expected: {error}", "mend that place") from None
    if len(documents) != 1:
        raise InputError(f"{file}: one document was expected, got {len(documents)}", "keep the Experiment alone")
    return documents[0]


def refuse_remote(document: Any) -> None:
    """Refuse what only a cluster can run.

    Raises:
        InputError: Always: the search is over networks, or the trial lies in a ConfigMap.
    """
    from kubeloop.experiments.suggesting import STATEFUL

    name = document["spec"]["algorithm"]["algorithmName"]
    why = STATEFUL.get(name, "its trial lies in a ConfigMap of the cluster")
    raise InputError(f"{name} does not run on this machine: {why}", "send the Experiment to a Katib")


def _write(search: "Search", outcome: "Outcome", folder: Path, seed: int) -> dict[str, Any]:
    """Write the table, the best trial and the page; gives what is known of the best."""
    from kubeloop.experiments.facts import facts_of
    from kubeloop.experiments.trials import write_trials
    from kubeloop.reports.look import page
    from kubeloop.reports.search_page import search_lede, search_section

    write_trials(search, outcome.trials, folder / "trials")
    best = outcome.best.to_dict() if outcome.best else None
    (folder / "best.json").write_text(json.dumps(best, indent=1) + "\n", encoding="utf-8")
    facts = facts_of(search, outcome, seed)
    written = page(f"Search {search.name}", [search_section(facts)], search_lede(facts))
    (folder / "report.html").write_text(written, encoding="utf-8")
    return {"best": best}


def _end(search: "Search", outcome: "Outcome", folder: Path) -> None:
    from kubeloop.experiments.trials import FAILURES

    kept = f"; {outcome.kept} trials were kept from before" if outcome.kept else ""
    click.echo(f"\n{outcome.reason}{kept}")
    if outcome.best is not None:
        click.echo(f"best       {search.objective.metric} {outcome.best.value:.6g}, trial {outcome.best.number}")
        for name, text in search.active(outcome.best.assignment).items():
            click.echo(f"           {name} {text}")
    failed = [trial for trial in outcome.trials if trial.status in FAILURES]
    if failed:
        log = shown_path(folder / failed[0].name / "log.txt")
        click.echo(f"failed     {len(failed)} of {len(outcome.trials)} trials; what the first of them printed: {log}")
    click.echo(f"table      {shown_path(folder / 'trials')}")
    click.echo(f"report     {shown_path(folder / 'report.html')}")
