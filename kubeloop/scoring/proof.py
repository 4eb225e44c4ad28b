"""The proof of a plan: held against scikit-learn on the training rows and on rows that are made to catch it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.learning.inputs import InputColumn
from kubeloop.scoring.errors import Refused, Unscorable
from kubeloop.scoring.forest import unpack
from kubeloop.scoring.plan import Floats, Operation, Plan
from kubeloop.scoring.scorer import Scorer

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-12
"""How far an answer may be off, relative to the expected one where that is above 1."""
MOST_TIES = 20_000
"""As many rows of ties at most; a column with more thresholds has them drawn."""
LEAST_TIES = 4_000
"""As many at least where there is a tree at all."""
TWIN_ROWS = 2_000
"""As many rows are also asked of the NumPy twin, which has to give the same bits."""
NOBODY = "kubeloop: nobody has heard of it"

_EXTREME = (0.0, -0.0, 5e-324, 1e-300, 1e-30, 1e15, 1e30, 3.4e38, 3.5e38, 1e300, 1.7976931348623157e308)
_LATEST_S = 253_402_300_799.0
_STEP: dict[str, np.ufunc] = {"subtract": np.add, "divide": np.multiply, "multiply": np.divide, "add": np.subtract}
"""What undoes an operation on a number."""


@dataclass(frozen=True)
class Proof:
    """What a plan was held against, and how near it came.

    Attributes:
        training_rows: How many were asked.
        adversarial_rows: Likewise.
        max_difference: The power of ten that no difference exceeds; 0 where every bit is equal.
        evaluators: Those that answered, all with the same bits.
    """

    training_rows: int
    adversarial_rows: int
    max_difference: float
    evaluators: tuple[str, ...]


def prove(plan: Plan, estimator: Any, schema: Sequence[InputColumn], training: "pd.DataFrame", seed: int) -> Proof:
    """Hold a plan against the pipeline that it was compiled from.

    Args:
        plan: The plan.
        estimator: The fitted pipeline.
        schema: The model's inputs.
        training: (n, inputs) frame from `to_frame`: the rows that taught the model.
        seed: Draws what the made rows hold beside their ties.

    Raises:
        Refused: An answer differs by more than `TOLERANCE`, or a label.
    """
    import pandas as pd

    made = pd.DataFrame(adversarial(plan, schema, training, seed), columns=list(training.columns))
    scorer, twin = Scorer(plan, schema), Scorer(plan, schema, native=False)
    worst = 0.0
    for rows, name in ((training, "training"), (made, "adversarial")):
        worst = max(worst, _held(scorer, estimator, schema, rows, name))
    sample = pd.concat([training.head(TWIN_ROWS // 2), made.head(TWIN_ROWS // 2)], ignore_index=True)
    if scorer.evaluator != twin.evaluator:
        _same_bits(scorer, twin, schema, sample)
    bound = 0.0 if worst == 0 else float(10.0 ** np.ceil(np.log10(worst)))
    return Proof(len(training), len(made), bound, tuple(sorted({scorer.evaluator, twin.evaluator})))


def _held(scorer: Scorer, estimator: Any, schema: Sequence[InputColumn], frame: "pd.DataFrame", name: str) -> float:
    """The largest difference on rows that both answer; what one refuses, the other must not answer."""
    from kubeloop.learning.inputs import to_frame

    size, worst = len(frame), 0.0
    left = [(0, size)]
    while left:
        start, end = left.pop()
        if start == end:
            continue
        part = frame.iloc[start:end]
        asked = _asked(scorer, schema, part)
        if asked is not None and asked < 0:
            found = scorer.score_columns([part[column["name"]].to_numpy() for column in schema], len(part))
            wanted = _wanted(estimator, to_frame(part, schema))
            if wanted is None:
                raise Refused(f"it answers a row of the {name} rows that scikit-learn refuses")
            worst = max(worst, _difference(found, wanted, name))
            continue
        if name == "training":
            raise Refused("it does not answer every training row")
        # The plan leaves a row to scikit-learn, which is always right; the others are asked without it.
        at = start + (asked or 0)
        left += [(start, at), (at + 1, end)]
    return worst


def _asked(scorer: Scorer, schema: Sequence[InputColumn], part: "pd.DataFrame") -> int | None:
    """-1 if all rows are answered, else the first that is not."""
    try:
        scorer.score_columns([part[column["name"]].to_numpy() for column in schema], len(part))
    except Unscorable as error:
        return error.row
    return -1


def _wanted(estimator: Any, frame: "pd.DataFrame") -> Floats | None:
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # rows that are made to overflow do
            found = estimator.predict_proba(frame) if hasattr(estimator, "classes_") else estimator.predict(frame)
    except ValueError:
        return None
    return np.asarray(found, dtype=np.float64).reshape(len(frame), -1)


def _difference(found: Floats, wanted: Floats, name: str) -> float:
    if found.shape != wanted.shape:
        raise Refused(f"it gives {found.shape[1]} numbers for a row, scikit-learn {wanted.shape[1]}")
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(found - wanted) / np.maximum(1.0, np.abs(wanted))
    worst = float(apart.max(initial=0.0))
    if not worst <= TOLERANCE:
        raise Refused(f"an answer on the {name} rows is off by {worst:.2g}, more than {TOLERANCE:g}")
    flips = int((found.argmax(axis=1) != wanted.argmax(axis=1)).sum())
    if flips:
        raise Refused(f"the label of {flips} of the {name} rows is another one")
    return worst


def _same_bits(scorer: Scorer, twin: Scorer, schema: Sequence[InputColumn], frame: "pd.DataFrame") -> None:
    kept = [row for row in range(len(frame)) if _asked(scorer, schema, frame.iloc[row : row + 1]) == -1]
    columns = [frame[column["name"]].to_numpy()[kept] for column in schema]
    if scorer.score_columns(columns, len(kept)).tobytes() != twin.score_columns(columns, len(kept)).tobytes():
        raise Refused("its two evaluators differ in a bit")


def adversarial(
    plan: Plan, schema: Sequence[InputColumn], training: "pd.DataFrame", seed: int
) -> dict[str, NDArray[Any]]:
    """Rows that are made to catch a plan, as columns.

    Every threshold of a tree is met exactly and from both neighbouring floats (64-bit and 32-bit), also behind scalers;
    then come gaps, empty and unknown categories, booleans, and numbers from the smallest to the largest. What a row
    holds beside comes from the training rows, cell by cell.
    """
    rng = np.random.default_rng(seed)
    ties = {place: _near(values, rng) for place, values in _thresholds(plan, len(schema)).items()}
    blocks = [_special(column) for column in schema]
    longest = max([LEAST_TIES * bool(ties), *map(len, blocks), *map(len, ties.values())])
    made: dict[str, NDArray[Any]] = {}
    for place, column in enumerate(schema):
        own = training[column["name"]].to_numpy()
        drawn = own[rng.integers(0, len(own), longest + sum(map(len, blocks)))]
        values = ties.get(place, np.empty(0))
        if column["kind"] == "timestamp":
            values = values[np.abs(values) <= _LATEST_S]
        if column["kind"] != "boolean" and len(values):
            drawn[:longest] = np.resize(values, longest)  # each beside many others, to come to its node
        start = longest + sum(map(len, blocks[:place]))
        drawn[start : start + len(blocks[place])] = blocks[place]
        made[column["name"]] = drawn
    return made


def _special(column: InputColumn) -> list[Any]:
    """Cells that a column may hold and rarely does."""
    gap: list[Any] = [None if column["kind"] == "category" else np.nan] if column["nullable"] else []
    if column["kind"] == "category":
        return [*gap, "", NOBODY, *(column["categories"] or ())[:200]]
    if column["kind"] == "boolean":
        return [*gap, 0.0, 1.0]
    ends = [end for end in (column["minimum"], column["maximum"]) if end is not None]
    if column["kind"] == "timestamp":
        return [*gap, *ends, 0.0, -0.5, -86_400.0, _LATEST_S, -62_135_596_800.0]
    return [*gap, *ends, *_EXTREME, *(-each for each in _EXTREME)]


def _near(values: Floats, rng: np.random.Generator) -> Floats:
    """Each value with its neighbours among 64-bit and 32-bit floats."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
        around = [np.nextafter(single, np.float32(end)).astype(np.float64) for end in (-np.inf, np.inf)]
        found = [
            values,
            np.nextafter(values, -np.inf),
            np.nextafter(values, np.inf),
            single.astype(np.float64),
            *around,
        ]
    every = np.unique(np.concatenate(found))
    every = every[np.isfinite(every)]
    return every if len(every) <= MOST_TIES else rng.choice(every, MOST_TIES, replace=False)


def _thresholds(plan: Plan, inputs: int) -> dict[int, Floats]:
    """The inputs at which a forest's thresholds are met, by input, as far as they can be traced back to one."""
    makers = {step.out + offset: (step, offset) for step in plan.operations for offset in range(step.width)}
    found: dict[int, list[Floats]] = {}
    for step in plan.operations:
        if step.name == "forest":
            for slot, edges in _edges(step):
                for place, values in _traced(makers, slot, edges, inputs):
                    found.setdefault(place, []).append(values)
    return {place: np.unique(np.concatenate(values)) for place, values in found.items()}


def _edges(step: Operation) -> Iterator[tuple[int, Floats]]:
    parts = unpack(step)
    for place, slot in enumerate(step.reads):
        yield slot, parts.edges[parts.starts[place] : parts.starts[place + 1]]


def _traced(
    makers: dict[int, tuple[Operation, int]], slot: int, values: Floats, inputs: int
) -> Iterator[tuple[int, Floats]]:
    while slot >= inputs:
        step, offset = makers[slot]
        if step.name in _STEP:
            with np.errstate(all="ignore"):
                values = _STEP[step.name](values, step.floats[offset])
        elif step.name != "fill":
            return
        slot = step.reads[offset]
    if values.size:
        yield slot, values[np.isfinite(values)]
