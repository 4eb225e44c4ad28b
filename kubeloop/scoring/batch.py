"""Score a file of any size: read in batches, bounded memory, taken up again where a killed run stopped.

Each batch's answers are kept beside the output until all are there; a batch that is there is not scored again. A row
that the schema refuses gets no answer (nulls, so that rows still line up) and a line with its reason in the quarantine.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kubeloop.digests import canonical_json
from kubeloop.errors import InputError
from kubeloop.learning.inputs import InputColumn, cells, to_frame
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.scorer import Scorer

if TYPE_CHECKING:
    from kubeloop.learning.answers import Answers

BATCH = 65_536
"""Rows of a batch."""
FORMAT = 1

_LOOK = 256
_SECONDS = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


class Model(Protocol):
    """What batch scoring needs of a package."""

    @property
    def digest(self) -> str:
        """Its identity."""

    @property
    def task(self) -> str:
        """`binary`, `multiclass` or `regression`."""

    @property
    def schema(self) -> list[InputColumn]:
        """Its features."""

    @property
    def classes(self) -> list[Any]:
        """The classes in the order of the probabilities; empty in regression."""

    def predict(self, rows: Any) -> "Answers":
        """Answers of scikit-learn."""


@dataclass(frozen=True)
class Scored:
    """What came of a file.

    Attributes:
        rows: How many it has.
        refused: How many of them have no answer.
        taken_up: How many were scored by an earlier run that was stopped.
        quarantine: Where the reasons are; None without a refused row.
        evaluator: `native`, `numpy` or `scikit-learn`.
    """

    rows: int
    refused: int
    taken_up: int
    quarantine: Path | None
    evaluator: str


def score_file(
    model: Model,
    scorer: Scorer | None,
    source: Path,
    out: Path,
    batch: int = BATCH,
    work: tuple[Path, str] | None = None,
) -> Scored:
    """Score a CSV or Parquet file into another; `out` appears whole or not at all.

    Args:
        model: The package.
        scorer: Of its plan; None: scikit-learn scores.
        source: A .csv or .parquet file with the model's columns; further ones are left out.
        out: A .csv or .parquet file: `prediction`, and `probability_<class>` for each class.
        batch: Rows to work on at a time.
        work: Folder of the batches that are done, and what the source is known by, where another run may find its rows
            at another place; beside `out`, and by path, size and time where not given.

    Raises:
        InputError: A column is missing, or a file is not what its ending says.
    """
    import pyarrow as pa

    parts = work[0] if work else out.with_name(f"{out.name}.parts")
    identity = {"source": work[1]} if work else _identity(source)
    _same_work(parts, {"format": FORMAT, "package": model.digest, "batch": batch, **identity})
    rows = taken_up = 0
    try:
        for number, table in enumerate(_batches(source, model.schema, batch)):
            place = parts / f"{number:08d}.arrow"
            if place.exists():
                taken_up += table.num_rows
            else:
                answers, refused = _score(model, scorer, table, rows)
                _write_part(place, answers, refused)
            rows += table.num_rows
    except pa.ArrowInvalid as error:
        raise InputError(f"{source} cannot be read as {source.suffix}: {error}", "give CSV or Parquet") from error
    refused_rows, quarantine = _finish(parts, out, model)
    return Scored(rows, refused_rows, taken_up, quarantine, scorer.evaluator if scorer else "scikit-learn")


def _identity(source: Path) -> dict[str, Any]:
    found = source.stat()
    return {"source": str(source.resolve()), "size": found.st_size, "changed": found.st_mtime_ns}


def _same_work(parts: Path, work: dict[str, Any]) -> None:
    """Keep what an earlier run of the very same work left, and nothing else."""
    told = parts / "work.json"
    text = canonical_json(work)
    if told.is_file() and told.read_text(encoding="ascii") == text:
        return
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    told.write_text(text, encoding="ascii")


def _batches(source: Path, schema: Sequence[InputColumn], batch: int) -> Iterator[Any]:
    """Record batches of the model's columns."""
    import pandas as pd
    import pyarrow.parquet as pq

    names = [column["name"] for column in schema]
    if source.suffix == ".parquet":
        to_frame(pd.DataFrame(columns=pq.read_schema(source).names), schema)  # says which column is missing
        texts = [column["name"] for column in schema if column["kind"] == "category"]
        with pq.ParquetFile(source, read_dictionary=texts, pre_buffer=False) as file:
            yield from file.iter_batches(batch, columns=names, use_threads=False)
        return
    yield from _csv_batches(source, schema, batch)


def _csv_batches(source: Path, schema: Sequence[InputColumn], batch: int) -> Iterator[Any]:
    """As text: what a cell is, the schema decides, and a wrong one is a row's mistake and not the file's."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.csv as pc

    from kubeloop.data.csv_files import MISSING, read_header

    header = read_header(source, str(source))
    names = [column["name"] for column in schema]
    convert = pc.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=names,
        null_values=list(MISSING),
        strings_can_be_null=True,
    )
    parse = pc.ParseOptions(delimiter=header.delimiter)
    given = pd.read_csv(source, sep=header.delimiter, nrows=0, encoding="utf-8-sig")
    to_frame(given, schema)
    read = pc.ReadOptions(use_threads=False, block_size=1 << 22)
    with pc.open_csv(source, read, parse, convert) as reader:
        for table in reader:
            yield from (table.slice(start, batch) for start in range(0, table.num_rows, batch))


def _score(model: Model, scorer: Scorer | None, table: Any, before: int) -> tuple[Any, list[tuple[int, str, str]]]:
    """Answers to a batch as an Arrow table, and (row from 1, column, reason) of those that have none."""
    size = table.num_rows
    columns = [table.column(place) for place in range(table.num_columns)]
    if scorer is not None:
        try:
            inputs = np.empty((len(columns), size))
            for place, (values, column) in enumerate(zip(columns, model.schema, strict=True)):
                _encode(scorer, place, values, column, inputs[place])
            return _answers(scorer.score_encoded(inputs), np.ones(size, dtype=bool), model), []
        except Unscorable:
            pass  # some row needs a closer look
    plain = [_plain(values, column) for values, column in zip(columns, model.schema, strict=True)]
    refused = _refused(plain, model.schema)
    kept = np.array([row not in refused for row in range(size)], dtype=bool)
    rows = [[values[row] for values in plain] for row in np.flatnonzero(kept).tolist()]
    found, beyond = _by_row(model, scorer, rows)
    for place in beyond:
        row = int(np.flatnonzero(kept)[place])
        refused[row] = ("", "the model takes no number that large")
    keep = [place for place in range(len(rows)) if place not in beyond]
    kept[np.flatnonzero(kept)[list(beyond)]] = False
    told = [(before + row + 1, *refused[row]) for row in sorted(refused)]
    return _answers(found[keep], kept, model), told


def _encode(scorer: Scorer, place: int, values: Any, column: InputColumn, out: NDArray[np.float64]) -> None:
    """One Arrow column as the plan reads it; categories and texts once for each distinct value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, of = column["kind"], values.type
    if kind == "category" or (kind != "number" and pa.types.is_string(of)):
        coded = values if pa.types.is_dictionary(of) else pc.dictionary_encode(values)
        distinct = _plain(coded.dictionary, column)
        if coded.null_count or not distinct:
            distinct.append(None)
        codes = np.empty(len(distinct))
        scorer.encode(place, distinct, codes)
        indices = coded.indices.fill_null(len(distinct) - 1) if coded.null_count else coded.indices
        np.take(codes, indices.to_numpy(zero_copy_only=False), out=out)
        return
    if kind == "number" and pa.types.is_string(of):
        try:
            values = pc.cast(values, pa.float64())
        except pa.ArrowInvalid:
            raise Unscorable from None
        of = values.type
    if kind == "number" and (pa.types.is_integer(of) or pa.types.is_floating(of)):
        numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        scorer.encode(place, numbers, out)
        return
    scorer.encode(place, values.to_pylist(), out)


def _plain(values: Any, column: InputColumn) -> list[Any]:
    """Cells as the schema's rule takes them; seconds since 1970 come as text from a CSV file."""
    found: list[Any] = values.to_pylist()
    if column["kind"] != "timestamp":
        return found
    return [float(cell) if isinstance(cell, str) and _SECONDS.fullmatch(cell) else cell for cell in found]


def _refused(columns: Sequence[list[Any]], schema: Sequence[InputColumn]) -> dict[int, tuple[str, str]]:
    """Row to column and reason, of rows that the schema refuses; of a row's mistakes the first column's."""
    found: dict[int, tuple[str, str]] = {}
    for values, column in zip(columns, schema, strict=True):
        for start in range(0, len(values), _LOOK):
            row, end = start, min(start + _LOOK, len(values))
            while row < end:
                try:
                    cells(values[row:end], column)
                    break
                except InputError as error:
                    row += int(error.context["row"])
                    reason = error.problem.partition(f"row {error.context['row']}: ")[2]
                    found.setdefault(row - 1, (column["name"], reason))
    return found


def _by_row(model: Model, scorer: Scorer | None, rows: list[list[Any]]) -> tuple[NDArray[np.float64], set[int]]:
    """Answers to valid rows, and those that the model cannot take."""
    width = max(1, len(model.classes))
    found, beyond = np.empty((len(rows), width)), set[int]()
    if scorer is None:
        try:
            return _numbers(model.predict(rows)) if rows else found, beyond
        except ValueError:
            pass  # scikit-learn does not say which row
    for place, row in enumerate(rows):
        try:
            found[place] = scorer.score_rows([row])[0] if scorer else _numbers(model.predict([row]))[0]
        except (Unscorable, ValueError):
            try:
                found[place] = _numbers(model.predict([row]))[0]
            except ValueError:
                beyond.add(place)
    return found, beyond


def _numbers(answers: "Answers") -> NDArray[np.float64]:
    found = answers.values if answers.probabilities is None else answers.probabilities
    assert found is not None
    return found.reshape(len(answers), -1)


def _answers(found: NDArray[np.float64], kept: NDArray[np.bool_], model: Model) -> Any:
    """Answers as an Arrow table; rows that were not kept are null."""
    import pyarrow as pa

    whole, mask = found, None
    if not kept.all():
        whole, mask = np.zeros((len(kept), found.shape[1])), ~kept
        whole[kept] = found
    if not model.classes:
        return pa.table({"prediction": pa.array(whole[:, 0], mask=mask)})
    labels = pa.array(whole.argmax(axis=1), mask=mask)
    made = {"prediction": pa.array(model.classes).take(labels)}
    for place, label in enumerate(model.classes):
        made[f"probability_{label}"] = pa.array(np.ascontiguousarray(whole[:, place]), mask=mask)
    return pa.table(made)


def _write_part(place: Path, answers: Any, refused: list[tuple[int, str, str]]) -> None:
    """The reasons first: a part that is there has them."""
    import pyarrow as pa

    if refused:
        place.with_suffix(".json").write_text(json.dumps(refused), encoding="ascii")
    beside = place.with_suffix(".tmp")
    with pa.OSFile(str(beside), "wb") as sink, pa.ipc.new_file(sink, answers.schema) as writer:
        writer.write_table(answers)
    beside.replace(place)


def _finish(parts: Path, out: Path, model: Model) -> tuple[int, Path | None]:
    """Put the parts together, and take them away."""
    import pandas as pd
    import pyarrow as pa

    refused: list[list[Any]] = []
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    writer: Any = None
    for place in sorted(parts.glob("*.arrow")):
        with pa.memory_map(str(place)) as held:
            table = pa.ipc.open_file(held).read_all()
            writer = writer or _writer(beside, table.schema)
            writer.write_table(table)
        told = place.with_suffix(".json")
        refused += json.loads(told.read_text(encoding="ascii")) if told.is_file() else []
    if writer is None:
        empty = _answers(np.empty((0, max(1, len(model.classes)))), np.empty(0, dtype=bool), model)
        writer = _writer(beside, empty.schema)
    writer.close()
    quarantine = out.with_name(f"{out.stem}.quarantine.csv")
    quarantine.unlink(missing_ok=True)
    if refused:
        pd.DataFrame(refused, columns=["row", "column", "reason"]).to_csv(quarantine, index=False)
    beside.replace(out)
    shutil.rmtree(parts)
    return len(refused), quarantine if refused else None


def _writer(place: Path, schema: Any) -> Any:
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    # The suffix is that of the output, behind the process's number.
    if ".parquet." in place.name:
        return pq.ParquetWriter(place, schema, use_dictionary=["prediction"], compression="snappy")
    return pc.CSVWriter(place, schema, write_options=pc.WriteOptions(quoting_style="needed"))
