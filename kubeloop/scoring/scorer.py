"""The scorer of a package: rows as they come in, answers as they go out, by the plan alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn, cells
from kubeloop.scoring.check import check_plan
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.operations import run
from kubeloop.scoring.plan import Floats, Plan, read_plan

__all__ = ["Scorer", "Unscorable", "load_scorer"]


class HasPlan(Protocol):
    """What `load_scorer` needs of a package."""

    @property
    def schema(self) -> list[InputColumn]:
        """The features."""

    def plan_files(self) -> tuple[bytes, bytes] | None:
        """Document and arrays of the plan, verified; None: the package has none."""


def load_scorer(package: HasPlan) -> "Scorer | None":
    """The scorer of a package; None where it has no plan, and scikit-learn serves.

    Raises:
        IntegrityError: The plan is damaged, or would read what it must not.
    """
    files = package.plan_files()
    return None if files is None else Scorer(read_plan(*files), package.schema)


class Scorer:
    """Answers rows by a plan. It is not changed by scoring; any number of threads may use it.

    Args:
        plan: The plan; it is checked here.
        schema: The features.
        native: Whether the compiled evaluator is used where there is one.

    Raises:
        IntegrityError: The plan is not whole.
    """

    def __init__(self, plan: Plan, schema: Sequence[InputColumn], *, native: bool = True) -> None:
        check_plan(plan, len(schema))
        self.plan = plan
        self._schema = list(schema)
        self._codes = [None if texts is None else _codes(texts, column) for texts, column in _pairs(plan, schema)]
        self._program: Any = None

    @property
    def evaluator(self) -> str:
        """`native` or `numpy`."""
        return "numpy" if self._program is None else "native"

    def score_rows(self, rows: Sequence[Sequence[object]]) -> list[list[float]]:
        """Answers to rows of parsed JSON.

        Args:
            rows: n rows, each a list of cells in schema order; None is missing.

        Returns:
            n lists: probabilities in the order of the package's classes, or one value.

        Raises:
            Unscorable: The schema refuses a cell, scikit-learn would refuse the row, or an answer is not finite.
        """
        width = len(self._schema)
        for place, row in enumerate(rows):
            if len(row) != width:
                raise Unscorable(place)
        if not rows:
            return []
        found: list[list[float]] = self.score_columns(list(zip(*rows, strict=True)), len(rows)).tolist()
        return found

    def score_columns(self, columns: Sequence[Any], rows: int) -> Floats:
        """Answers to columns.

        Args:
            columns: One per feature, in schema order: (rows,) arrays or lists of cells as `to_frame` takes them; None
                and NaN are missing.
            rows: n.

        Returns:
            (n, k) float64: probabilities in the order of the package's classes, or one value.

        Raises:
            Unscorable: As `score_rows`.
        """
        return self.score_encoded(self.encode(columns, rows))

    def encode(self, columns: Sequence[Any], rows: int) -> Floats:
        """(n, inputs) float64, each column contiguous: columns as the plan reads them.

        Raises:
            Unscorable: The schema refuses a cell.
        """
        if len(columns) != len(self._schema) or any(len(column) != rows for column in columns):
            raise Unscorable
        made = np.empty((rows, len(columns)), order="F")
        for place, values in enumerate(columns):
            made[:, place] = self.encode_column(place, values)
        return made

    def encode_column(self, place: int, values: Any) -> Floats:
        """(n,) float64: one column as the plan reads it.

        Raises:
            Unscorable: The schema refuses a cell.
        """
        column = self._schema[place]
        try:
            plain = values if hasattr(values, "dtype") and values.dtype.kind == "f" else list(values)
            found = cells(plain, column)
        except InputError as error:
            row = error.context.get("row")
            raise Unscorable(row - 1 if isinstance(row, int) else None) from None
        codes = self._codes[place]
        return found if codes is None else np.array([codes.of(text) for text in found.tolist()], dtype=np.float64)

    def score_encoded(self, inputs: Floats) -> Floats:
        """Answers to encoded columns.

        Args:
            inputs: (n, inputs) float64 from `encode`.

        Returns:
            (n, k) float64.

        Raises:
            Unscorable: scikit-learn would refuse the row, or an answer is not finite.
        """
        found = run(self.plan, inputs)
        good = np.isfinite(found).all(axis=1)
        if not good.all():
            raise Unscorable(int(np.argmin(good)))
        return found


class _Codes:
    """Texts of a category and their codes."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._codes: Mapping[str, float] = {text: float(code) for code, text in enumerate(texts)}
        self._unknown = float(len(texts))

    def of(self, text: str | None) -> float:
        """The code of a text by the rule of `kubeloop.learning.inputs`."""
        return self._unknown + 1.0 if text is None else self._codes.get(text, self._unknown)


def _codes(texts: Sequence[str], column: InputColumn) -> _Codes:
    return _Codes(texts)


def _pairs(plan: Plan, schema: Sequence[InputColumn]) -> list[tuple[tuple[str, ...] | None, InputColumn]]:
    return list(zip(plan.texts, schema, strict=True))


Resolve = Callable[[int, object], float]
Array = NDArray[Any]
