"""A laptop with three registered versions, and an endpoint that is a file."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubeloop.errors import PermanentError
from kubeloop.ledger import append, entries, verify
from kubeloop.registry.champions import champion
from kubeloop.registry.versions import register
from kubeloop.rollout.desired import desired
from kubeloop.site.model import Site

_SPEC = importlib.util.spec_from_file_location(
    "kubeloop_test_registry", Path(__file__).parents[1] / "registry" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_REGISTRY = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_REGISTRY)

models, now, packages = _REGISTRY.models, _REGISTRY.now, _REGISTRY.packages
site, engine, no_mirror = _REGISTRY.site, _REGISTRY.engine, _REGISTRY.no_mirror


@dataclass
class Endpoint:
    """Serves what `apply` was last given; `broken` digests never get ready."""

    file: Path
    broken: set[str] = field(default_factory=set)

    def apply(self, folder: Path) -> dict[str, Any]:
        self.file.write_text(folder.name)
        if folder.name in self.broken:
            raise PermanentError(f"{folder.name[7:19]} did not get ready", "see its log")
        return {"golden": 12, "max_difference": 0.0}

    @property
    def serves(self) -> str | None:
        return self.file.read_text() if self.file.exists() else None


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    return Endpoint(tmp_path / "endpoint")


@pytest.fixture
def digests(engine: Any, site: Site, packages: list[Path], now: Any, no_mirror: None) -> list[str]:
    """Three versions, registered while there was no champion."""
    return [register(engine, site, package, "run", now).digest for package in packages]


@pytest.fixture
def judge(engine: Any, now: Any) -> Callable[[str, str | None], None]:
    """Judge a version again, against another champion."""

    def again(digest: str, against: str | None) -> None:
        judged = {"baseline": "champion" if against else "none_yet", "champion": against}
        body = {"name": "heart", "version": 0, "digest": digest, "run": "again", "judged_against": judged}
        append(engine, "default", "registration", body, now)

    return again


@pytest.fixture
def whole(engine: Any, endpoint: Endpoint) -> Callable[[str | None], None]:
    """Assert that champion row, desired record and endpoint say the same, and that the ledger is whole and closed."""

    def check(digest: str | None) -> None:
        row, told = champion(engine, "default", "heart"), desired(engine, "default", "heart")
        assert (row.digest if row else None) == digest
        assert (told.digest if told else None) == digest
        assert (told.revision if told else 0) == (row.revision if row else 0)
        if row is not None:
            assert endpoint.serves == digest
        verify(engine, "default")
        opened = [entry.seq for entry in entries(engine, "default") if entry.kind == "promotion.intent"]
        ended = [entry.body["intent"] for entry in entries(engine, "default") if "intent" in entry.body]
        assert sorted(opened) == sorted(seq for seq in ended if seq in opened)
        assert len(ended) == len(set(ended))

    return check
