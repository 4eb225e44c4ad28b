"""One engine, one process: `python engines.py ENGINE CSV FOLDER` reads, types, writes and judges the table, and prints
seconds, CPU seconds, peak memory and answers as JSON.

All do the same: typed columns to Parquet, rows that keep all rules to a second Parquet file, the count of rows that
break each rule. Ours also digests and profiles, keeps the broken rows with their reasons, and names bad cells.
"""

import json
import resource
import sys
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

REGIONS = ("north", "south", "east", "west", "centre")
COLUMNS: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "unique": True, "nullable": False},
    "age": {"type": "integer", "minimum": 18, "maximum": 120},
    "income": {"type": "number", "minimum": 0},
    "score": {"type": "number", "maximum": 1},
    "region": {"type": "category", "values": REGIONS},
    "code": {"type": "category", "pattern": "^C[0-9]{4}$"},
    "member": {"type": "boolean", "nullable": False},
    "started": {"type": "timestamp"},
    "ended": {"type": "timestamp"},
    "visits": {"type": "integer", "maximum": 40},
    "spend": {"type": "number", "maximum": 100},
    "note": {"type": "text"},
    "y": {"type": "integer", "values": (0, 1)},
}
KINDS = {"integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "timestamp": "TIMESTAMPTZ"}
LISTED = ", ".join(f"'{region}'" for region in REGIONS)
# In words of SQL; the unique key is the twelfth.
BROKEN = {
    "id null": "id IS NULL",
    "age low": "age < 18",
    "age high": "age > 120",
    "income": "income < 0",
    "score": "score > 1",
    "region": f"region NOT IN ({LISTED})",
    "code": "NOT regexp_full_match(code, 'C[0-9]{4}')",
    "member null": "member IS NULL",
    "order": "NOT (ended >= started)",
    "visits": "visits > 40",
    "spend": "spend > 100",
}


def write_csv(path: Path, rows: int) -> None:
    """About 120 bytes a row; ten rows in all break each rule, two share an id."""
    import duckdb

    draw = "(hash(i * 31 + {}) % {})"
    moment = "strftime(TIMESTAMP '2024-01-01' + to_seconds(CAST({} AS BIGINT)), '%Y-%m-%dT%H:%M:%SZ')"
    start = draw.format(1, 31_000_000)
    broken = f"i % {rows // 10} = {{}}"
    end = f"{start} + CASE WHEN {broken.format(19)} THEN -9 ELSE {draw.format(8, 100000)} END"
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute(
            f"""COPY (SELECT
            CASE WHEN i = {rows - 1} THEN 7 WHEN {broken.format(11)} THEN NULL ELSE i END AS id,
            CASE WHEN {broken.format(12)} THEN 3 WHEN {broken.format(13)} THEN 300
                 ELSE 18 + {draw.format(2, 70)} END AS age,
            CASE WHEN {broken.format(14)} THEN -1 ELSE round({draw.format(3, 1000000)} / 100.0, 2) END AS income,
            CASE WHEN {broken.format(15)} THEN 2 ELSE {draw.format(4, 1000000)} / 1e6 END AS score,
            CASE WHEN {broken.format(16)} THEN 'nowhere'
                 ELSE [{LISTED}][1 + CAST({draw.format(5, 5)} AS INTEGER)] END AS region,
            CASE WHEN {broken.format(17)} THEN 'X' ELSE 'C' || lpad(CAST({draw.format(6, 500)} AS VARCHAR), 4, '0')
                 END AS code,
            CASE WHEN {broken.format(18)} THEN NULL ELSE {draw.format(7, 2)} = 0 END AS member,
            {moment.format(start)} AS started,
            {moment.format(end)} AS ended,
            CASE WHEN {broken.format(20)} THEN 99 ELSE {draw.format(9, 40)} END AS visits,
            CASE WHEN {broken.format(21)} THEN 101 WHEN {draw.format(10, 20)} = 0 THEN NULL
                 ELSE round({draw.format(11, 10000)} / 100.0, 2) END AS spend,
            'note ' || CAST({draw.format(12, 1000000000)} AS VARCHAR) AS note,
            CAST({draw.format(13, 4)} = 0 AS INTEGER) AS y
            FROM range({rows}) AS t(i)) TO '{path}' (HEADER, DELIMITER ',')"""
        )


def ours(path: Path, folder: Path) -> list[int]:
    from kubeloop.contract.data import Data
    from kubeloop.contract.sections import IngestSection, ValidateSection
    from kubeloop.contract.target import Target
    from kubeloop.data.ingest import ingest
    from kubeloop.data.validation import validate
    from kubeloop.site.model import laptop

    data = Data.model_validate(
        {
            "sources": [{"name": "rows", "path": str(path)}],
            "columns": COLUMNS,
            "rules": [{"name": "order", "expression": "ended >= started"}],
        }
    )
    target = Target(column="y", task="binary")
    ingest(IngestSection(name="bench", data=data, target=target), laptop(folder / "home"), folder / "table")
    section = ValidateSection(name="bench", data=data, target=target, quarantine_at_most=0.05)
    _, facts = validate(section, folder / "table", folder / "valid", folder / "quarantine")
    broken = sorted(rule["broken"] for rule in facts["rules"] if rule["broken"])
    return [facts["rows"], facts["valid"], *broken]


def plain_duckdb(path: Path, folder: Path) -> list[int]:
    import duckdb

    types = ", ".join(f"'{name}': '{KINDS.get(str(c['type']), 'VARCHAR')}'" for name, c in COLUMNS.items())
    config: dict[str, Any] = {
        "memory_limit": "300MB",
        "temp_directory": str(folder / "spill"),
        "preserve_insertion_order": "true",
    }
    with duckdb.connect(config=config) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        scan = (
            f"read_csv('{path}', header = true, auto_detect = false, delim = ',', quote = '\"', columns = {{{types}}})"
        )
        table, valid = folder / "table.parquet", folder / "valid.parquet"
        form = "(FORMAT parquet, COMPRESSION zstd)"
        connection.execute(f"COPY (SELECT * FROM {scan}) TO '{table}' {form}").fetchall()
        counts = ", ".join(f"count_if({test})" for test in BROKEN.values())
        rows, *broken = connection.execute(f"SELECT count(*), {counts} FROM '{table}'").fetchall()[0]
        twice = f"SELECT id FROM '{table}' WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1"
        doubled = connection.execute(f"SELECT count(*) FROM '{table}' WHERE id IN ({twice})").fetchall()[0][0]
        bad = " OR ".join(f"coalesce({test}, false)" for test in BROKEN.values())
        kept = f"SELECT * FROM '{table}' WHERE NOT ({bad} OR coalesce(id IN ({twice}), false))"
        left = connection.execute(f"COPY ({kept}) TO '{valid}' {form}").fetchall()[0][0]
    return [rows, left, *sorted([*broken, doubled])]


def pandas(path: Path, folder: Path) -> list[int]:
    import pandas as pd

    kinds = {"integer": "Int64", "number": "float64", "boolean": "boolean"}
    types: dict[Hashable, str] = {name: kinds[str(c["type"])] for name, c in COLUMNS.items() if c["type"] in kinds}
    table = pd.read_csv(path, dtype=types, parse_dates=["started", "ended"])
    table.to_parquet(folder / "table.parquet", compression="zstd")
    broken = [
        table["id"].isna(),
        table["age"] < 18,
        table["age"] > 120,
        table["income"] < 0,
        table["score"] > 1,
        ~table["region"].isin(REGIONS),
        ~table["code"].str.fullmatch("C[0-9]{4}"),
        table["member"].isna(),
        table["ended"] < table["started"],
        table["visits"] > 40,
        table["spend"] > 100,
        table["id"].duplicated(keep=False) & table["id"].notna(),
    ]
    any_broken = broken[0].copy()
    for test in broken:
        any_broken |= test.fillna(False)
    table[~any_broken].to_parquet(folder / "valid.parquet", compression="zstd")
    return [len(table), int((~any_broken).sum()), *sorted(int(test.sum()) for test in broken)]


if __name__ == "__main__":
    engine, path, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    began = time.perf_counter()
    answers = {"ours": ours, "duckdb": plain_duckdb, "pandas": pandas}[engine](path, folder)
    took = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"seconds": took, "cpu": cpu, "peak_gb": used.ru_maxrss / 1e6, "answers": answers}))
