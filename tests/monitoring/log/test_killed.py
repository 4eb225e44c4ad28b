"""Whatever is killed, whenever: what was acknowledged is stored, each once. Of many kills see the benchmarks."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.site import Site, laptop
from kubeloop.store import open_engine
from tests.monitoring.log.crowd import Crowd, hold
from tests.monitoring.log.servers import Postgres
from tests.monitoring.log.sinks import SinkProcess


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


@pytest.mark.slow
def test_kill_the_sink(tmp_path: Path, model: LoggedModel) -> None:
    kill_sink(tmp_path, model, kills=5)


@pytest.mark.slow
def test_kill_the_database(tmp_path: Path, model: LoggedModel, postgres: Postgres) -> None:
    kill_database(tmp_path, model, postgres, kills=2)


def kill_sink(folder: Path, model: LoggedModel, kills: int) -> int:
    """Kill the sink under load; how many events were acknowledged."""
    sink = SinkProcess(folder, [model]).start().ready()
    chance = random.Random(kills)
    try:
        with Crowd(sink.port, 4) as crowd:
            for _ in range(kills):
                crowd.wait_for(chance.randint(1, 400))
                sink.kill()
                sink.start()
            crowd.wait_for(50)
        assert sink.stop() == 0
    finally:
        sink.close()
    site = laptop(folder / "home")
    _moved(site, sink, crowd)
    return len(crowd.acknowledged)


def kill_database(folder: Path, model: LoggedModel, postgres: Postgres, kills: int) -> int:
    """Kill every process of the database under load; how many events were acknowledged."""
    site = laptop(folder / "home").model_copy(update={"sql": postgres.url})
    (folder / "site").mkdir()
    (folder / "site" / "site.yaml").write_text(yaml.safe_dump(_words(site)))
    open_engine(site).dispose()
    sink = SinkProcess(folder, [model], site_dir=folder / "site").start().ready()
    try:
        with Crowd(sink.port, 3) as crowd:
            for _ in range(kills):
                crowd.wait_for(300)
                postgres.kill()
                crowd.wait_for(300)  # the sink takes events while the database is away
                postgres.start()
        assert sink.stop() == 0
    finally:
        sink.close()
    _moved(site, sink, crowd)
    assert crowd.statuses.keys() == {202}, "the sink was never disturbed"
    return len(crowd.acknowledged)


def _words(site: Site) -> dict[str, Any]:
    return {"home": str(site.home), "store": site.store, "sql": site.sql, "tracking": site.tracking}


def _moved(site: Site, sink: SinkProcess, crowd: Crowd) -> None:
    import datetime as dt

    from kubeloop.monitoring.log.moving import move_all

    engine = open_engine(site)
    try:
        move_all(engine, sink.root, dt.datetime.now(dt.UTC))
        hold(engine, crowd, sink.root)
    finally:
        engine.dispose()
