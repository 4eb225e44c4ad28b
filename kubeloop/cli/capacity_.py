"""`kubeloop capacity`."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kubeloop.cli.options import HOME, JSON, existing_site

if TYPE_CHECKING:
    from kubeloop.packaging.package import Package
    from kubeloop.serving.capacity import Measurement, Plan
    from kubeloop.site import Site


@click.command(
    "capacity",
    epilog="""\b
Examples:
  kubeloop capacity heart
  kubeloop capacity heart --mean 200 --peak 2000
  kubeloop capacity heart@3 --rows 32 --json""",
)
@click.argument("model")
@HOME
@click.option("--mean", type=click.FloatRange(min=0, min_open=True), help="Requests per second.  [default: contract's]")
@click.option("--peak", type=click.FloatRange(min=0, min_open=True), help="At most.  [default: mean x peak_factor]")
@click.option("--rows", type=click.IntRange(min=1), help="Rows in one request.  [default: contract's, else 1]")
@click.option("--seconds", type=click.FloatRange(min=0.2), default=2.0, show_default=True, help="At each rate tried.")
@JSON
def command(
    model: str,
    home: Path | None,
    mean: float | None,
    peak: float | None,
    rows: int | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Find the rate at which MODEL breaks its latency promise, and how it should scale for the expected load.

    A predictor of its own is started and loaded on this machine; what serves now is not touched. MODEL is NAME (its
    champion) or NAME@VERSION; the promise is `serving.slo` of its contract, the load `business.load`.
    """
    from kubeloop.cli.api import load
    from kubeloop.contract.serving import Serving
    from kubeloop.serving.capacity import plan

    site = existing_site(home)
    package = load(model, home=home)
    contract = package.manifest.contract
    expected: dict[str, Any] = (contract.get("business") or {}).get("load") or {}
    serving = Serving.model_validate(contract.get("serving") or {})
    mean = mean or expected.get("requests_per_second") or peak or 0.0
    peak = peak or mean * expected.get("peak_factor", 1.0)
    rows = rows or expected.get("rows_per_request", 1)
    say = _silent if as_json else click.echo
    promise = f"at most {serving.slo.p99_ms:g} ms for 99 of 100 answers"
    say(f"{package.name} {package.digest[7:19]}: {promise}, rows in each: {rows}")
    measured = _measured(package, site, rows, seconds, say)
    planned = plan(measured, serving, mean, peak) if mean and peak else None
    if as_json:
        click.echo(json.dumps({"measured": measured.model_dump(), "plan": planned and planned.model_dump()}))
    else:
        click.echo(_text(measured, planned))


def _silent(line: str) -> None:
    """Nothing but the document is printed."""


def _measured(package: "Package", site: "Site", rows: int, seconds: float, say: Callable[[str], Any]) -> "Measurement":
    from kubeloop.serving import process
    from kubeloop.serving.capacity import measure

    with tempfile.TemporaryDirectory(prefix="kubeloop-capacity-") as scratch:
        home = site.home or Path(scratch)
        running = process.start(package.folder, package.name, Path(scratch) / "predictor.log", home, alone=True)
        try:
            process.wait_ready(running)
            return measure(running, package.name, package.manifest, rows, seconds, say)
        finally:
            process.stop(running)


def _text(measured: "Measurement", planned: "Plan | None") -> str:
    least = "at least " if measured.at_least else ""
    lines = [
        f"one replica carries {least}{measured.rate:,.0f} requests per second:"
        f" p50 {measured.p50_ms:.2f} ms, p99 {measured.p99_ms:.2f} ms,"
        f" {measured.cpu_ms:.3f} ms of CPU each, {measured.memory_mb:,.0f} MB",
    ]
    if measured.at_least:
        lines.append("  the load generator met its own limit first: give this machine more cores to learn more")
    if planned is None:
        lines.append("  for replicas and autoscaling give --mean and --peak, or `business.load` in loop.yaml")
        return "\n".join(lines)
    lines += [
        f"planned for {planned.rate_per_replica:,.0f}/s each;"
        f" expected {planned.mean:,.6g}/s, at most {planned.peak:,.6g}/s",
        "in loop.yaml, where KServe runs Deployments (Standard mode):",
        *_serving(planned.standard),
        "or with Knative (`cluster.mode: knative` in site.yaml):",
        *_serving(planned.knative),
    ]
    return "\n".join(lines)


def _serving(fields: dict[str, Any]) -> list[str]:
    """Fields of an InferenceService's predictor in the words of loop.yaml."""
    return [
        "  serving:",
        f"    replicas: {{minimum: {fields['minReplicas']}, maximum: {fields['maxReplicas']}}}",
        f"    autoscaling: {{metric: {fields['scaleMetric']}, target: {fields['scaleTarget']}}}",
    ]
