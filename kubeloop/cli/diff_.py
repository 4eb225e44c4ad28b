"""`kubeloop diff`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, console, existing_site
from kubeloop.errors import InputError
from kubeloop.site import Site

if TYPE_CHECKING:
    from rich.console import Console

    from kubeloop.tracking.record import RunRecord

_SHORTEST = 4
_PLACES = ("parameters", "data", "contract", "code", "libraries")


@click.command(
    "diff",
    epilog="""\b
Examples:
  kubeloop diff a1b2 c3d4                    # two runs, by any part of their ids that names one
  kubeloop diff heart@1 heart@champion       # two versions
  kubeloop diff heart@champion a1b2 --json   # a version and a run, even a refused one""",
)
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@HOME
@JSON
def command(old: str, new: str, home: Path | None, as_json: bool) -> None:
    """Show what differs from A to B: parameters, metrics, data, contract, code, libraries.

    Each is a run, or a version as NAME@VERSION.
    """
    site = existing_site(home)
    found = differences(side(site, old), side(site, new))
    if as_json:
        click.echo(json.dumps(found))
    else:
        show(found, console())


def side(site: Site, text: str) -> dict[str, Any]:
    """What there is to compare of a run or a version.

    Returns:
        `kind`, `id`, `about` (a few words), `parameters`, `metrics` (name -> value, low, high), `data`, `contract`,
        `code`, `libraries`; None where it is not known.

    Raises:
        InputError: Neither a run nor a version is called so.
    """
    return _version(site, text) if "@" in text else _run(find_run(site, text))


def find_run(site: Site, text: str) -> "RunRecord":
    """The run with this id, or the only one whose id holds this text.

    Raises:
        InputError: There is none, or more than one.
    """
    import difflib

    from kubeloop.tracking.record import list_runs

    runs = {run.run_id: run for run in list_runs(site)}
    if text in runs:
        return runs[text]
    found = [run_id for run_id in runs if text in run_id] if len(text) >= _SHORTEST else []
    if len(found) == 1:
        return runs[found[0]]
    if found:
        raise InputError(
            f"one run was expected, {text!r} is part of {len(found)} ids", f"one of: {', '.join(found[:5])}"
        )
    near = difflib.get_close_matches(text, runs, n=1, cutoff=0.4)
    hint = f"the nearest is {near[0]}; " if near else ""
    raise InputError(
        f"a run or a version was expected, {text!r} is neither",
        f"{hint}`kubeloop runs` lists the runs; a version is written as NAME@VERSION",
    )


def _run(record: "RunRecord") -> dict[str, Any]:
    from kubeloop.tracking.mirror import chosen

    facts = {task.task: task.facts for task in record.tasks}
    return {
        "kind": "run",
        "id": record.run_id,
        "name": record.name,
        "about": record.status if record.verdict is None else f"{record.status}, {record.verdict}",
        "parameters": chosen(record),
        "metrics": {name: _estimate(found) for name, found in (facts.get("evaluate", {}).get("metrics") or {}).items()},
        "data": facts.get("ingest", {}).get("digest"),
        "contract": record.facts.get("document"),
        "code": record.facts.get("code"),
        "libraries": record.facts.get("libraries"),
    }


def _version(site: Site, text: str) -> dict[str, Any]:
    from kubeloop.cli.moves import named, opened
    from kubeloop.store import open_engine

    engine = open_engine(site)
    try:
        version = named(engine, site, text)
    finally:
        engine.dispose()
    manifest = opened(site, version.digest).manifest
    environment = manifest.environment
    return {
        "kind": "version",
        "id": f"{version.name}@{version.version}",
        "name": version.name,
        "about": f"package {version.digest[7:19]}",
        "parameters": {"estimator": manifest.estimator.get("kind"), **(manifest.estimator.get("parameters") or {})}
        | {"seed": manifest.contract.get("seed")},
        "metrics": {name: _estimate(metric.model_dump()) for name, metric in manifest.metrics.items()},
        "data": manifest.data.digest,
        "contract": manifest.contract,
        "code": {"kubeloop": manifest.code_version},
        "libraries": {"python": environment.python, **environment.libraries},
    }


def _estimate(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found.get(key) for key in ("value", "low", "high")}


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What differs between two sides.

    Returns:
        `old` and `new` (kind, id, about); `metrics`: name -> old, new, difference; `parameters`, `data`, `contract`,
        `code`, `libraries`: dotted key -> [old, new], with None for what one side lacks; `unknown`: the places of which
        one side says nothing, so that they were not compared.
    """
    from kubeloop.registry.compare import changes

    heads = [{key: each[key] for key in ("kind", "id", "name", "about")} for each in (old, new)]
    found: dict[str, Any] = {"old": heads[0], "new": heads[1], "metrics": {}, "unknown": []}
    for name in [*old["metrics"], *(name for name in new["metrics"] if name not in old["metrics"])]:
        before, after = old["metrics"].get(name), new["metrics"].get(name)
        first, second = ((each or {}).get("value") for each in (before, after))
        gap = None if first is None or second is None else second - first
        found["metrics"][name] = {"old": before, "new": after, "difference": gap}
    for place in _PLACES:
        before, after = old[place], new[place]
        if before is None or after is None:
            found["unknown"].append(place)
            found[place] = {}
            continue
        if place in ("libraries", "code") and old["kind"] != new["kind"]:
            before, after = _shared(before, after)
        found[place] = (
            changes(before, after) if isinstance(before, dict) else changes({"digest": before}, {"digest": after})
        )
    return found


def _shared(old: dict[str, Any], new: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What both know: a package names the libraries that score, a run all, and Python to the patch release."""
    keys = [key for key in old if key in new]
    cut = {key: min(len(str(old[key]).split(".")), len(str(new[key]).split("."))) for key in keys if key == "python"}
    pair = [{key: each[key] for key in keys} for each in (old, new)]
    for each in pair:
        each |= {key: ".".join(str(each[key]).split(".")[:parts]) for key, parts in cut.items()}
    return pair[0], pair[1]


def show(found: dict[str, Any], out: "Console") -> None:
    """Print the differences for a person."""
    from rich.table import Table

    from kubeloop.cli.steps import interval_text

    for sign, head in (("A", found["old"]), ("B", found["new"])):
        out.print(f"{sign}  {head['kind']} {head['id']}  ({head['about']})", markup=False, soft_wrap=True)
    out.print()
    if found["metrics"]:
        table = Table(box=None)
        for title in ("metric", "A", "B", "difference"):
            table.add_column(title, no_wrap=True)
        for name, metric in found["metrics"].items():
            sides = [interval_text(metric[each]) if metric[each] else "-" for each in ("old", "new")]
            table.add_row(name, *sides, "-" if metric["difference"] is None else f"{metric['difference']:+.4f}")
        out.print(table)
        out.print("\nEach interval was measured apart, on its own test rows; only a paired gate decides.\n")
    for place in _PLACES:
        for line in _lines(place, found):
            out.print(f"{place:<11} {line}", markup=False, soft_wrap=True)


def _lines(place: str, found: dict[str, Any]) -> list[str]:
    if place in found["unknown"]:
        return ["not known of both, so not compared"]
    lines = []
    for key, (before, after) in found[place].items():
        pair = " -> ".join(_said(each) for each in (before, after))
        lines.append(pair if place == "data" else f"{key}: {pair}")
    return lines or ["the same"]


def _said(value: Any) -> str:
    from kubeloop.cli.steps import short

    text = value if isinstance(value, str) else json.dumps(value)
    return short(text) if text.startswith("sha256-") else text
