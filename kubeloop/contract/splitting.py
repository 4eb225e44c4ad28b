"""The contract's words about which rows are kept apart."""

from typing import Literal

from pydantic import Field

from kubeloop.contract.base import Strict


class Split(Strict):
    """How rows are kept apart. `hash`: by the id columns, by the whole row where there is no id; no row ever moves."""

    by: Literal["hash", "time", "group", "stratified", "column"] = Field(
        "hash",
        description="hash: a row never changes sides, whatever rows are added; time: the latest rows are the test; "
        "group: by a hash of a column, whose equal values stay together; stratified: the same share of every class; "
        "column: the data says it.",
    )
    column: str | None = Field(
        None,
        description="group: the column (`data.group` if not given); stratified: the column of the strata (the target "
        "if not given); column: the one with the fold, where `test`, true or the highest number marks the test rows.",
    )
    test: float = Field(0.2, gt=0, lt=1, description="Share of rows that only `evaluate` may read.")
    unit: Literal["day", "hour", "row"] = Field(
        "day", description="For `time`: the cut falls between whole days or hours (UTC), or rows of equal time."
    )
    folds: int = Field(5, ge=2, le=20, description="Parts for cross-validation on the development rows.")
