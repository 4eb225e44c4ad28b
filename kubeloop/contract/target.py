"""The contract's words about what is predicted."""

from typing import Literal

from pydantic import Field

from kubeloop.contract.base import Strict

Task = Literal["binary", "multiclass", "regression"]


class Target(Strict):
    """What is predicted: a column, or an expression over columns. Rows with unknown target are dropped and counted."""

    column: str | None = Field(None, description="A column of the data; one of `column` and `expression`.")
    expression: str | None = Field(None, description="Derives the target from columns, such as `arr_delay > 15`.")
    name: str | None = Field(None, description="Name of a derived target.")
    task: Task = Field(description="binary and multiclass predict a class, regression predicts a number.")
    positive: str | int | float | bool | None = Field(None, description="The class of interest of a binary task.")

    @property
    def output(self) -> str:
        """The column that holds the target in every table after ingest."""
        return self.column or self.name or "target"
