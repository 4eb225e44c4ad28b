"""A year of flights through everything that runs: predictor, KServe's logger format, sink, store, detectors.

Trained on January to March of 2013; April to December are asked over HTTP, in windows of 800 rows: about a week of
every eighth flight. Then the first quarter's days are drawn again and again, and on 1 July the rule alone changes.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kubeloop.contract import Contract, sections_of
from kubeloop.data.tables import write_table
from kubeloop.learning.training import train
from kubeloop.monitoring.log.models import model_of
from kubeloop.monitoring.reference.fitting import fit_reference
from kubeloop.packaging.build import build
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.packaging.store import publish
from kubeloop.serving import process
from kubeloop.site import laptop
from tests.monitoring.detectors.worlds import CATEGORIES, FLIGHTS, flights
from tests.monitoring.log.sinks import RESPONSE, Client, SinkProcess
from tests.monitoring.watching.service import Service
from tests.packaging import models

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

ROWS = 800
NEW_YEAR = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
CHANGE = 182
"""The day of the year on which the rule changes: 1 July."""


def contract(name: str) -> Contract:
    kinds = {column: {"type": "category" if column in CATEGORIES else "number"} for column in FLIGHTS}
    return Contract.model_validate(
        {
            "kubeloop": 1,
            "name": name,
            "data": {
                "sources": [{"name": "main", "path": "x.parquet"}],
                "columns": {**kinds, "moment": {"type": "timestamp"}, "late": {"type": "category"}},
                "time": "moment",
            },
            "features": {"use": list(FLIGHTS)},
            "target": {"column": "late", "task": "binary", "positive": "late"},
            "estimator": {"kind": "logistic_regression"},
            "metrics": {"primary": "roc_auc"},
            "gate": {"blocks": "day"},
            "monitoring": {
                "detectors": {"window": {"rows": ROWS, "minimum_rows": 200}},
                "labels": {"maturity": "1d"},
            },
            "seed": 1,
        }
    )


def trained(folder: Path, name: str, rows: pd.DataFrame) -> Package:
    """A package of a model of these rows."""
    agreed = contract(name)
    moments = [NEW_YEAR + dt.timedelta(days=int(day) - 1, hours=12) for day in rows["day"]]
    table = rows.drop(columns="day").assign(moment=moments, _fold=rows["day"].to_numpy() % 5)
    facts = write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "development")
    (folder / "model").mkdir()
    train(sections_of(agreed).train, {}, folder / "development", folder / "model")
    fit_reference(sections_of(agreed).monitor, folder / "model", folder / "development", folder / "reference")
    evaluation = models.evaluation() | {
        "metrics": {"roc_auc": {"value": 0.7, "low": 0.6, "high": 0.8, "method": "delong", "n": 1000}}
    }
    build(folder / "model", agreed, evaluation, facts.digest, folder / "package", folder / "reference")
    return read_package(folder / "package")


@contextmanager
def running(folder: Path, package: Package) -> Iterator[tuple[httpx.Client, Client, Service]]:
    """Predictor, sink and detectors as processes."""
    home, name = folder / "home", package.name
    publish(laptop(home), package.folder)
    sink = SinkProcess(folder, [model_of(package.manifest, package.digest)], service=name).start().ready()
    service = Service(home, name, "--settle", "3").start()
    predictor = process.start(package.folder, name, folder / "predictor.log", home)
    try:
        process.wait_ready(predictor)
        with httpx.Client(base_url=predictor.url, timeout=60) as client, Client(sink.port) as events:
            yield client, events, service
    finally:
        process.stop(predictor)
        service.close()
        sink.close()


Truth = Callable[[int, pd.DataFrame], Sequence[str]]


def asked(client: httpx.Client, events: Client, package: Package, days: dict[int, pd.DataFrame], truth: Truth) -> None:
    """Ask for each day in four requests, and post the events as KServe's agent does; labels are there before."""
    version = json.dumps({"model-version": package.digest})
    for day, rows in days.items():
        for part, some in enumerate(np.array_split(np.arange(len(rows)), 4)):
            if not len(some):
                continue
            quarter, event_id = rows.iloc[some], f"day {day:03} part {part}"
            cells = quarter[list(FLIGHTS)].astype(object).where(quarter[list(FLIGHTS)].notna(), None)
            body = json.dumps({"instances": cells.to_numpy().tolist()}).encode()
            answer = client.post(f"/v1/models/{package.name}:predict", content=body)
            assert answer.status_code == 200, answer.text
            at = (NEW_YEAR + dt.timedelta(days=day - 1, hours=6 * part)).isoformat()
            values = enumerate(truth(day, quarter))
            labels = [{"event_id": event_id, "row": row, "value": value} for row, value in values]
            posted = {"service": package.name, "labels": labels}
            assert events.post("/labels", json.dumps(posted).encode(), {})[0] == 202
            words = {"Ce_Inferenceservicename": package.name, "Ce_Annotations": version, "Ce_Time": at}
            assert events.event(body, event_id, **words) == (202, "")
            assert events.event(answer.content, event_id, RESPONSE, **words) == (202, "")


def story(service: Service, days: dict[int, pd.DataFrame]) -> dict[str, list[dict[str, Any]]]:
    """All windows, once all rows are in one but for those of the last that is not full."""
    rows = sum(map(len, days.values()))

    def done() -> bool:
        found = {one["stream"]: one["number"] for one in service.windows()}
        return {"inputs", "labels"} <= found.keys() and min(found.values()) >= rows // (ROWS + 40)

    service.until(done)
    from kubeloop.monitoring.watching.results import last_windows
    from kubeloop.store import open_engine

    engine = open_engine(laptop(service.home))
    kept = last_windows(engine, "default", 1000)
    engine.dispose()
    found: dict[str, list[dict[str, Any]]] = {"inputs": [], "labels": []}
    for one in reversed(kept):
        found[one["stream"]].append(one)
    return found


def first_told(windows: Sequence[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    """By signal: the last day of the window that confirmed it first, and how many had it."""
    found: dict[str, tuple[str, int]] = {}
    for one in windows:
        for name in one["present"]:
            when, count = found.get(name, (one["to"][:10], 0))
            found[name] = (when, count + 1)
    return found


def by_day(table: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(str(day)): rows for day, rows in table.groupby("day")}


def test_flights_of_january_to_march_then_the_year_through_the_service(tmp_path: Path) -> None:
    table = flights().iloc[::8].reset_index(drop=True)
    package = trained(tmp_path, "flights", table[table["day"] <= 90])
    days = by_day(table[table["day"] > 90])
    with running(tmp_path, package) as (client, events, service):
        asked(client, events, package, days, lambda _, rows: rows["late"].tolist())
        found = story(service, days)
        warm = next(one for one in found["inputs"] if "drift:temp" in one["present"])
        page = service.get(f"/windows/{warm['id']}")[1]
    told = first_told(found["inputs"])
    alarms = sum(one["alarm"] for one in found["inputs"])
    print(f"\n{len(found['inputs'])} windows of {ROWS} rows, {alarms} told something")
    for name, (when, count) in sorted(told.items(), key=lambda item: item[1]):
        print(f"{name:28} confirmed first by the window up to {when}, in {count} windows")
    print(f"by losses: {first_told(found['labels'])}")
    assert sum(one["late"] for one in found["inputs"]) == 0
    assert {"drift:temp", "outside:temp", "drift:dewp"} & told.keys()
    assert "drift:hour" not in told
    assert "<b>temp</b> (told)" in page


def test_a_rule_that_changes_on_the_first_of_july_is_told_by_losses_through_the_service(tmp_path: Path) -> None:
    table, rng = flights().iloc[::8].reset_index(drop=True), np.random.default_rng(0)

    def truth(day: int, rows: pd.DataFrame) -> list[str]:
        chance = 1 / (1 + np.exp(-(rows["hour"].to_numpy() - 15) / 3))
        turned = 1 - chance if day >= CHANGE else chance
        return list(np.where(rng.random(len(rows)) < turned, "late", "in time"))

    spring = table[table["day"] <= 90].copy()
    spring["late"] = truth(1, spring)
    package = trained(tmp_path, "planted", spring)
    quarter = by_day(spring)
    order = rng.permutation(sorted(quarter))  # no day comes twice within a window: that would be told as duplicates
    days = {day: quarter[int(order[day % len(order)])] for day in range(91, 366)}
    with running(tmp_path, package) as (client, events, service):
        asked(client, events, package, days, truth)
        found = story(service, days)
    change = (NEW_YEAR + dt.timedelta(days=CHANGE - 1)).isoformat()
    after = [one for one in found["labels"] if one["to"] >= change]
    delay = next(place for place, one in enumerate(after, start=1) if one["present"])
    calm = sum(bool(one["fresh"]) for one in found["inputs"])
    early = sum(bool(one["present"]) for one in found["labels"] if one["to"] < change)
    print(f"\nlosses confirmed by window {delay} that holds rows after the change; {early} confirmed before it")
    print(f"inputs confirmed anew {calm} times in {len(found['inputs'])} windows")
    assert delay <= 3
    assert early == 0
    assert calm <= 3
