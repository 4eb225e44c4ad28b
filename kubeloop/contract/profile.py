"""What a table looks like, in the shape that `data.profile` writes and `contract.infer` reads."""

from typing import Literal

from kubeloop.contract.base import Strict

Scalar = str | int | float | bool
FEW = 50
"""Up to so many distinct values, a profile lists them all."""


class ColumnProfile(Strict):
    """One column of a table.

    Attributes:
        name: The column's name, as the file has it.
        type: What the values are; strings are `text` here, whether they are categories is decided in `infer`.
        nulls: Rows without a value.
        distinct: Different values, nulls not counted.
        minimum: Smallest value: a number, or ISO 8601 text for `timestamp` (UTC) and `date`; None for the other types
            and for a column of nulls.
        maximum: Largest value, like `minimum`.
        values: All distinct values, the most frequent first (ties by value), if there are at most `FEW`; else empty.
            Empty too for `timestamp` and `date`.
        constant: At most one distinct value and no nulls beside it, or nothing but nulls.
        id_like: Looks like a name of the row: distinct in every row and no measurement (text, or whole numbers).
        numbers: Of a column of text, the cells that are numbers.
        words: Of a column of text with numbers, examples of cells that are none.
        date_format: How the dates are written that a column of text or whole numbers holds, such as `%d.%m.%Y`.
        number_format: How the numbers are written that a column of text holds: `1,234.5` or `1.234,5`.
        tells: How well the column alone tells the target on held-out rows, 1 is always; None where not looked at.
        leaks: Whether that is too good to be true.
        after_time: Share of the moments of a time column that are later than the decision.
    """

    name: str
    type: Literal["integer", "number", "boolean", "timestamp", "date", "text"]
    nulls: int
    distinct: int
    minimum: int | float | str | None = None
    maximum: int | float | str | None = None
    values: tuple[Scalar, ...] = ()
    constant: bool = False
    id_like: bool = False
    numbers: int = 0
    words: tuple[str, ...] = ()
    date_format: str | None = None
    number_format: Literal["1,234.5", "1.234,5"] | None = None
    tells: float | None = None
    leaks: bool = False
    after_time: float | None = None


class TableProfile(Strict):
    """A table: how many rows, and its columns in the file's order."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile | None:
        """The column of that name, if there is one."""
        return next((column for column in self.columns if column.name == name), None)
