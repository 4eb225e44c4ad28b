"""The plan: a straight program over slots, each a float64 per row. Data alone; the same plan is the same bytes.

A row's inputs are the first slots, in schema order: a number, boolean or moment is itself (missing is NaN), a category
is its position in the column's texts (an unknown text: `len(texts)`; missing: `len(texts) + 1`). Every operation reads
slots that are written before it and writes a run of new ones. `kubeloop.scoring.operations` says what each one does.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kubeloop.digests import canonical_json
from kubeloop.errors import IntegrityError

FORMAT = 1
Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Output = Literal["probabilities", "values"]

_TIME = (1980, 1, 1, 0, 0, 0)
_FIX = "train and register again; this plan is not used"


def _no_floats() -> Floats:
    return np.empty(0)


def _no_ints() -> Ints:
    return np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class Operation:
    """One step of the program.

    Attributes:
        name: One of `operations.CODES`.
        reads: Slots, each written before.
        out: First slot that it writes.
        width: How many it writes.
        floats: (any,) float64, as the operation wants them.
        ints: (any,) int32, likewise.
    """

    name: str
    reads: tuple[int, ...]
    out: int
    width: int
    floats: Floats = field(default_factory=_no_floats)
    ints: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True)
class Plan:
    """What a package needs to score without scikit-learn.

    Attributes:
        texts: Per input, the texts of a category in the order of their codes; None for any other kind.
        operations: In order.
        result: The slots of the answer: probabilities in the order of the model's classes, or one value.
        output: Which of the two.
        estimator: Digest of the estimator file that it was compiled from.
    """

    texts: tuple[tuple[str, ...] | None, ...]
    operations: tuple[Operation, ...]
    result: tuple[int, ...]
    output: Output
    estimator: str = ""

    @property
    def slots(self) -> int:
        """How many slots a row needs."""
        return len(self.texts) + sum(step.width for step in self.operations)


def plan_bytes(plan: Plan) -> tuple[bytes, bytes]:
    """The plan as canonical JSON and as an npz of its arrays; both the same for the same plan, anywhere."""
    document = {
        "kubeloop_scoring_plan": FORMAT,
        "estimator": plan.estimator,
        "texts": [None if texts is None else list(texts) for texts in plan.texts],
        "operations": [[step.name, list(step.reads), step.width] for step in plan.operations],
        "result": list(plan.result),
        "output": plan.output,
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for place, step in enumerate(plan.operations):
            for word, array in (("floats", step.floats), ("ints", step.ints)):
                if array.size:
                    out.writestr(zipfile.ZipInfo(f"{place}.{word}.npy", _TIME), _npy(array))
    return canonical_json(document).encode("ascii"), target.getvalue()


def read_plan(document: bytes, arrays: bytes) -> Plan:
    """The plan in the two files; `check.check_plan` says whether it may be run.

    Raises:
        IntegrityError: They are no plan of this format.
    """
    try:
        found = json.loads(document)
        if found["kubeloop_scoring_plan"] != FORMAT:
            raise _broken(f"format {FORMAT} was expected, {found['kubeloop_scoring_plan']!r} came")
        with np.load(io.BytesIO(arrays), allow_pickle=False) as held:
            operations = tuple(_operations(found["operations"], len(found["texts"]), held))
        return Plan(
            texts=tuple(None if texts is None else tuple(map(str, texts)) for texts in found["texts"]),
            operations=operations,
            result=tuple(map(int, found["result"])),
            output="values" if found["output"] == "values" else "probabilities",
            estimator=str(found["estimator"]),
        )
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, OverflowError) as error:
        raise _broken(f"a plan was expected, but {type(error).__name__}: {error}") from error


def _operations(found: Sequence[Any], out: int, held: Any) -> list[Operation]:
    made = []
    for place, (name, reads, width) in enumerate(found):
        floats, ints = (held[key] if (key := f"{place}.{word}") in held else None for word in ("floats", "ints"))
        step = Operation(
            str(name),
            tuple(map(int, reads)),
            out,
            int(width),
            _no_floats() if floats is None else np.ascontiguousarray(floats, dtype=np.float64),
            _no_ints() if ints is None else np.ascontiguousarray(ints, dtype=np.int32),
        )
        made.append(step)
        out += step.width
    return made


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _broken(problem: str) -> IntegrityError:
    return IntegrityError(f"scoring plan: {problem}"[:2000], _FIX)
