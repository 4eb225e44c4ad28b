"""Expressions over columns: a small, safe part of SQL (derived targets, slices, KPIs).

Columns, literals, `+ - * / // %`, comparisons, `and or not`, `in (...)`, `between`, `is null`, `case`, and the
functions abs, coalesce, greatest, least, lower, round, upper. Nothing else is taken: no other function, no subquery, no
cast, no comment, no second statement.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from kubeloop.contract.findings import hint, listed, near
from kubeloop.errors import InputError

LONGEST = 2_000
FUNCTIONS = ("abs", "coalesce", "greatest", "least", "lower", "round", "upper")
_MEND = (
    "write columns, numbers, 'text' in single quotes, comparisons, and/or/not, in (...), between, is null, case, or "
    f"one of the functions {', '.join(FUNCTIONS)}"
)


def check_expression(text: str, names: Collection[str]) -> None:
    """Refuse an expression that is not made of the allowed parts, or names an unknown column.

    Args:
        text: Such as `arr_delay > 15`; a name with blanks goes in double quotes, text in single quotes.
        names: Columns, and whatever else may be named; letters count as written.

    Raises:
        InputError: What is wrong, and the nearest valid word.
    """
    for name in columns_of(text):
        if name not in names:
            close = near(name, names)
            tail = hint(close) if close else f"; known are: {listed(sorted(names))}"
            raise _refused(
                text,
                f"{name!r} is not a known column{tail}",
                "correct the name; write text in single quotes, and a name with blanks in double quotes",
                got=name,
                nearest=close,
            )


def columns_of(text: str) -> tuple[str, ...]:
    """The names that an expression uses, each once, in their order.

    Raises:
        InputError: It is not made of the allowed parts.
    """
    if not text.strip():
        raise _refused(text, "an expression was expected, got nothing", _MEND)
    if len(text) > LONGEST:
        raise _refused(text[:40], f"at most {LONGEST:,} characters were expected, got {len(text):,}", "shorten it")
    return _parsed(text)


@lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[str, ...]:
    from sqlglot import exp, parse
    from sqlglot.errors import SqlglotError

    try:
        tokens = _tokens(text)
        if any(token.comments for token in tokens) or any(mark in text and _bare(text, mark) for mark in ("--", "/*")):
            raise _refused(text, "an expression was expected, got a comment in it", "leave the comment out")
        if any(token.token_type.name == "SEMICOLON" for token in tokens):
            raise _refused(text, "one expression was expected, got a ';'", "leave the ';' out")
        trees = parse(text, dialect="duckdb")
    except SqlglotError as error:
        said = str(error.args[0]).split(". Line")[0].split("\n")[0].rstrip(".")
        raise _refused(text, f"is no expression ({said})", _MEND) from error
    except RecursionError as error:
        raise _refused(text, "is nested too deep", "take it apart, or use fewer parentheses") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Expression):
        raise _refused(text, "is no expression", _MEND)
    return tuple(_names(tree, text))


def _tokens(text: str) -> list[Any]:
    from sqlglot.dialects import DuckDB

    return list(DuckDB().tokenize(text))


def _bare(text: str, mark: str) -> bool:
    """Whether a mark stands outside quotes; a comment alone leaves no token that could carry it."""
    quote = ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif text.startswith(mark, place):
            return True
    return False


def _allowed() -> tuple[type, ...]:
    from sqlglot import exp

    operators = (exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In)
    arithmetic = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Between)
    functions = (exp.Abs, exp.Coalesce, exp.Greatest, exp.Least, exp.Lower, exp.Round, exp.Upper)
    leaves = (exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Case, exp.If)
    return (*operators, *arithmetic, *functions, *leaves)


def _names(tree: Any, text: str) -> list[str]:
    from sqlglot import exp

    allowed, found = _allowed(), dict[str, None]()
    for node in tree.walk(bfs=False):
        here = type(node) in allowed
        if isinstance(node, exp.If):
            here = isinstance(node.parent, exp.Case)
        elif isinstance(node, exp.Column):
            here = node.table == "" and isinstance(node.this, exp.Identifier)
            found[node.name] = None
        elif isinstance(node, exp.In):
            here = bool(node.expressions) and not any(node.args.get(key) for key in ("query", "unnest", "field"))
        elif isinstance(node, exp.Between):
            here = not node.args.get("symmetric")
        if not here:
            raise _refused(text, f"{_shown(node)} is not allowed in an expression{_instead(node)}", _MEND)
    return list(found)


def _shown(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Func) and not isinstance(node, exp.Cast | exp.If):
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        return f"the function {name.lower()}"
    written = node.sql(dialect="duckdb")
    return repr(written if len(written) <= 60 else f"{written[:57]}...")


def _instead(node: Any) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return hint(near(node.name, FUNCTIONS))
    return "; write case when ... then ... else ... end" if isinstance(node, exp.If) else ""


def _refused(text: str, problem: str, fix: str, **context: Any) -> InputError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return InputError(f"expression `{shown}`: {problem}", fix, expression=shown, **context)
