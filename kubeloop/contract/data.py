"""The contract's words about data: sources, joins, columns, rules, policy, terms."""

import datetime as dt
from typing import Literal

from pydantic import Field

from kubeloop.contract.base import Name, Strict
from kubeloop.contract.durations import Duration

ColumnType = Literal["integer", "number", "category", "boolean", "timestamp", "date", "text"]

RESERVED_COLUMNS = frozenset({"_bad", "_digest", "_personal", "_reasons", "_row", "_fold"})
"""Names that tables use for themselves on their way from task to task."""


class Terms(Strict):
    """By what right the data is used."""

    licence: str = Field(description="Name of the licence.")
    origin: str = Field(description="Where the data comes from.")
    owner: str = Field(description="Who owns the data.")
    expires: dt.date | None = Field(None, description="Last day of use, such as 2027-12-31.")


class Source(Strict):
    """Where rows come from."""

    name: Name = Field(description="Name of the source, for joins and messages.")
    path: str | None = Field(
        None, description="A file, relative to loop.yaml, or its address: https://, s3://, gs://; either this or `sql`."
    )
    format: Literal["csv", "parquet", "jsonl"] | None = Field(None, description="By the file's ending if not given.")
    sql: str | None = Field(
        None, description="A database: sqlite:///file or postgresql://user:${secret:name}@host/database."
    )
    query: str | None = Field(None, description="What is read from it: one SELECT.")
    terms: Terms | None = Field(None, description="By what right it is used; `data.terms` where not given.")


class Join(Strict):
    """How a further source is joined to the first one."""

    source: Name = Field(description="Name of the source that is joined.")
    on: tuple[str, ...] = Field(min_length=1, description="Columns whose values must be equal on both sides.")
    as_of: str | None = Field(None, description="Time column: take the latest row that is not from the future.")
    tolerance: Duration | None = Field(
        None, description="How much older than `data.time` that row may be, such as 3h; any age where not given."
    )


class Column(Strict):
    """A column: its type, the rules its values keep, who may see it, when it is known."""

    type: ColumnType = Field(description="What the values are; category, integer, number and boolean can be features.")
    minimum: float | None = Field(None, description="Smallest allowed value.")
    maximum: float | None = Field(None, description="Largest allowed value.")
    values: tuple[str | int | float | bool, ...] | None = Field(None, description="All allowed values.")
    pattern: str | None = Field(
        None, description="Regular expression (RE2) that the text must hold, such as ^[A-Z]{2}$."
    )
    unique: bool = Field(False, description="Whether no two rows may have the same value.")
    nullable: bool = Field(True, description="Whether a row may lack this value.")
    null_at_most: float | None = Field(None, ge=0, le=1, description="Largest share of rows that may lack this value.")
    policy: Literal["deny", "pii", "audit_only"] | None = Field(
        None,
        description="deny: never read; pii: personal, not learnt from or shown; audit_only: for the fairness report.",
    )
    known_at: Literal["decision", "after"] = Field(
        "decision", description="`after`: known only once the decision is made, so never a feature."
    )
    description: str = Field("", description="What it is, with its unit.")


class RowRule(Strict):
    """What the columns of a row must be together; where a value is missing and it cannot be told, the row keeps it."""

    name: Name = Field(description="Name of the rule, for messages.")
    expression: str = Field(description="Must hold in every row, such as `ended >= started`.")


class RowCount(Strict):
    """How many rows a snapshot must have."""

    at_least: int | None = Field(None, ge=1, description="Fewest rows.")
    at_most: int | None = Field(None, ge=1, description="Most rows.")


class GroupShare(Strict):
    """How much of the rows each group must make up."""

    column: str = Field(description="Column whose values are the groups.")
    share: float = Field(gt=0, le=0.5, description="Smallest share of rows of any group.")


class Change(Strict):
    """How far a snapshot may be from the last one that passed the data gate."""

    rows_at_most: float | None = Field(None, gt=0, description="Relative change of the number of rows: 0.5 is by half.")
    null_rate_at_most: float | None = Field(
        None, gt=0, le=1, description="Absolute change of a column's share of missing values."
    )
    mean_at_most: float | None = Field(
        None, gt=0, description="Change of a column's mean, in standard deviations of the last snapshot."
    )


class TableChecks(Strict):
    """What the table must be as a whole."""

    rows: RowCount | None = Field(None, description="How many rows there must be.")
    fresh_within: Duration | None = Field(
        None, description="How old the newest `data.time` may be when the run begins, such as 7d."
    )
    class_share_at_least: float | None = Field(
        None, gt=0, le=0.5, description="Smallest share of rows of any class of the target."
    )
    group_share_at_least: GroupShare | None = Field(None, description="Smallest share of rows of any group.")
    change: Change | None = Field(None, description="Against the last snapshot that passed.")


class Data(Strict):
    """Sources, joins, roles and columns."""

    sources: tuple[Source, ...] = Field(
        min_length=1, description="The first one gives the rows, the others are joined to it."
    )
    joins: tuple[Join, ...] = Field((), description="How every further source is joined.")
    snapshot: Literal["copy", "as_of"] = Field(
        "copy",
        description="as_of: only rows up to the moment of the run; moment and digest are kept and find them again.",
    )
    id: tuple[str, ...] = Field((), description="Columns that name an entity.")
    time: str | None = Field(None, description="Column with the moment of the decision.")
    group: str | None = Field(None, description="Column whose equal values belong together.")
    site: str | None = Field(None, description="Column with the place a row comes from.")
    columns: dict[str, Column] = Field(
        description="By name: the columns that are read; others are left where they are."
    )
    rules: tuple[RowRule, ...] = Field((), description="Rules over several columns of a row.")
    checks: TableChecks = Field(TableChecks(), description="What the table must be as a whole.")
    terms: Terms | None = Field(None, description="By what right the data is used.")
