"""Either database, and the log of a small model."""

import datetime as dt
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.site import Site
from kubeloop.store import open_engine

_spec = importlib.util.spec_from_file_location(
    "kubeloop_test_store", Path(__file__).parents[1] / "store" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_store = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_store)
postgres_url = _store.postgres_url
site = _store.site

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def now() -> dt.datetime:
    return NOW


@pytest.fixture
def engine(site: Site) -> Iterator[sa.Engine]:
    """An engine on SQLite and on PostgreSQL: one test body for both."""
    made = open_engine(site)
    yield made
    made.dispose()


@pytest.fixture
def model() -> LoggedModel:
    return LoggedModel(
        version="7",
        task="binary",
        columns=(LoggedColumn(name="age", kind="number"), LoggedColumn(name="sex", kind="category")),
        classes=(False, True),
        positive=True,
    )


@pytest.fixture
def altered() -> Callable[..., LoggedModel]:
    """The model with other words."""

    def make(model: LoggedModel, **words: Any) -> LoggedModel:
        return model.model_copy(update=words)

    return make
