"""Ours against a stock KServe server, interleaved, in one run: `python -m tests.bench.serving.harness [--stock TREE]`.

Without a tree it measures against `kserve.Model` with scikit-learn, and says that no ratio to stock was measured. CPU
per request is the figure to go by: it holds still where the machine does not. Both sides' answers are compared with
scikit-learn's before anything is timed.
"""

import argparse
import http.client
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.serving import drive, servers, workload
from tests.bench.serving.drive import Measured
from tests.bench.serving.latency import Latency
from tests.bench.serving.servers import Running

TARGETS = {
    ("LR", "V1", 1, 16): 100.0,
    ("LR", "V2", 1, 16): 100.0,
    ("HGB", "V1", 1, 16): 100.0,
    ("RF", "V1", 1, 16): 80.0,
    ("LR", "V1", 32, 16): 130.0,
    ("LR", "V2", 32, 16): 60.0,
    ("LR unplanned", "V1", 1, 16): 8.0,
    ("LR unplanned", "V1", 1, 64): 20.0,
    ("LR", "gRPC", 1, 16): 20.0,
}
"""The least ratio of CPU per request, by model, protocol, rows and clients."""

P99_MS = 2.0
"""What p99 has to stay below, for one row of 16 clients."""
TURNS = 8
"""Seconds of load on ours, in each round, by which p99 is judged."""

TOLERANCE = 1e-9
SLICES = {"gRPC": 4}
"""In so many turns both sides of a cell are measured in each round, by protocol; in one for others. Where a ratio is
near its target, the machine's speed changes from one cell to the next by more than the distance between them."""

_ROUNDS_OF_CLIENTS = 10
_LONGEST_S = 15
Cell = tuple[str, str, int, int]


@dataclass
class Results:
    """What was measured of each cell: in each round the other side and ours; and what is known of its p99."""

    rounds: dict[Cell, list[tuple[Measured, Measured]]] = field(default_factory=dict)
    latency: dict[Cell, Latency] = field(default_factory=dict)

    def ratios(self, cell: Cell) -> list[float]:
        """How many times more CPU the other side took, in each round."""
        return [other.cpu_ms / ours.cpu_ms for other, ours in self.rounds[cell]]


def cells(models: Sequence[str], full: bool) -> list[Cell]:
    """What is measured: the targets' cells, or every combination."""
    if not full:
        return [cell for cell in TARGETS if cell[0].split()[0] in models]
    every = [(m, p, r, c) for m in models for p in ("V1", "V2") for r in (1, 32, 1024) for c in (1, 16, 64)]
    return [*every, *(cell for cell in TARGETS if cell not in every and cell[0].split()[0] in models)]


def main() -> int:
    """Measure, print, and judge; 1 where a target was missed."""
    chosen = _options()
    if not drive.has_wrk():
        print("wrk is not installed (Debian: apt-get install wrk): nothing was measured")
        return 0
    python = servers.environment_of(chosen.stock) if chosen.stock else None
    other = "stock sklearnserver" if python else "kserve.Model + scikit-learn"
    results = Results()
    wanted = cells(chosen.models, chosen.full)
    for model in chosen.models:
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubeloop-bench-")))
            sides = _sides(model, python, scratch, stack, wanted)
            sides["empty"] = stack.enter_context(servers.serving(servers.empty(), False, scratch / "empty.log"))
            _run([cell for cell in wanted if cell[0].split()[0] == model], sides, chosen, scratch, results)
    return _report(results, other, stock=python is not None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", type=Path, help="a kserve v0.20.0 tree")
    parser.add_argument("--models", nargs="+", choices=list(workload.MODELS), default=list(workload.MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load, per cell, side and round")
    parser.add_argument("--full", action="store_true", help="every combination, not the targets' alone")
    return parser.parse_args()


def _sides(
    model: str, python: Path | None, scratch: Path, stack: ExitStack, wanted: Sequence[Cell]
) -> dict[str, Running]:
    """The servers of one model, all running, all proven right."""
    table, answers = scratch / "table.json", {}
    workload.table().to_json(table, orient="split")
    fit = [str(python or sys.executable), str(Path(__file__).with_name("stock_fit.py"))]
    fitted = subprocess.run(
        [*fit, str(table), model, str(scratch / "stock"), "32"], capture_output=True, text=True, check=True
    )
    answers["stock"] = json.loads(fitted.stdout)
    package = workload.package(model, scratch)
    answers["ours"] = answers["unplanned"] = _scikit_learn(package)
    plain = [sys.executable, str(Path(__file__).with_name("plain_model.py")), str(scratch / "stock")]
    ports = ["--model_name", workload.NAME, "--http_port", "{http}", "--grpc_port", "{grpc}"]
    commands = {"stock": servers.stock(python, scratch / "stock") if python else [*plain, *ports]}
    commands["ours"] = servers.ours(package)
    if any(cell[0] == f"{model} unplanned" for cell in wanted):
        commands["unplanned"] = servers.ours(package, planned=False)
    made: dict[str, Running] = {}
    for name, command in commands.items():
        made[name] = stack.enter_context(servers.serving(command, name == "stock", scratch / f"{name}.log"))
        for protocol in ("V1", "V2"):
            _check(made[name], protocol, answers[name])
    return made


def _run(
    wanted: Sequence[Cell], sides: dict[str, Running], chosen: argparse.Namespace, scratch: Path, results: Results
) -> None:
    for number in range(chosen.rounds):
        for cell in wanted:
            ours = sides["unplanned" if cell[0].endswith("unplanned") else "ours"]
            turns = [
                [_measure(cell, side, chosen, scratch) for side in (sides["stock"], ours)]
                for _ in range(SLICES.get(cell[1], 1))
            ]
            pair = (drive.mean([turn[0] for turn in turns]), drive.mean([turn[1] for turn in turns]))
            results.rounds.setdefault(cell, []).append(pair)
            if _judged(cell):
                latency = results.latency.setdefault(cell, Latency(P99_MS))
                _look(latency, cell, ours, sides["empty"], pair[1], scratch)
            ratio = pair[0].cpu_ms / pair[1].cpu_ms
            print(
                f"round {number + 1}  {_named(cell)}  {pair[0].cpu_ms:8.3f} / {pair[1].cpu_ms:7.4f} ms  {ratio:6.1f}x"
            )


def _judged(cell: Cell) -> bool:
    """Whether its p99 is."""
    return cell[2:] == (1, 16) and "unplanned" not in cell[0] and cell[1] != "gRPC"


def _look(latency: Latency, cell: Cell, ours: Running, empty: Running, measured: Measured, scratch: Path) -> None:
    """What 16 clients see of ours, and of a server that does nothing for as long as ours takes."""
    body = _body(cell, ours)
    at_once = drive.wrk(empty, "/0", body, 16, 1, scratch)
    busy_us = max(0, round(1e6 / measured.per_s - 1e6 / at_once.per_s))
    latency.measure(
        lambda: drive.wrk(ours, drive.PATHS[cell[1]], body, 16, 1, scratch),
        lambda: drive.wrk(empty, f"/{busy_us}", body, 16, 1, scratch),
        TURNS,
    )


def _body(cell: Cell, running: Running) -> bytes:
    return workload.v1_body(cell[2], running.stock) if cell[1] == "V1" else workload.v2_body(cell[2])


def _measure(cell: Cell, running: Running, chosen: argparse.Namespace, scratch: Path) -> Measured:
    _, protocol, _, clients = cell
    if protocol == "gRPC":
        return drive.grpc(running, clients, chosen.seconds)
    body = _body(cell, running)
    # A first second finds caches cold; nobody is judged by it. What is in flight at the end was worked
    # on and is not counted, so a slow server gets time for many more.
    warm = drive.wrk(running, drive.PATHS[protocol], body, clients, 1, scratch)
    seconds = min(_LONGEST_S, max(chosen.seconds, math.ceil(_ROUNDS_OF_CLIENTS * clients / max(warm.per_s, 1))))
    return drive.wrk(running, drive.PATHS[protocol], body, clients, seconds, scratch)


def _scikit_learn(package: Path) -> list[list[float]]:
    from kubeloop.packaging.read import read_package

    found = read_package(package).predict(workload.rows(32)).probabilities
    assert found is not None
    listed: list[list[float]] = found.tolist()
    return listed


def _check(running: Running, protocol: str, expected: list[list[float]]) -> None:
    """See that a server answers as scikit-learn does."""
    size = len(expected)
    body = workload.v1_body(size, running.stock) if protocol == "V1" else workload.v2_body(size)
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request("POST", drive.PATHS[protocol], body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if protocol == "V1":
        given = answer.get("probabilities", answer["predictions"])
        flat = [value for row in given for value in row]
    else:
        flat = answer["outputs"][-1]["data"]
    wanted = [value for row in expected for value in row]
    worst = max(abs(a - b) for a, b in zip(flat, wanted, strict=True))
    assert worst <= TOLERANCE, f"{running}: off by {worst}"


def _named(cell: Cell) -> str:
    return f"{cell[0]:12} {cell[1]:4} {cell[2]:5} rows {cell[3]:3} clients"


def _report(results: Results, other: str, *, stock: bool) -> int:
    print(f"\nCPU per request: {other} / ours, least of the rounds; p50 and p99 of ours, median of the rounds")
    missed = 0
    for cell in results.rounds:
        ratios, ours = results.ratios(cell), [pair[1] for pair in results.rounds[cell]]
        target = TARGETS.get(cell) if stock else None
        middle: Callable[[Sequence[float]], float] = statistics.median
        short = target is not None and min(ratios) < target
        told = "" if target is None else f"  target {target:g}x {'MISSED' if short else 'met'}"
        missed += short
        if cell in results.latency:
            told += f"  {results.latency[cell]}"
            missed += not results.latency[cell].kept
        print(
            f"{_named(cell)}  {min(ratios):6.1f}x ({' '.join(f'{ratio:.0f}' for ratio in ratios)})"
            f"  {middle([found.cpu_ms for found in ours]) * 1e3:8.1f} us"
            f"  {middle([found.per_s for found in ours]):8.0f}/s"
            f"  p50 {middle([found.p50_ms for found in ours]):7.2f} ms"
            f"  p99 {middle([found.p99_ms for found in ours]):7.2f} ms{told}"
        )
    if not stock:
        print("no ratio to the stock server was measured: name a kserve v0.20.0 tree by STOCK=")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
