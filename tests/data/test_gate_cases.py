"""Every check of the data gate against tables that tell nothing: none of them may let one pass."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kubeloop.contract.features import Features
from kubeloop.contract.sections import ValidateSection
from kubeloop.data.history import LastSnapshot
from kubeloop.data.tables import write_table
from kubeloop.data.validation import validate
from kubeloop.decisions import Decision

from .conftest import World
from .test_table_checks import KNOWN, NOW

COLUMNS: dict[str, dict[str, Any]] = {"x": {"type": "number"}, "t": {"type": "timestamp"}, "y": {"type": "integer"}}
ASKED: dict[str, dict[str, Any]] = {
    "row rules": {"x": {"minimum": 0, "maximum": 99, "nullable": False, "unique": True}},
    "null rate": {"x": {"null_at_most": 0.1}},
    "rule over columns": {"rules": [{"name": "r", "expression": "x >= y"}]},
    "row count": {"checks": {"rows": {"at_least": 2}}},
    "freshness": {"checks": {"fresh_within": "7d"}},
    "class share": {"checks": {"class_share_at_least": 0.1}},
    "group share": {"checks": {"group_share_at_least": {"column": "x", "share": 0.1}}},
    "change": {"checks": {"change": {"rows_at_most": 9, "null_rate_at_most": 1, "mean_at_most": 99}}},
    "leaks": {},
}
"""What is asked of the table, by what asks it."""

NAN = float("nan")
NOTHING: dict[str, tuple[list[float | None], list[int | None]]] = {
    "empty": ([], []),
    "one row": ([1.0], [1]),
    "NaN": ([NAN] * 20, [0, 1] * 10),
    "only nulls": ([None] * 20, [0, 1] * 10),
    "one class": ([float(place) for place in range(20)], [1] * 20),
    "no target": ([float(place) for place in range(20)], [None] * 20),
}


def judged(world: World, asked: str, cells: list[float | None], answers: list[int | None], last: Any) -> Decision:
    """What the gate says of a table of x and y, all rows of the moment of the run."""
    roles = dict(ASKED[asked])
    columns = COLUMNS | {"x": COLUMNS["x"] | roles.pop("x", {})}
    rows = {
        "x": pa.array(cells, pa.float64(), from_pandas=False),
        "t": pa.array([NOW] * len(cells), pa.timestamp("us", "UTC")),
        "y": pa.array(answers, pa.int64()),
    }
    write_table(pa.table(rows), world.out / "table", {name: each["type"] for name, each in columns.items()})
    section = ValidateSection(
        name="demo",
        data=world.data(columns, time="t", **roles),
        target=world.target("y", "binary"),
        features=Features(use=("x",)),
        quarantine_at_most=1.0,  # so that whatever breaks a rule blocks by what is left alone
    )
    places: tuple[Path, ...] = (world.out / "valid", world.out / "quarantine")
    decision, _ = validate(section, world.out / "table", places[0], places[1], NOW, last)
    return decision


@pytest.mark.parametrize("asked", ASKED)
def test_a_table_that_keeps_all_passes(world: World, asked: str) -> None:
    cells: list[float | None] = [float(place % 2 + 3 * place) for place in range(20)]
    if asked == "group share":
        cells = [float(place // 2 % 2) for place in range(20)]
    answers: list[int | None] = [int(place % 3 == 0) for place in range(20)]
    decision = judged(world, asked, cells, answers, KNOWN)
    assert decision.verdict == "pass", decision.reasons


@pytest.mark.parametrize("found", NOTHING)
@pytest.mark.parametrize("asked", ASKED)
def test_a_table_that_tells_nothing_never_passes(world: World, asked: str, found: str) -> None:
    decision = judged(world, asked, *NOTHING[found], KNOWN)
    assert decision.verdict in ("fail", "inconclusive")
    assert decision.reasons


@pytest.mark.parametrize("last", [None, LastSnapshot("unavailable", detail="ConnectionError")])
def test_a_baseline_that_is_asked_for_and_not_there_blocks(world: World, last: LastSnapshot | None) -> None:
    answers: list[int | None] = [int(place % 3 == 0) for place in range(20)]
    decision = judged(world, "change", [float(place) for place in range(20)], answers, last)
    assert decision.verdict == "inconclusive"


def test_a_baseline_of_other_columns_blocks(world: World) -> None:
    other = {"rows": 20, "columns": {"z": {"null_rate": 0.0, "mean": 1.0, "deviation": 1.0}}}
    answers: list[int | None] = [int(place % 3 == 0) for place in range(20)]
    cells: list[float | None] = [float(place) for place in range(20)]
    decision = judged(world, "change", cells, answers, LastSnapshot("known", "sha256-00", other))
    assert decision.verdict == "inconclusive"
    assert "none of the last snapshot's columns is here" in decision.reasons[0]
