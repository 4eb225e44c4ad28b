"""Fitted transformers as operations. What reads categories is asked for its answer to every one of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.scoring.errors import Refused
from kubeloop.scoring.program import UNKNOWN, Program, Text

Slots = list[int]
Compile = Callable[[Program, Any, Slots], Slots]

_NOBODY = "\x00kubeloop: no such category\x00"
_MOST_PAIRS = 1_000_000


def compile_transformer(program: Program, fitted: Any, slots: Slots) -> Slots:
    """Add what a fitted transformer does to the program.

    Args:
        program: Is added to.
        fitted: Of scikit-learn or of `kubeloop.learning.transformers`, or `passthrough`.
        slots: What it reads, in order.

    Returns:
        The slots of its output, in order.

    Raises:
        Refused: It cannot be done by operations.
    """
    if isinstance(fitted, str):
        return slots if fitted == "passthrough" else []
    found = _BY_NAME.get(type(fitted).__name__)
    if found is None:
        raise Refused(f"{type(fitted).__name__} has no operation")
    return found(program, fitted, slots)


def _pipeline(program: Program, fitted: Any, slots: Slots) -> Slots:
    for _, step in fitted.steps:
        slots = slots if step is None else compile_transformer(program, step, slots)
    return slots


def _columns(program: Program, fitted: Any, slots: Slots) -> Slots:
    names = [str(name) for name in getattr(fitted, "feature_names_in_", range(len(slots)))]
    made: Slots = []
    for _, step, columns in fitted.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        chosen = [slots[place] for place in _places(columns, names)]
        if chosen:
            made += compile_transformer(program, step, chosen)
    return made


def _places(columns: Any, names: list[str]) -> list[int]:
    if isinstance(columns, slice):
        return list(range(len(names)))[columns]
    given = np.atleast_1d(np.asarray(columns, dtype=object)).tolist()
    if given and all(isinstance(each, bool | np.bool_) for each in given):
        return [int(place) for place in np.flatnonzero(given)]
    return [names.index(each) if isinstance(each, str) else int(each) for each in given]


def _imputer(program: Program, fitted: Any, slots: Slots) -> Slots:
    if any(slot in program.texts for slot in slots):
        return _of_texts(program, fitted, slots)
    if not (isinstance(fitted.missing_values, float) and np.isnan(fitted.missing_values)) or fitted.add_indicator:
        raise Refused("an imputer with an indicator, or of anything but NaN")
    fills = np.asarray(fitted.statistics_, dtype=np.float64)
    if np.isnan(fills).any():
        raise Refused("an imputer that drops an empty column")
    made = program.each("fill", slots, fills)
    program.gaps.difference_update(made)
    return made


def _of_texts(program: Program, fitted: Any, slots: Slots) -> Slots:
    """A text for a text: the codes stay, what they stand for changes."""
    answers = _asked(program, fitted, slots)
    made: Slots = []
    for place, slot in enumerate(slots):
        copy = program.add("multiply", [slot], 1, [1.0])[0]
        program.texts[copy] = [_text(each) for each in answers[: len(program.texts[slot]), place].tolist()]
        made.append(copy)
    return made


def _text(value: Any) -> Text:
    if value == _NOBODY:
        return UNKNOWN
    if value is not None and not isinstance(value, str):
        raise Refused("an imputer that makes something else of a text")
    return value


def _asked(program: Program, fitted: Any, slots: Slots) -> NDArray[Any]:
    """What a transformer makes of every code of its columns, column beside column."""
    if any(slot not in program.texts for slot in slots):
        raise Refused(f"{type(fitted).__name__} reads numbers and categories together")
    texts = [program.texts[slot] for slot in slots]
    table = np.empty((max(map(len, texts)), len(slots)), dtype=object)
    for place, known in enumerate(texts):
        filled = [*known, *[known[0]] * (len(table) - len(known))]
        table[:, place] = [_NOBODY if text is UNKNOWN else text for text in filled]
    answers = fitted.transform(table)
    return np.asarray(answers.toarray() if hasattr(answers, "toarray") else answers)


def _encoder(program: Program, fitted: Any, slots: Slots) -> Slots:
    if not any(slot in program.texts for slot in slots):
        return _numbers_encoder(program, fitted, slots)
    for slot, known in zip(slots, fitted.categories_, strict=True):
        lost = {text for text in known.tolist() if isinstance(text, str)} - set(program.texts.get(slot, ()))
        if lost:
            raise Refused(f"an encoder knows {sorted(lost)[0]!r}, which the schema does not list")
    answers = _asked(program, fitted, slots).astype(np.float64)
    widths = _widths(fitted, len(slots), answers.shape[1])
    made: Slots = []
    for slot, (start, width) in zip(slots, widths, strict=True):
        table = answers[: len(program.texts[slot]), start : start + width]
        made += _table(program, slot, table)
    return made


def _widths(fitted: Any, count: int, total: int) -> list[tuple[int, int]]:
    widths = list(getattr(fitted, "_n_features_outs", None) or [total // count] * count)
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(int)
    if sum(widths) != total:
        raise Refused(f"the columns of {type(fitted).__name__} cannot be told apart")
    return list(zip(starts.tolist(), [int(width) for width in widths], strict=True))


def _table(program: Program, slot: int, table: NDArray[np.float64]) -> Slots:
    """(codes, width) answers: as the place of the one that is 1, or as they are."""
    width = table.shape[1]
    if width and ((table == 0) | (table == 1)).all() and (table.sum(axis=1) <= 1).all():
        place = np.where(table.any(axis=1), table.argmax(axis=1), -1)
        return program.add("onehot", [slot], width, ints=place)
    made = program.add("lookup", [slot], width, table.T)
    program.gaps.update(new for new, column in zip(made, table.T, strict=True) if np.isnan(column).any())
    return made


def _numbers_encoder(program: Program, fitted: Any, slots: Slots) -> Slots:
    """An ordinal encoder of numbers, such as gradient boosting has inside."""
    if type(fitted).__name__ != "OrdinalEncoder" or getattr(fitted, "infrequent_categories_", None) not in (None, []):
        if any(each is not None for each in getattr(fitted, "infrequent_categories_", ())):
            raise Refused("an encoder of numbers with rare categories")
        if type(fitted).__name__ != "OrdinalEncoder":
            raise Refused(f"{type(fitted).__name__} of numbers")
    made: Slots = []
    for place, (slot, known) in enumerate(zip(slots, fitted.categories_, strict=True)):
        numbers = np.asarray(known, dtype=np.float64)
        numbers = np.sort(numbers[~np.isnan(numbers)])
        if not numbers.size:
            raise Refused("an encoder that knows no number")
        asked = np.full((len(numbers) + 2, len(slots)), np.nan)
        for other, values in enumerate(fitted.categories_):
            asked[:, other] = np.asarray(values, dtype=np.float64)[0]
        nobody = numbers[-1] * 2 + 1
        asked[:, place] = [*numbers, nobody, np.nan]
        answers = np.asarray(fitted.transform(asked), dtype=np.float64)[:, place]
        code = program.add("code", [slot], 1, numbers)
        new = program.add("lookup", code, 1, answers)
        program.gaps.update(new if np.isnan(answers).any() else [])
        made += new
    return made


def _affine(*steps: tuple[str, str]) -> Compile:
    def add(program: Program, fitted: Any, slots: Slots) -> Slots:
        for name, attribute in steps:
            vector = getattr(fitted, attribute, None)
            if vector is not None:
                slots = program.each(name, slots, vector)
        return slots

    return add


def _standard(program: Program, fitted: Any, slots: Slots) -> Slots:
    slots = program.each("subtract", slots, fitted.mean_) if fitted.with_mean else slots
    return program.each("divide", slots, fitted.scale_) if fitted.with_std else slots


def _robust(program: Program, fitted: Any, slots: Slots) -> Slots:
    slots = program.each("subtract", slots, fitted.center_) if fitted.with_centering else slots
    return program.each("divide", slots, fitted.scale_) if fitted.with_scaling else slots


def _min_max(program: Program, fitted: Any, slots: Slots) -> Slots:
    slots = program.each("add", program.each("multiply", slots, fitted.scale_), fitted.min_)
    if not fitted.clip:
        return slots
    low, high = fitted.feature_range
    return program.each("clip", slots, [[low] * len(slots), [high] * len(slots)])


def _missing(program: Program, fitted: Any, slots: Slots) -> Slots:
    program.numbers(slots, "a missing flag")
    return program.add("missing", slots, len(slots))


def _kept(program: Program, fitted: Any, slots: Slots) -> Slots:
    return [slots[place] for place in fitted.kept_.tolist()]


def _joined(program: Program, fitted: Any, slots: Slots) -> Slots:
    """Two categories as one: a code for each pair of codes."""
    if len(slots) != 2 or any(slot not in program.texts for slot in slots):
        raise Refused("an interaction that is not of two categories")
    one, other = (program.texts[slot] for slot in slots)
    if len(one) * len(other) > _MOST_PAIRS:
        raise Refused(f"an interaction of more than {_MOST_PAIRS:,} pairs of categories")
    made = program.add("pair", slots, 1, [float(len(other))])
    pairs = [(left, right) for left in one for right in other]
    known = np.array([[None if each is UNKNOWN else each for each in pair] for pair in pairs], dtype=object)
    joined = fitted.transform(known)[:, 0].tolist()
    program.texts[made[0]] = [UNKNOWN if UNKNOWN in pair else text for pair, text in zip(pairs, joined, strict=True)]
    return made


def _products(program: Program, fitted: Any, slots: Slots) -> Slots:
    program.numbers(slots, "a product")
    made: Slots = []
    for powers in fitted.powers_.tolist():
        used = [slot for slot, power in zip(slots, powers, strict=True) for _ in range(power)]
        if not 1 <= len(used) <= 2:
            raise Refused("a polynomial that is not of products of two")
        new = used if len(used) == 1 else program.add("product", used, 1)
        program.gaps.update(new if program.gaps.intersection(used) else [])
        made += new
    return made


def _dates(program: Program, fitted: Any, slots: Slots) -> Slots:
    from kubeloop.scoring.operations import DATE_PARTS

    made: Slots = []
    for slot in slots:
        new = program.add("dates", [slot], len(fitted.parts), ints=[DATE_PARTS.index(part) for part in fitted.parts])
        program.gaps.update(new if slot in program.gaps else [])
        made += new
    return made


def _days(program: Program, fitted: Any, slots: Slots) -> Slots:
    return [program.add("days", [slot], 1, np.unique(fitted.days))[0] for slot in slots]


def _passed(program: Program, fitted: Any, slots: Slots) -> Slots:
    if fitted.func is not None:
        raise Refused("a function as a transformer")
    return slots


_BY_NAME: dict[str, Compile] = {
    "ColumnTransformer": _columns,
    "DateParts": _dates,
    "DayInList": _days,
    "FunctionTransformer": _passed,
    "JoinedCategories": _joined,
    "KeptColumns": _kept,
    "MaxAbsScaler": _affine(("divide", "scale_")),
    "MinMaxScaler": _min_max,
    "MissingFlags": _missing,
    "OneHotEncoder": _encoder,
    "OrdinalEncoder": _encoder,
    "Pipeline": _pipeline,
    "PolynomialFeatures": _products,
    "RobustScaler": _robust,
    "SimpleImputer": _imputer,
    "StandardScaler": _standard,
    "TargetEncoder": _encoder,
}


def _apart(joined: str) -> list[str | None]:
    """The parts that `JoinedCategories` put together, each behind its length."""
    found: list[str | None] = []
    while joined:
        size, _, rest = joined.partition(":")
        length = max(0, int(size))
        found.append(None if int(size) < 0 else rest[:length])
        joined = rest[length:]
    return found


def widened(fitted: Any, names: Sequence[str]) -> dict[str, set[str]]:
    """Texts that the encoders of a pipeline know, by column, joined ones taken apart."""
    found: dict[str, set[str]] = {}
    for _, step in getattr(fitted, "steps", [("", fitted)]):
        for _, part, columns in getattr(step, "transformers_", ()):
            parts = [inner for _, inner in getattr(part, "steps", [("", part)])]
            places = [] if isinstance(part, str) else _places(columns, list(names))
            if any(type(inner).__name__ == "JoinedCategories" for inner in parts):
                for joined in np.asarray(parts[-1].categories_[0]).tolist():
                    for place, text in zip(places, _apart(joined), strict=True):
                        found.setdefault(names[place], set()).update([] if text is None else [text])
                continue
            for inner in parts:
                for place, known in zip(places, getattr(inner, "categories_", ()), strict=False):
                    texts = {text for text in np.asarray(known).tolist() if isinstance(text, str)}
                    found.setdefault(names[place], set()).update(texts)
    return found
