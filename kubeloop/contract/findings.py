"""What is wrong with a contract: every finding with its place, all of them in one error."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from kubeloop.errors import InputError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """Something wrong at a path of the contract, wherever the contract came from.

    Attributes:
        path: Keys and list positions from the top.
        message: One sentence for a person.
        expected: What would have been right.
        got: What was there, as written; never a secret.
        nearest: The nearest valid word.
        at_key: Whether the key is wrong, and not its value.
    """

    path: Path
    message: str
    expected: str = ""
    got: str = ""
    nearest: str | None = None
    at_key: bool = False


@dataclass(frozen=True)
class Finding:
    """A problem at its place in a file; line and column count from 1, and are None when there is no file."""

    problem: Problem
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line}:{self.column}"
        subject = ": ".join(part for part in (" ".join(filter(None, (place, dotted(self.problem.path)))),) if part)
        return f"{subject}: {self.problem.message}" if subject else self.problem.message

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        p = self.problem
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": dotted(p.path),
            "expected": p.expected,
            "got": p.got,
            "nearest": p.nearest,
            "message": p.message,
        }


class ContractError(InputError):
    """All that is wrong with a contract; `context["findings"]` lists it.

    Args:
        problem: The first finding, and how many there are.
        fix: What to do.
        context: `findings`, and the place of the first one.
    """

    def __str__(self) -> str:
        lines = [str(finding["text"]) for finding in self.context.get("findings", ())]
        return "\n".join([*(lines or [self.problem]), f"  fix: {self.fix}"])

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON types; it is an `InputError` to whoever reads it."""
        return super().to_dict() | {"class": "InputError"}


def contract_error(findings: Sequence[Finding], fix: str | None = None) -> ContractError:
    """One error out of at least one finding."""
    first, rest = findings[0], len(findings) - 1
    more = f" (and {rest} more)" if rest else ""
    place = {} if first.file is None else {"file": first.file, "line": first.line, "column": first.column}
    return ContractError(
        f"{first}{more}",
        fix or ("correct this place" if not rest else f"correct these {rest + 1} places"),
        findings=[finding.to_dict() | {"text": str(finding)} for finding in findings],
        **place,
    )


def dotted(path: Path) -> str:
    """`data.sources[0].path`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def near(word: str, words: Iterable[str]) -> str | None:
    """The nearest of `words`, letter case aside; None when none is near."""
    folded = {other.casefold(): other for other in words}
    found = get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.55)
    return folded[found[0]] if found else None


def hint(nearest: str | None) -> str:
    """`; did you mean 'x'?`, or nothing."""
    return "" if nearest is None else f"; did you mean {nearest!r}?"


def listed(words: Iterable[str], most: int = 12) -> str:
    """`a, b, c and 3 more`."""
    found = list(words)
    shown = ", ".join(found[:most])
    return shown if len(found) <= most else f"{shown} and {len(found) - most} more"


def unknown(path: Path, what: str, word: str, words: Iterable[str]) -> Problem:
    """A word that names nothing: `what` says what it should have named, such as `a column of data.columns`."""
    known = list(words)
    close = near(word, known)
    tail = hint(close) if close else f"; known are: {listed(known)}" if known else "; there is none"
    return Problem(path, f"{word!r} is not {what}{tail}", expected=what, got=word, nearest=close)


def wrong(path: Path, expected: str, got: str, nearest: str | None = None, *, at_key: bool = False) -> Problem:
    """A value that is not what was expected."""
    return Problem(path, f"expected {expected}, got {got}{hint(nearest)}", expected, got, nearest, at_key)


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` overridden by `over`: mappings key by key, everything else as a whole; null takes a key away."""
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = value
    return merged
