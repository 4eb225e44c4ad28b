"""Problems that several chapters of the contract have in common."""

from collections import Counter
from collections.abc import Iterable, Iterator

from kubeloop.contract.expressions import check_expression
from kubeloop.contract.findings import Path, Problem
from kubeloop.contract.model import Contract
from kubeloop.errors import InputError


def repeated(words: Iterable[str], path: Path, what: str) -> Iterator[Problem]:
    """A problem for each word that came before."""
    seen: Counter[str] = Counter()
    for place, word in enumerate(words):
        seen[word] += 1
        if seen[word] > 1:
            yield Problem((*path, place), f"{what} {word!r} stands here twice", "each once", word)


def expression_problem(text: str, names: Iterable[str], path: Path) -> Iterator[Problem]:
    """What is wrong with an expression at `path`."""
    try:
        check_expression(text, list(names))
    except InputError as error:
        nearest = error.context.get("nearest")
        yield Problem(path, error.problem, error.fix, str(error.context.get("got", text)), nearest)


def ordered(low: float | None, high: float | None, path: Path, words: tuple[str, str]) -> Iterator[Problem]:
    """A problem where the low end of a range is above its high end."""
    if low is not None and high is not None and low > high:
        yield Problem(
            (*path, words[0]), f"{words[0]} {low:g} is more than {words[1]} {high:g}", f"at most {high:g}", f"{low:g}"
        )


def visible(c: Contract) -> list[str]:
    """Columns that expressions over finished tables may name: those that are kept, and the target."""
    kept = [name for name, column in c.data.columns.items() if column.policy != "deny"]
    return kept if c.target.output in kept else [*kept, c.target.output]
