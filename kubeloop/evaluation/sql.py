"""The contract's expressions over rows, by DuckDB: it reads the rows that it is given, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def rows_in_sql(table: "pd.DataFrame") -> Iterator[Any]:
    """A connection with the table `test_rows`, in the order of the rows, and no way to anything outside."""
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("given_rows", table)
        connection.execute("CREATE TEMP TABLE test_rows AS SELECT * FROM given_rows")
        connection.unregister("given_rows")
        connection.execute("SET enable_external_access = false")
        yield connection


def compute(connection: Any, expression: str, kind: Literal["BOOLEAN", "DOUBLE"]) -> NDArray[Any]:
    """(n,) values of an expression; unknown ones are False, or NaN.

    Raises:
        duckdb.Error: The expression does not fit the table.
    """
    unknown = "false" if kind == "BOOLEAN" else "'nan'::DOUBLE"
    query = f"SELECT coalesce(CAST(({expression}) AS {kind}), {unknown}) AS found FROM test_rows ORDER BY rowid"  # noqa: S608
    return np.asarray(connection.execute(query).fetchnumpy()["found"])


def is_condition(connection: Any, expression: str) -> bool:
    """Whether an expression says yes or no."""
    found = connection.execute(f"SELECT typeof(({expression})) FROM test_rows LIMIT 1").fetchone()  # noqa: S608
    return found is not None and found[0] == "BOOLEAN"
