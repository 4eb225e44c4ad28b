"""What the words about data must mean together."""

import re
from collections import Counter
from collections.abc import Iterator

from kubeloop.contract.data import RESERVED_COLUMNS, Column, Data, Source, Terms
from kubeloop.contract.expressions import columns_of
from kubeloop.contract.findings import Path, Problem, unknown, wrong
from kubeloop.errors import InputError
from kubeloop.site.urls import refuse_password

_NUMERIC = ("integer", "number")
_BEYOND_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!]|P=|\()|(?<!\\)(?:\\\\)*\\[1-9]")
_TERMS = {"licence": "the name of a licence", "origin": "where the data comes from", "owner": "who owns the data"}
_LISTS: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "category": (str, int, float, bool),
    "text": (str,),
    "boolean": (bool,),
    "timestamp": (str,),
    "date": (str,),
}


def check_data(data: Data) -> Iterator[Problem]:
    """All that is wrong with the section `data`."""
    yield from _sources(data)
    yield from _joins(data)
    yield from _roles(data)
    yield from _terms(data)
    seen: dict[str, str] = {}
    for name, column in data.columns.items():
        path: Path = ("data", "columns", name)
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            twin = f"{name!r} differs from {other!r} in letter case only, which tables cannot tell apart"
            yield Problem(path, twin, "a name of its own", name, None, True)
        if name in RESERVED_COLUMNS:
            yield Problem(path, f"the name {name!r} is kept for Kubeloop's own use", "another name", name, None, True)
        yield from _column(name, column)
    if not data.columns:
        yield wrong(("data", "columns"), "at least one column", "none")


def _sources(data: Data) -> Iterator[Problem]:
    seen: Counter[str] = Counter()
    for place, source in enumerate(data.sources):
        path: Path = ("data", "sources", place)
        seen[source.name] += 1
        if seen[source.name] > 1:
            yield Problem(
                (*path, "name"), f"a second source is called {source.name!r}", "a name of its own", source.name
            )
        yield from _place(path, source)


def _place(path: Path, source: Source) -> Iterator[Problem]:
    """Where a source lies: a file, or a database with a query."""
    if (source.path is None) == (source.sql is None):
        expected, got = "either `path` or `sql`", "neither" if source.path is None else "both"
        yield Problem(path, f"{source.name!r} needs {expected}, it has {got}", expected, got)
    if source.path is not None and not source.path.strip():
        yield wrong((*path, "path"), "the path of a file", "nothing")
    for key in ("path", "sql"):
        try:
            refuse_password(key, getattr(source, key) or "")
        except InputError as error:
            # The value is never repeated: the finding goes to logs.
            yield Problem((*path, key), error.problem, "${secret:name}", "a password in clear", "${secret:name}")
    if source.sql is None:
        if source.query is not None:
            yield Problem((*path, "query"), "`query` is for a database, and there is no `sql`", "sql", "none", "sql")
        return
    if not source.sql.startswith(("sqlite:///", "postgresql://")):
        yield Problem(
            (*path, "sql"), "an address of a database was expected", "sqlite:///file or postgresql://...", "another"
        )
    if source.format is not None:
        yield Problem((*path, "format"), "`format` is for files, and this is a database", "no `format`", source.format)
    # The database is asked to read only; this is for the message.
    if not re.match(r"\s*\(*\s*(select|with)\b", source.query or "", re.I):
        yield Problem((*path, "query"), f"{source.name!r} needs a `query`: one SELECT", "SELECT ...", "none")


def _joins(data: Data) -> Iterator[Problem]:
    first, *others = [source.name for source in data.sources]
    joined = [join.source for join in data.joins]
    for place, join in enumerate(data.joins):
        path: Path = ("data", "joins", place)
        if join.source == first:
            yield Problem(
                (*path, "source"), f"{first!r} is the first source: others are joined to it", ", ".join(others), first
            )
        elif join.source not in others:
            yield unknown((*path, "source"), "a further source of data.sources", join.source, others)
        elif join.source in joined[:place]:
            yield Problem((*path, "source"), f"{join.source!r} is joined a second time", "once", join.source)
        if join.as_of is not None and data.time is None:
            yield Problem(
                (*path, "as_of"), "an as-of join needs `data.time`, the moment on the left", "data.time", "nothing"
            )
        if join.tolerance is not None and join.as_of is None:
            yield Problem(
                (*path, "tolerance"),
                "`tolerance` is for as-of joins, and there is no `as_of`",
                "as_of",
                "none",
                "as_of",
            )
    for place, name in enumerate(others, start=1):
        if name not in joined and name != first:
            expected = f"an entry of data.joins with `source: {name}`"
            yield Problem(("data", "sources", place), f"{name!r} is never joined; add {expected}", expected, "none")


def _roles(data: Data) -> Iterator[Problem]:
    named: list[tuple[Path, str]] = [(("data", "id", place), name) for place, name in enumerate(data.id)]
    roles = (("time", data.time), ("group", data.group), ("site", data.site))
    named += [(("data", role), name) for role, name in roles if name is not None]
    for path, name in named:
        column = data.columns.get(name)
        if column is None:
            yield unknown(path, "a column of data.columns", name, data.columns)
        elif column.policy == "deny":
            yield Problem(
                path, f"{name!r} is under policy deny, so it is never read", "a column that may be read", name
            )
    if len(set(data.id)) < len(data.id):
        yield Problem(("data", "id"), "a column stands here twice", "each once", ", ".join(data.id))
    if data.snapshot == "as_of" and data.time is None:
        message = "`snapshot: as_of` needs `data.time`, the moment of each row"
        yield Problem(("data", "snapshot"), message, "data.time", "nothing", None, True)
    time = data.columns.get(data.time or "")
    if time is not None and time.type not in ("timestamp", "date"):
        yield wrong(("data", "time"), "a column of type timestamp or date", f"{data.time!r} of type {time.type}")


def _column(name: str, column: Column) -> Iterator[Problem]:
    path: Path = ("data", "columns", name)
    for key, bound in (("minimum", column.minimum), ("maximum", column.maximum)):
        if bound is not None and column.type not in _NUMERIC:
            message = f"`{key}` is for the types integer and number, {name!r} is of type {column.type}"
            yield Problem((*path, key), message, "integer or number", column.type, None, True)
    if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
        message = f"minimum {column.minimum:g} is more than maximum {column.maximum:g}"
        yield Problem((*path, "minimum"), message, f"at most {column.maximum:g}", f"{column.minimum:g}")
    if column.pattern is not None:
        yield from _pattern(name, column, column.pattern)
    if not column.nullable and column.null_at_most is not None:
        message = f"`nullable: false` and `null_at_most` together: every row of {name!r} must have a value anyway"
        yield Problem((*path, "null_at_most"), message, "one of them", f"{column.null_at_most:g}", None, True)
    if column.policy == "deny":
        rules = ("unique", "pattern", "null_at_most", "minimum", "maximum", "values")
        for key in (key for key in rules if getattr(column, key) not in (None, False)):
            message = f"{name!r} is under policy deny, so it is never read, and no rule can be held against it"
            yield Problem((*path, key), message, f"no `{key}`", "one", None, True)
    yield from _values(name, column)


def _pattern(name: str, column: Column, pattern: str) -> Iterator[Problem]:
    path: Path = ("data", "columns", name, "pattern")
    if column.type not in ("category", "text"):
        message = f"`pattern` is for the types category and text, {name!r} is of type {column.type}"
        yield Problem(path, message, "category or text", column.type, None, True)
    if found := _BEYOND_RE2.search(pattern):
        got = found.group()
        yield wrong(path, "a regular expression without look-around and back references (RE2)", repr(got))
        return
    try:
        re.compile(pattern)
    except re.error as error:
        yield wrong(path, "a regular expression", f"{pattern!r} ({error})")


def _terms(data: Data) -> Iterator[Problem]:
    """Terms say where data comes from; where one source has them, each must."""
    places: list[tuple[Path, Terms | None]] = [(("data", "terms"), data.terms)]
    places += [(("data", "sources", place, "terms"), source.terms) for place, source in enumerate(data.sources)]
    for path, terms in places:
        for key in ("licence", "origin", "owner") if terms is not None else ():
            if not getattr(terms, key).strip():
                yield wrong((*path, key), _TERMS[key], "nothing")
    some = [source.name for source in data.sources if source.terms is not None]
    if not some or data.terms is not None:
        return
    for place, source in enumerate(data.sources):
        if source.terms is None:
            message = f"{source.name!r} has no terms, and {some[0]!r} has: by what right is it used? add `terms`"
            yield Problem(("data", "sources", place), message, "terms", "none")


def check_rules(data: Data, target: str) -> Iterator[Problem]:
    """All that is wrong with rules over several columns and checks of the whole table."""
    readable = [name for name, column in data.columns.items() if column.policy != "deny"]
    known = readable if target in data.columns else [*readable, target]
    seen: Counter[str] = Counter()
    for place, rule in enumerate(data.rules):
        path: Path = ("data", "rules", place)
        seen[rule.name] += 1
        if seen[rule.name] > 1:
            yield Problem((*path, "name"), f"a second rule is called {rule.name!r}", "a name of its own", rule.name)
        try:
            for name in columns_of(rule.expression):
                if name in data.columns and name not in readable:
                    denied = f"{name!r} is under policy deny, so it is never read"
                    yield Problem((*path, "expression"), denied, "a column that may be read", name)
                elif name not in known:
                    yield unknown((*path, "expression"), "a column of data.columns", name, known)
        except InputError as error:
            yield Problem((*path, "expression"), error.problem, error.fix, rule.expression)
    yield from _checks(data, readable)


def _checks(data: Data, readable: list[str]) -> Iterator[Problem]:
    checks = data.checks
    rows, group = checks.rows, checks.group_share_at_least
    if rows is not None and rows.at_least is not None and rows.at_most is not None and rows.at_least > rows.at_most:
        message = f"at_least {rows.at_least} is more than at_most {rows.at_most}"
        yield Problem(("data", "checks", "rows", "at_least"), message, f"at most {rows.at_most}", str(rows.at_least))
    if checks.fresh_within is not None and data.time is None:
        message = "`fresh_within` needs `data.time`, the moment of each row"
        yield Problem(("data", "checks", "fresh_within"), message, "data.time", "nothing", None, True)
    if group is not None and group.column not in readable:
        yield unknown(
            ("data", "checks", "group_share_at_least", "column"), "a column that is read", group.column, readable
        )
    if checks.change is not None and not checks.change.model_fields_set:
        yield wrong(("data", "checks", "change"), "a bound, such as `rows_at_most: 0.5`", "none")


def _values(name: str, column: Column) -> Iterator[Problem]:
    path: Path = ("data", "columns", name, "values")
    if column.values is None:
        return
    if not column.values:
        yield wrong(path, "at least one allowed value", "none")
    kinds = _LISTS[column.type]
    seen: set[str] = set()
    for place, value in enumerate(column.values):
        if type(value) not in kinds:
            shown = f"the text {value!r}" if isinstance(value, str) else str(value).lower()
            yield wrong((*path, place), f"a value that fits the type {column.type} of {name!r}", shown)
            continue
        if str(value) in seen:
            yield Problem((*path, place), f"{value!r} stands here twice", "each once", str(value))
        seen.add(str(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = column.minimum, column.maximum
            if (low is not None and value < low) or (high is not None and value > high):
                yield wrong((*path, place), "a value between minimum and maximum", f"{value:g}")
