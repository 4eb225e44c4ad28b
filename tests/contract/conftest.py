"""Contracts to spoil."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kubeloop.contract.load import read_contract
from kubeloop.contract.model import Contract

BASE = """\
kubeloop: 1
name: small
business:
  problem: why
  outcome: what
  owner: someone
  slas: [{name: prompt, promise: fast}]
  kpis: [{name: hits, expression: accuracy * 2, sla: prompt, owner: someone}]
data:
  sources:
    - {name: main, path: rows.csv}
  id: [key]
  columns:
    key: {type: text}
    when: {type: timestamp}
    age: {type: integer, minimum: 0, maximum: 120}
    town: {type: category, values: [a, b]}
    later: {type: number, known_at: after}
    hidden: {type: number, policy: deny}
    sick: {type: integer, values: [0, 1]}
target:
  column: sick
  task: binary
  positive: 1
features: {use: [age, town]}
estimator: {kind: logistic_regression}
metrics:
  primary: roc_auc
  also: [accuracy]
  thresholds: {roc_auc: {at_least: 0.7}}
slices: [{name: old, where: age > 60}]
"""


@pytest.fixture
def base() -> str:
    return BASE


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def put(content: str | bytes) -> Path:
        path = tmp_path / "loop.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


@pytest.fixture
def read(write: Callable[[str | bytes], Path]) -> Callable[[str], Contract]:
    return lambda text: read_contract(write(text))
