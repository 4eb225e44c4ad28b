"""A small model with a reference, and requests to it as they lie in the log."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from kubeloop.learning.inputs import InputColumn
from kubeloop.monitoring.detectors.answers import Answered
from kubeloop.monitoring.log.models import LoggedColumn, LoggedModel
from kubeloop.monitoring.log.reading import micros
from kubeloop.monitoring.log.records import Speaker
from kubeloop.monitoring.log.writer import LogWriter, open_log
from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.reference.profile import Profile
from tests.monitoring.detectors.measure import words
from tests.monitoring.detectors.worlds import schema_of

ROWS = 100
CLASSES = ("no", "yes")
MODEL = LoggedModel(
    version="7",
    task="binary",
    columns=(
        LoggedColumn(name="x", kind="number"),
        LoggedColumn(name="y", kind="number"),
        LoggedColumn(name="letter", kind="category"),
    ),
    classes=CLASSES,
    positive="yes",
)


def rows(rng: np.random.Generator, size: int, shift: float = 0.0) -> pd.DataFrame:
    """Inputs; `y` is shifted by so many standard deviations."""
    table = pd.DataFrame(rng.normal(size=(size, 2)), columns=["x", "y"])
    table["y"] += shift
    table["letter"] = rng.choice(np.array(["a", "b", "c"], dtype=object), size, p=[0.6, 0.3, 0.1])
    return table


def answered(table: pd.DataFrame) -> Answered:
    """The model: it looks at `x` alone."""
    sure = 1 / (1 + np.exp(-2 * table["x"].to_numpy()))
    return Answered(np.where(sure > 0.5, "yes", "no").astype(object), np.column_stack([1 - sure, sure]))


def truths(rng: np.random.Generator, said: Answered, turned: bool = False) -> np.ndarray:
    """What came true: as often as the model says; turned: the other way round."""
    assert said.probabilities is not None
    yes = rng.random(len(said.predictions)) < said.probabilities[:, 1]
    return np.where(yes != turned, "yes", "no").astype(object)


@cache
def _profile() -> Profile:
    rng = np.random.default_rng(0)
    table = rows(rng, 2000)
    schema: tuple[InputColumn, ...] = tuple(schema_of(table, ("x", "y", "letter")))
    training = Training(table, answered(table), truths(rng, answered(table)))
    return fit_profile(
        Model("heart", "binary", CLASSES, "yes", schema),
        training,
        words(ROWS, window={"rows": ROWS, "minimum_rows": 50}),
        0,
    )


def profile(time: str | None = None, asked: int = ROWS) -> Profile:
    """The reference of windows of `ROWS` rows, or of so long, each signal told by a single window at once.

    `asked`: the rows of a window that the contract asks for.
    """
    window = {"rows": asked, "minimum_rows": 50, "time": time}
    return replace(_profile(), detectors=words(ROWS, window=window, confirm={"windows": 1, "of": 1}))


class Writer:
    """Writes requests of one row into a log, a second apart."""

    def __init__(self, root: Path, start: dt.datetime, model: LoggedModel = MODEL, step_s: float = 1.0) -> None:
        self._log: LogWriter = open_log(root, Speaker("default", "heart", "predictor", model), "bounded")
        self._start, self._step = micros(start), round(step_s * 1e6)
        self.number = 0

    def write(self, table: pd.DataFrame) -> list[str]:
        """Log the rows with the model's answers; their event ids."""
        said = answered(table)
        assert said.probabilities is not None
        cells = table.astype(object).to_numpy().tolist()
        return self.write_rows(cells, said.predictions.tolist(), said.probabilities.tolist())

    def write_rows(self, cells: Iterable[list], predictions: list, probabilities: list) -> list[str]:
        """Log rows of cells with their answers."""
        names = []
        for row, label, shares in zip(cells, predictions, probabilities, strict=True):
            names.append(f"event-{self.number:06}")
            self._log.append(names[-1], self._start + self.number * self._step, [row], [label], [shares])
            self.number += 1
        return names

    def close(self) -> None:
        self._log.close()
