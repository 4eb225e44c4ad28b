"""Values that the contract's rules do not list, or that training never saw: answered, counted, and named.

They are no mistake of the client: a model must answer for a patient older than any before. But nobody should take the
answer for more than it is, so the response names the columns in `x-kubeloop-outside`, and a metric counts them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kubeloop.learning.inputs import InputColumn
from kubeloop.scoring.errors import Unscorable

if TYPE_CHECKING:
    import pandas as pd

_INFINITE = float("inf")


class Rules:
    """The rules of a package's columns, for rows of plain cells and for frames.

    Args:
        schema: The columns.
    """

    def __init__(self, schema: Sequence[InputColumn]) -> None:
        self.names = [column["name"] for column in schema]
        self._checks = [
            (
                column["name"],
                -_INFINITE if column["minimum"] is None else column["minimum"],
                _INFINITE if column["maximum"] is None else column["maximum"],
                frozenset(column["categories"]) if column["kind"] == "category" and column["categories"] else None,
                column["kind"] == "category",
                column["nullable"],
            )
            for column in schema
        ]

    def outside(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        """The columns with a value outside their rules, of rows of JSON cells in the order of the schema.

        Raises:
            Unscorable: A cell that only the careful path can judge: missing where it must not be, text for a number.
        """
        if len(rows) == 1:
            return self._outside_one(rows[0])
        found: list[str] = []
        try:
            for values, (name, low, high, known, category, nullable) in zip(zip(*rows, strict=True), self._checks,
                                                                           strict=True):  # fmt: skip
                if category:
                    if known is None or known.issuperset(values):
                        if known is None and not nullable and None in values:
                            raise Unscorable
                        continue
                    if _unknown(values, known, nullable):
                        found.append(name)
                elif min(values) < low or max(values) > high:
                    found.append(name)
        except TypeError:
            return self._with_gaps(rows)
        return found

    def _outside_one(self, row: Sequence[Any]) -> list[str]:
        """As `outside`, for the commonest request of all."""
        found: list[str] = []
        try:
            for value, (name, low, high, known, category, nullable) in zip(row, self._checks, strict=True):
                if value is None:
                    if not nullable:
                        raise Unscorable
                elif not category:
                    if not low <= value <= high:
                        found.append(name)
                elif known is not None and value not in known and _unknown((value,), known, nullable):
                    found.append(name)
        except TypeError:
            raise Unscorable from None
        return found

    def _with_gaps(self, rows: Sequence[Sequence[Any]]) -> list[str]:
        """As `outside`, for rows in which a number is missing."""
        found: list[str] = []
        try:
            for values, (name, low, high, known, category, nullable) in zip(zip(*rows, strict=True), self._checks,
                                                                           strict=True):  # fmt: skip
                present = [value for value in values if value is not None]
                if len(present) < len(values) and not nullable:
                    raise Unscorable
                if category:
                    if known is not None and _unknown(present, known, nullable):
                        found.append(name)
                elif present and (min(present) < low or max(present) > high):
                    found.append(name)
        except TypeError:
            raise Unscorable from None
        return found

    def outside_frame(self, frame: "pd.DataFrame") -> list[str]:
        """The columns with a value outside their rules, of a frame that `to_frame` made."""
        found: list[str] = []
        for name, low, high, known, category, _ in self._checks:
            present = frame[name].dropna()
            if category:
                if known is not None and not present.isin(list(known)).all():
                    found.append(name)
            elif len(present) and not present.between(low, high).all():
                found.append(name)
        return found


def _unknown(values: Sequence[Any], known: frozenset[str], nullable: bool) -> bool:
    """Whether a category is not known.

    Raises:
        Unscorable: One is no text, or looks like a number: whether it equals a known one takes the careful path's rule.
    """
    strange = [value for value in values if value not in known]
    for value in strange:
        if type(value) is not str if value is not None else not nullable:
            raise Unscorable
        if value and value[0] in "-0123456789":
            raise Unscorable
    return any(value is not None for value in strange)
