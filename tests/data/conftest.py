"""A small world for the data room: files, a Site, sections of a contract."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubeloop.contract.data import Column, Data, Join, Source
from kubeloop.contract.sections import IngestSection, SplitSection, ValidateSection
from kubeloop.contract.splitting import Split
from kubeloop.contract.target import Target
from kubeloop.data.ingest import ingest
from kubeloop.data.splitting import split
from kubeloop.data.validation import validate
from kubeloop.site.model import laptop


@dataclass
class World:
    """Files in `inputs`, results in `out`."""

    inputs: Path
    out: Path

    def file(self, content: str | bytes, name: str = "t.csv") -> str:
        data = content.encode("utf-8") if isinstance(content, str) else content
        (self.inputs / name).write_bytes(data)
        return name

    def data(
        self, columns: dict[str, Any], paths: tuple[str, ...] = ("t.csv",), joins: tuple = (), **roles: Any
    ) -> Data:
        typed = {name: Column(**({"type": c} if isinstance(c, str) else c)) for name, c in columns.items()}
        sources = tuple(Source(name=f"s{place}", path=path) for place, path in enumerate(paths))
        return Data(sources=sources, columns=typed, joins=tuple(Join(**join) for join in joins), **roles)

    def ingest(self, data: Data, target: str | dict = "y", task: str = "binary", out: str = "table") -> dict:
        section = IngestSection(name="demo", data=data, target=self.target(target, task))
        return ingest(section, laptop(self.out / "home", self.inputs), self.out / out)

    def validate(self, data: Data, target: str | dict = "y", task: str = "binary", at_most: float = 0.05) -> tuple:
        section = ValidateSection(name="demo", data=data, target=self.target(target, task), quarantine_at_most=at_most)
        return validate(section, self.out / "table", self.out / "valid", self.out / "quarantine")

    def split(self, ids: tuple = (), table: str = "table", seed: int = 0, target: str | dict = "y", **how: Any) -> dict:
        section = SplitSection(name="demo", id=ids, target=self.target(target, "binary"), split=Split(**how), seed=seed)
        return split(section, self.out / table, self.out / "development", self.out / "test")

    @staticmethod
    def target(target: str | dict, task: str) -> Target:
        return Target(task=task, **({"column": target} if isinstance(target, str) else target))


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "inputs").mkdir()
    return World(tmp_path / "inputs", tmp_path / "out")
