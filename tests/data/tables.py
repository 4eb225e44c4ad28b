"""Tables with columns that are planted to be found, among columns that are not to be touched."""

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

TASKS = ("binary", "multiclass", "regression")
FORMATS = ("%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d", "%Y%m%d", "%d-%b-%Y")
WORDS = ("n/a", "unknown", "-", "not measured")


@dataclass
class Planted:
    """A table in a file: which columns were planted, by kind, and which are clean."""

    path: Path
    target: str
    task: str
    planted: dict[str, str]
    clean: list[str]


def make(number: int, folder: Path) -> Planted:
    """Table `number`: size, task and the shape of each plant differ from table to table."""
    rng = np.random.default_rng(1000 + number)
    rows = int(rng.integers(300, 1500))
    task = TASKS[number % 3]
    clean = _clean(rng, rows)
    score = _standard(clean["age"]) - 0.8 * _standard(clean["income"]) + 0.7 * _standard(clean["height"])
    noisy = score + rng.normal(0, 1.0, rows)
    if task == "regression":
        answer: Any = np.round(50 + 10 * noisy, 2)
    else:
        edges = [0.6] if task == "binary" else [-0.7, 0.7]
        answer = np.digitize(noisy, edges)
    columns = {**clean, **_plants(rng, rows, number, answer, task)}
    names = [str(name) for name in rng.permutation(list(columns))]
    table = {**{name: columns[name] for name in names}, "outcome": answer}
    path = folder / f"table-{number}.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(table)
        writer.writerows(zip(*[[_cell(value) for value in column] for column in table.values()], strict=True))
    planted = {name: name.removeprefix("p_") for name in columns if name.startswith("p_")}
    return Planted(path, "outcome", task, planted, list(clean))


def _clean(rng: Any, rows: int) -> dict[str, Any]:
    """Columns as tables have them: skewed, coded, sparse, strong; none of them is to be touched."""
    visits = rng.poisson(3, rows)
    sparse = [
        None if miss else value for miss, value in zip(rng.random(rows) < 0.08, rng.normal(0, 1, rows), strict=True)
    ]
    return {
        "age": rng.integers(18, 91, rows),
        "income": np.round(rng.lognormal(10.5, 0.5, rows)).astype(int),
        "height": np.round(rng.normal(172, 9, rows), 1),
        "visits": visits,
        "spend": np.round(rng.lognormal(3, 1, rows) * (1 + visits), 2),
        "region": rng.choice(["north", "south", "east", "west"], rows, p=[0.5, 0.3, 0.15, 0.05]),
        "grade": rng.choice(["1", "2", "3", "none"], rows),
        "member": rng.choice(["true", "false"], rows),
        "code": rng.choice(["007", "010", "123", "A12"], rows),
        "ratio": rng.beta(2, 5, rows),
        "lab": sparse,
        "population": rng.integers(5_000, 9_000_000, rows),
    }


def _plants(rng: Any, rows: int, number: int, answer: Any, task: str) -> dict[str, Any]:
    days = [date(2020, 1, 1) + timedelta(days=int(day)) for day in rng.integers(0, 900, rows)]
    miss = rng.random(rows) < 0.4
    words = rng.random(rows) < 0.1
    numbers = np.round(rng.normal(100, 20, rows), 1)
    return {
        "p_id": _ids(rng, rows, number),
        "p_constant": [("x", 7, "2.5")[number % 3]] * rows,
        "p_leak": _leak(rng, rows, number, answer, task),
        "p_mixed": [WORDS[number % 4] if word else value for word, value in zip(words, numbers, strict=True)],
        "p_date": [day.strftime(FORMATS[number % 5]) for day in days],
        "p_null": [
            None if gone else value for gone, value in zip(miss, np.round(rng.normal(0, 1, rows), 3), strict=True)
        ],
    }


def _ids(rng: Any, rows: int, number: int) -> list[Any]:
    kinds = (
        lambda: [
            f"{a:08x}-{b:04x}" for a, b in zip(rng.permutation(10**6)[:rows], rng.integers(0, 65536, rows), strict=True)
        ],
        lambda: list(rng.permutation(rows) + 1),
        lambda: list(rng.choice(np.arange(100_000, 1_000_000), rows, replace=False)),
        lambda: [f"C{value}" for value in rng.permutation(90_000)[:rows] + 10_000],
        lambda: list(rng.choice(20 * rows, rows, replace=False)),
    )
    return kinds[number % 5]()


def _leak(rng: Any, rows: int, number: int, answer: Any, task: str) -> list[Any]:
    """The answer in disguise: scaled with noise, as words, or as a number that was measured afterwards."""
    if task == "regression":
        return list(np.round(1.19 * answer + rng.normal(0, 0.3, rows), 2))
    wrong = rng.random(rows) < 0.005
    said = np.where(wrong, (answer + 1) % (int(np.max(answer)) + 1), answer)
    if number % 2:
        return [("closed", "open", "held")[int(value)] for value in said]
    return list(np.round(said * 10 + rng.uniform(0, 9, rows), 2))


def _standard(values: Any) -> Any:
    values = np.asarray(values, float)
    return (values - values.mean()) / values.std()


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
