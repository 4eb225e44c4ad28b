"""Real packages for the serving tests, made by the rooms that make them."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.contract import Contract, sections_of
from kubeloop.data.tables import write_table
from kubeloop.decisions import Check, decide
from kubeloop.learning.training import train
from kubeloop.packaging.build import build
from kubeloop.packaging.read import read_package
from kubeloop.scoring.prepare import prepare
from kubeloop.scoring.scorer import load_scorer
from kubeloop.serving import process
from kubeloop.site import Site, laptop

NAME = "toy"
ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
COLUMNS = list(ROW)


def contract(seed: int = 1, task: str = "binary", **more: Any) -> Contract:
    """A contract for `table`."""
    kinds = {"age": "number", "dose": "number", "ward": "category", "smoker": "boolean"}
    columns: dict[str, Any] = {"key": {"type": "integer"}, **{name: {"type": kind} for name, kind in kinds.items()}}
    regression = task == "regression"
    columns["ill"] = {"type": "number" if regression else "category"}
    target = {"column": "ill", "task": task} | ({} if regression else {"positive": "yes"})
    return Contract.model_validate(
        {
            "kubeloop": 1,
            "name": NAME,
            "data": {"sources": [{"name": "main", "path": "x.csv"}], "id": ["key"], "columns": columns},
            "target": target,
            "estimator": {"kind": "ridge" if regression else "logistic_regression"},
            "metrics": {"primary": "rmse" if regression else "roc_auc"},
            "seed": seed,
        }
        | more
    )


def table(seed: int, regression: bool = False) -> pa.Table:
    """Development rows that follow another rule with another seed."""
    rng = np.random.default_rng(seed)
    n = 120
    age, dose = rng.uniform(20, 90, n).round(1), rng.normal(size=n)
    dose[::17] = np.nan
    score = (age - 55) / (5 + seed) - np.nan_to_num(dose)
    ward = rng.choice(["north", "south", "1"], n).astype(object)
    frame = pd.DataFrame({"key": np.arange(n), "age": age, "dose": dose, "ward": ward, "smoker": rng.random(n) < 0.3})
    frame["ill"] = score if regression else np.where(rng.random(n) < 1 / (1 + np.exp(-score)), "yes", "no")
    return pa.Table.from_pandas(frame.assign(_fold=np.arange(n) % 5), preserve_index=False)


def make_package(folder: Path, seed: int, task: str = "binary", **more: Any) -> Path:
    """A package of a model that was trained on `table(seed)`."""
    agreed = contract(seed, task, **more)
    data = folder / f"data-{seed}"
    facts = write_table(table(seed, task == "regression"), data)
    train(sections_of(agreed).train, {}, data, folder / f"model-{seed}")
    prepare(folder / f"model-{seed}", data)
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9, "method": "delong", "n": 30}
    decision = decide("model", [Check(name="threshold", verdict="pass", reason="good enough")])
    evaluation = {"metrics": {agreed.metrics.primary: estimate}, "decision": decision}
    out = folder / f"package-{seed}"
    build(folder / f"model-{seed}", agreed, evaluation, facts.digest, out)
    return out


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two packages of one name that answer differently."""
    folder = tmp_path_factory.mktemp("packages")
    return make_package(folder, 1), make_package(folder, 2)


@pytest.fixture
def make() -> Any:
    """`make_package`."""
    return make_package


@pytest.fixture
def site(tmp_path: Path, mirror: Path) -> Site:
    (tmp_path / "home").mkdir()
    shutil.copy(mirror, tmp_path / "home" / "mlflow.db")
    return laptop(tmp_path / "home")


@dataclass(frozen=True)
class Endpoint:
    """A running predictor and a client for it."""

    running: process.Predictor
    client: httpx.Client
    package: Any

    def v1(self, body: Any, **headers: str) -> httpx.Response:
        return self._post(f"/v1/models/{NAME}:predict", body, headers)

    def v2(self, body: Any, **headers: str) -> httpx.Response:
        return self._post(f"/v2/models/{NAME}/infer", body, headers)

    def _post(self, path: str, body: Any, headers: dict[str, str]) -> httpx.Response:
        named = {"content-type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(path, content=content, headers=named)


@pytest.fixture(scope="session")
def endpoint(packages: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One real server for all tests that only ask."""
    folder = tmp_path_factory.mktemp("endpoint")
    running = process.start(packages[0], NAME, folder / "log", folder)
    try:
        process.wait_ready(running)
        with httpx.Client(base_url=running.url, timeout=180) as client:
            yield Endpoint(running, client, read_package(packages[0]))
    finally:
        process.stop(running)


class Plain:
    """A scorer of plain cells, which scikit-learn answers: what a compiled plan would take and no more."""

    def __init__(self, package: Any) -> None:
        self._package = package
        self.asked = 0

    def score_rows(self, rows: Any) -> list[list[float]]:
        from kubeloop.scoring.errors import Unscorable

        kinds = {"number": (int, float), "boolean": (bool,), "category": (str,), "timestamp": (int, float)}
        for row in rows:
            for value, column in zip(row, self._package.schema, strict=True):
                if value is not None and type(value) not in kinds[column["kind"]]:
                    raise Unscorable
        self.asked += len(rows)
        found: list[list[float]] = self._package.predict(list(rows)).probabilities.tolist()
        return found


@dataclass(frozen=True)
class Fast:
    """A server of this process with a scorer, and what its connections share; `limit` holds for new ones.

    `written` is what its request log has written.
    """

    port: int
    scorer: Any
    front: Any
    tally: Any
    loop: Any
    limit: dict[str, float]
    written: Any

    def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        named = {"content-type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
        return httpx.post(f"http://127.0.0.1:{self.port}{path}", content=body, headers=named, timeout=180)


@pytest.fixture(scope="session")
def fast(packages: tuple[Path, Path]) -> Iterator[Fast]:
    """The fast path with scikit-learn behind it."""
    with _fast(packages[0], Plain) as served:
        yield served


@pytest.fixture(scope="session")
def compiled(packages: tuple[Path, Path]) -> Iterator[Fast]:
    """The fast path with the package's plan."""
    with _fast(packages[0], load_scorer) as served:
        if served.scorer.evaluator != "native":
            pytest.skip("no compiler made the evaluator")
        yield served


@contextmanager
def _fast(package: Path, scorer_of: Callable[[Any], Any]) -> Iterator[Fast]:
    """The fast path, the door behind it, and behind that an application that knows nothing."""
    import asyncio
    import threading

    import uvicorn

    from kubeloop.serving.door import Door
    from kubeloop.serving.front import request_ids
    from kubeloop.serving.model import PackageModel
    from kubeloop.serving.protocol import FastProtocol
    from kubeloop.serving.request_log import RequestLog
    from kubeloop.serving.server import front_of
    from kubeloop.serving.tally import Tally

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    model = PackageModel(NAME, package, None)
    model.open()
    model.scorer = scorer = scorer_of(model.package)
    model.ready = True
    tally = Tally(NAME)
    tally.columns = model.codec.rules.names
    written = io.BytesIO()
    log = RequestLog(NAME, "all", written.write)
    log.set("all", model.version)
    fronts: list[Any] = []
    limit = {"seconds": 180.0}

    def protocol(*given: Any, **named: Any) -> FastProtocol:
        return FastProtocol(*given, **named, front=lambda: fronts[0] if fronts else None, time_limit_s=limit["seconds"])

    loop = asyncio.new_event_loop()
    config = uvicorn.Config(
        Door(nothing, model, tally, log, request_ids()),
        port=0,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=180,
        http=protocol,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),))
    fronts.append(front_of(model, tally, log, loop))
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Fast(port, scorer, fronts[0], tally, loop, limit, written)
    finally:
        server.should_exit = True
        thread.join(20)
        loop.close()
        log.close()
        model.pool.shutdown()
