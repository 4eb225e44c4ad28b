"""What the words about features must mean together."""

from collections.abc import Iterator

from kubeloop.contract.expressions import columns_of
from kubeloop.contract.features import ColumnFeatures, Window
from kubeloop.contract.findings import Path, Problem, unknown, wrong
from kubeloop.contract.model import Contract
from kubeloop.contract.problems import repeated
from kubeloop.errors import InputError

FEATURE_TYPES = ("integer", "number", "category", "boolean")
_MOMENTS = ("timestamp", "date")
_OF_NUMBERS = ("fill", "indicator", "scale")
_OF_CATEGORIES = ("encode", "min_frequency")


def check_features(c: Contract) -> Iterator[Problem]:
    """All that is wrong with the section `features`."""
    yield from _used(c)
    for name, words in c.features.columns.items():
        yield from _column(c, name, words)
    if c.features.categorical.min_frequency is not None and c.features.categorical.encode == "target":
        yield _no_frequency(("features", "categorical", "min_frequency"))
    for name, parts in c.features.dates.items():
        path: Path = ("features", "dates", name)
        yield from _moment(c, name, path, at_key=True)
        yield from repeated(parts, path, "the part")
        if not parts:
            yield wrong(path, "at least one part, such as hour", "none")
    if c.features.holidays is not None:
        yield from _moment(c, c.features.holidays.column, ("features", "holidays", "column"), at_key=False)
    yield from _interactions(c)
    yield from repeated((window.name for window in c.features.windows), ("features", "windows"), "the window")
    for place, window in enumerate(c.features.windows):
        yield from _window(c, window, ("features", "windows", place))
    if c.features.code is not None and (c.features.code.startswith("/") or ".." in c.features.code.split("/")):
        yield wrong(("features", "code"), "a path below the folder of loop.yaml", c.features.code)


def no_feature(c: Contract, name: str, *, as_moment: bool = False) -> str | None:
    """Why a column may not be a feature, or, with `as_moment`, why no date part may be taken of it."""
    column = c.data.columns.get(name)
    words = c.features.columns.get(name)
    text = column is not None and column.type == "text" and words is not None and words.encode is not None
    reasons = (
        (name == c.target.output, "it is the target"),
        (name in c.data.id, "it is an id, which a model would learn by heart"),
        (name == c.data.time and not as_moment, "it is the time column"),
        (name == c.data.group, "it is the group column"),
        (column is not None and column.policy is not None, f"policy {column.policy if column else ''}"),
        (column is not None and column.known_at == "after", "known_at is after: at the decision nobody knows it"),
        (
            column is not None and not as_moment and not text and column.type not in FEATURE_TYPES,
            f"type {column.type if column else ''} is no feature{_way(column.type if column else '')}",
        ),
        (name in c.features.drop, "features.drop takes it out"),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _way(kind: str) -> str:
    """How a column of a type that is no feature can become one."""
    if kind == "text":
        return "; features.columns with `encode` makes a category of it"
    return " by itself; name its parts in features.dates" if kind in _MOMENTS else ""


def _used(c: Contract) -> Iterator[Problem]:
    columns = c.data.columns
    for key, words in (("use", c.features.use or ()), ("drop", c.features.drop)):
        yield from repeated(words, ("features", key), "the column")
        for place, name in enumerate(words):
            if name not in columns:
                yield unknown(("features", key, place), "a column of data.columns", name, columns)
    made = bool(c.features.dates or c.features.holidays or c.features.windows)
    for place, name in enumerate(c.features.use or ()):
        reason = no_feature(c, name)
        if reason and name in columns and name not in c.features.dates:
            yield Problem(("features", "use", place), f"{name!r} may not be a feature: {reason}", "a feature", name)
    if c.features.use == () and not made:
        yield Problem(
            ("features", "use"), "an empty list leaves no feature; leave `use` out for all columns", "columns", "[]"
        )
    elif c.features.use is None and not made and not any(_is_feature(c, name) for name in columns):
        reasons = "; ".join(f"{name}: {no_feature(c, name)}" for name in list(columns)[:5])
        yield Problem(
            ("data", "columns"), f"no column is left as a feature ({reasons})", "a feature", "none", None, True
        )


def _is_feature(c: Contract, name: str) -> bool:
    return name not in _derived_from(c) and no_feature(c, name) is None


def _derived_from(c: Contract) -> tuple[str, ...]:
    try:
        return tuple(columns_of(c.target.expression)) if c.target.expression is not None else ()
    except InputError:
        return ()  # said where the target is looked at


def _column(c: Contract, name: str, words: ColumnFeatures) -> Iterator[Problem]:
    path: Path = ("features", "columns", name)
    column = c.data.columns.get(name)
    if column is None:
        found = unknown(path, "a column of data.columns", name, c.data.columns)
        yield Problem(path, found.message, found.expected, name, found.nearest, True)
        return
    reason = no_feature(c, name)
    if reason is not None:
        yield Problem(path, f"{name!r} may not be a feature: {reason}", "a feature", name, None, True)
        return
    category = column.type in ("category", "text")
    alien = _OF_NUMBERS if category else _OF_CATEGORIES
    for key in alien:
        if getattr(words, key) is not None:
            kind = "numbers" if category else "categories"
            message = f"`{key}` is for {kind}, {name!r} is of type {column.type}"
            yield Problem((*path, key), message, kind, column.type, None, True)
    fitting = ("own", "mode") if category else ("median", "mean", "mode", "random_sample", "constant")
    if words.impute is not None and words.impute not in fitting:
        yield wrong((*path, "impute"), f"{', '.join(fitting)} for the type {column.type} of {name!r}", words.impute)
    encode = words.encode or c.features.categorical.encode
    if encode == "target" and words.min_frequency is not None:
        yield _no_frequency((*path, "min_frequency"))


def _no_frequency(path: Path) -> Problem:
    message = "`min_frequency` is not for `encode: target`, which draws rare categories towards the mean by itself"
    return Problem(path, message, "no `min_frequency`", "one", None, True)


def _moment(c: Contract, name: str, path: Path, *, at_key: bool) -> Iterator[Problem]:
    column = c.data.columns.get(name)
    if column is None:
        found = unknown(path, "a column of data.columns", name, c.data.columns)
        yield Problem(path, found.message, found.expected, name, found.nearest, at_key)
    elif column.type not in _MOMENTS:
        yield wrong(path, "a column of type timestamp or date", f"{name!r} of type {column.type}", at_key=at_key)
    elif reason := no_feature(c, name, as_moment=True):
        yield Problem(path, f"{name!r} may not be a feature: {reason}", "a feature", name, None, at_key)


def _interactions(c: Contract) -> Iterator[Problem]:
    seen: set[frozenset[str]] = set()
    for place, pair in enumerate(c.features.interactions):
        path: Path = ("features", "interactions", place)
        lost = [(spot, name) for spot, name in enumerate(pair) if name not in c.data.columns]
        for spot, name in lost:
            yield unknown((*path, spot), "a column of data.columns", name, c.data.columns)
        if lost:
            continue
        for spot, name in enumerate(pair):
            reason = no_feature(c, name)
            if reason:
                yield Problem((*path, spot), f"{name!r} may not be a feature: {reason}", "a feature", name)
        kinds = {c.data.columns[name].type in ("category", "text") for name in pair}
        if len(kinds) == 2:
            yield wrong(path, "two numbers or two categories", " and ".join(c.data.columns[n].type for n in pair))
        if frozenset(pair) in seen or len(set(pair)) == 1:
            yield Problem(path, f"{' and '.join(pair)} interact already", "another pair", ", ".join(pair))
        seen.add(frozenset(pair))


def _window(c: Contract, window: Window, path: Path) -> Iterator[Problem]:
    columns = c.data.columns
    if c.data.time is None:
        yield Problem(path, "a window needs `data.time`, which says what is past", "data.time", "nothing")
    if window.name in columns or window.name == c.target.output:
        taken = f"{window.name!r} is a column already; give the window another name"
        yield Problem((*path, "name"), taken, "a new name", window.name)
    if (window.column is None) != (window.function == "count"):
        message = "`count` counts rows, so it has no `column`" if window.column else f"`{window.function}` needs one"
        yield Problem((*path, "column"), message, "a column, but for count", str(window.column), None, True)
    named: list[tuple[Path, str]] = [((*path, "by", place), name) for place, name in enumerate(window.by)]
    if window.column is not None:
        named.append(((*path, "column"), window.column))
    for place, name in named:
        column = columns.get(name)
        if column is None:
            yield unknown(place, "a column of data.columns", name, columns)
        elif name == c.target.output or name in _derived_from(c):
            yield Problem(place, f"{name!r} is the target, whose past need not be known yet", "no target", name)
        elif column.policy is not None or column.known_at == "after":
            why = f"policy {column.policy}" if column.policy else "known_at is after"
            yield Problem(place, f"{name!r} may not be a feature: {why}", "a feature", name)
        elif place[-1] == "column" and column.type not in ("integer", "number", "boolean"):
            yield wrong(place, "a column of numbers", f"{name!r} of type {column.type}")
