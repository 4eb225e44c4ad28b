"""The scorer of a package: rows as they come in, answers as they go out, by the plan alone."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn, cells
from kubeloop.scoring.check import check_plan
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.operations import CODES, run
from kubeloop.scoring.plan import Floats, Plan, read_plan

__all__ = ["Answered", "Bodies", "Scorer", "Unscorable", "Words", "load_scorer"]

Answered = tuple[bytes, int, tuple[str, ...]] | None
"""An answer's body, its rows, and the names of the columns with a value outside their rules; None: the request is not
plainly right, or not plain enough, and `score_rows` has to be asked."""


class Bodies(Protocol):
    """A plan behind the wire, without a Python object between."""

    def answer(self, v2: bool, body: bytes, /) -> Answered:
        """Answer V1 or V2 as JSON."""

    def answers(self, asked: "list[tuple[bool, bytes, *tuple[Any, ...]]]", /) -> list[Answered]:
        """Answer several, whose rows are scored as one block; a tuple begins with whether it is V2, and the body."""

    def message(self, body: bytes, /) -> Answered:
        """Answer V2 as gRPC's ModelInferRequest."""


@dataclass(frozen=True)
class Words:
    """What an endpoint's answers say beside the scores.

    Attributes:
        name: The model's.
        version: The model's.
        classes: In the order of the probabilities, each as JSON in V1 and in V2, and as it stands in gRPC's contents;
            empty in regression.
        datatype: Of V2's predictions.
        outputs: V2's, by name.
        head: How a V2 answer begins.
    """

    name: str
    version: str
    classes: Sequence[tuple[bytes, bytes, bytes]]
    datatype: str
    outputs: Sequence[str]
    head: bytes


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
        native: Whether the compiled evaluator is used where there is one; its NumPy twin gives the same bits.

    Raises:
        IntegrityError: The plan is not whole.
    """

    def __init__(self, plan: Plan, schema: Sequence[InputColumn], *, native: bool = True) -> None:
        check_plan(plan, len(schema))
        self.plan = plan
        self._schema = list(schema)
        self._codes = [
            None if texts is None else {text: float(code) for code, text in enumerate(texts)} for texts in plan.texts
        ]
        self._program = _program(plan, self._schema, self._codes, self._cell) if native else None

    @property
    def evaluator(self) -> str:
        """`native` or `numpy`."""
        return "numpy" if self._program is None else "native"

    def bodies(self, words: Words) -> Bodies | None:
        """Requests of V1 and V2 to their answers; None where the evaluator is not compiled, or a text is no UTF-8."""
        if self._program is None:
            return None
        from kubeloop.scoring import _native  # type: ignore[attr-defined,unused-ignore]

        low = [-np.inf if column["minimum"] is None else column["minimum"] for column in self._schema]
        high = [np.inf if column["maximum"] is None else column["maximum"] for column in self._schema]
        try:
            made: Bodies = _native.Bodies(
                self._program,
                tuple(column["name"] for column in self._schema),
                *(np.array(limits, dtype=np.float64).tobytes() for limits in (low, high)),
                *(tuple(each[place] for each in words.classes) for place in range(3)),
                words.head,
                words.datatype.encode("ascii"),
                words.name.encode(),
                words.version.encode(),
                "predictions" in words.outputs,
                "probabilities" in words.outputs,
            )
        except UnicodeEncodeError:
            return None
        return made

    def score_rows(self, rows: Sequence[Sequence[object]]) -> list[list[float]]:
        """Answers to rows of parsed JSON.

        Args:
            rows: n rows, each a list of cells in schema order; None is missing.

        Returns:
            n lists: probabilities in the order of the package's classes, or one value.

        Raises:
            Unscorable: The schema refuses a cell, scikit-learn would refuse the row, or an answer is not finite.
        """
        if self._program is not None:
            answers: list[list[float]] = self._program.rows(rows)
            return answers
        for place, row in enumerate(rows):
            if not isinstance(row, list | tuple) or len(row) != len(self._schema):
                raise Unscorable(place)
        columns = list(zip(*rows, strict=True)) or [()] * len(self._schema)
        found: list[list[float]] = self.score_columns(columns, len(rows)).tolist()
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
        if len(columns) != len(self._schema) or any(len(column) != rows for column in columns):
            raise Unscorable
        made = np.empty((len(columns), rows))
        for place, values in enumerate(columns):
            self.encode(place, values, made[place])
        return self.score_encoded(made)

    def encode(self, place: int, values: Any, out: Floats) -> None:
        """One column as the plan reads it.

        Args:
            place: Which feature.
            values: (n,) array or list of cells.
            out: (n,) float64, contiguous; is filled.

        Raises:
            Unscorable: The schema refuses a cell.
        """
        column = self._schema[place]
        if column["kind"] == "number" and isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
            out[:] = values
            refused = np.isinf(out) if column["nullable"] else ~np.isfinite(out)
            if refused.any():
                raise Unscorable(int(np.argmax(refused)))
            return
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        if self._program is not None:
            self._program.column(place, plain, out)
            return
        try:
            found = cells(list(plain), column)
        except InputError as error:
            row = error.context.get("row")
            raise Unscorable(row - 1 if isinstance(row, int) else None) from None
        codes = self._codes[place]
        out[:] = found if codes is None else [_code(codes, text) for text in found.tolist()]

    def score_encoded(self, inputs: Floats) -> Floats:
        """Answers to encoded columns.

        Args:
            inputs: (features, n) float64, contiguous, each row filled by `encode`.

        Returns:
            (n, k) float64.

        Raises:
            Unscorable: scikit-learn would refuse the row, or an answer is not finite.
        """
        if self._program is not None:
            made = np.empty((inputs.shape[1], len(self.plan.result)))
            self._program.encoded(inputs, made)
            return made
        found = run(self.plan, inputs)
        good = np.isfinite(found).all(axis=1)
        if not good.all():
            raise Unscorable(int(np.argmin(good)))
        return found

    def _cell(self, place: int, value: object) -> float:
        """One cell that is not plainly of its column's type, by the rule that made the training frame."""
        try:
            found = cells([value], self._schema[place])[0]
        except InputError:
            raise Unscorable from None
        codes = self._codes[place]
        return float(found) if codes is None else _code(codes, found)


def _code(codes: Mapping[str, float], text: str | None) -> float:
    """The code of a text that went through the schema's rule; unknown and missing ones come after the known."""
    return len(codes) + 1.0 if text is None else codes.get(text, float(len(codes)))


def _program(plan: Plan, schema: Sequence[InputColumn], codes: Sequence[dict[str, float] | None], resolve: Any) -> Any:
    """The compiled evaluator's program; None where it was not built."""
    try:
        from kubeloop.scoring import _native  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        return None
    if sys.byteorder != "little":
        return None
    steps = tuple(
        (CODES[step.name], np.array(step.reads, dtype=np.int32), step.out, step.width, step.floats, step.ints)
        for step in plan.operations
    )
    # A text that an encoder knows and the schema does not goes through the schema's rule first.
    tables = tuple(
        None if known is None else {text: known[text] for text in column["categories"] or ()}
        for known, column in zip(codes, schema, strict=True)
    )
    return _native.Program(
        steps,
        plan.slots,
        np.array(plan.result, dtype=np.int32).tobytes(),
        "".join(column["kind"][0] for column in schema).encode("ascii"),
        bytes(int(column["nullable"]) for column in schema),
        np.array([0 if known is None else len(known) + 2 for known in codes], dtype=np.int32).tobytes(),
        tables,
        resolve,
        Unscorable,
    )
