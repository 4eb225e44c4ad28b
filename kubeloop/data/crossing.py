"""What may not stand on both sides of a split: rows of one entity or group, and rows that are nearly the same."""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kubeloop.contract.sections import SplitSection
from kubeloop.data.placing import Placement
from kubeloop.errors import InputError

_TWINS_AT_MOST = 0.02
_FEWEST_TWINS = 5
_ROWS_LOOKED_AT = 500_000
_SPARE_BITS = 7.0

Words = npt.NDArray[np.uint64]


def crossings(section: SplitSection, rows: Any, placed: Placement) -> list[dict[str, Any]]:
    """Count what is on both sides.

    A split by time is exempt from refusal: to learn from an entity's past what its future will be is what the model is
    for. The counts are stated all the same.

    Returns:
        what (`entities`, `groups`, `twins`), count, text.

    Raises:
        InputError: Rows on both sides give the test away; with the counts.
    """
    found = [*_same_values(section, rows, placed), _twins(section, rows, placed)]
    for each in found:
        if each["leaks"] and placed.by != "time":
            raise InputError(
                f"{each['text']}: the test would measure what was learnt by heart", each["fix"], **each["evidence"]
            )
    return [{"what": each["what"], "count": each["count"], "text": each["text"]} for each in found]


def _same_values(section: SplitSection, rows: Any, placed: Placement) -> Iterator[dict[str, Any]]:
    pairs = [("entities", "entity", section.id, "split: {by: hash}, which keeps the rows of an id together")]
    if section.group is not None:
        pairs.append(("groups", "group", (section.group,), "split: {by: group}"))
    for what, single, names, fix in pairs:
        if not names or any(name not in rows.column_names for name in names):
            continue
        both, total = _on_both_sides(_mixed(_cells(rows.column(name)) for name in names), placed.test)
        yield {
            "what": what,
            "count": both,
            "leaks": both > 0,
            "text": f"{both:,} of {total:,} {what} ({', '.join(names)}) have rows on both sides of the split",
            "fix": f"keep the rows of one {single} together: {fix}",
            "evidence": {"columns": list(names), "on_both_sides": both, "of": total},
        }


def _twins(section: SplitSection, rows: Any, placed: Placement) -> dict[str, Any]:
    """Test rows that a development row resembles in everything: numbers to three digits, text without case and blanks.

    Rows of few bits are alike by chance; only those count whose values, taken as independent, would not meet a second
    time in a table of this size. The target must agree too.
    """
    apart = {
        *section.id,
        section.time,
        section.group,
        section.target.output,
        section.split.column if placed.by == "column" else None,
    }
    names = [name for name in rows.column_names if name not in apart and not name.startswith("_")]
    answer = _cells(rows.column(section.target.output))
    cells = (_cells(rows.column(name), rough=True) for name in names)
    whole = _mixed(chain(cells, [answer]))
    # Twins have one hash, so to look at every k-th hash looks at whole families.
    chosen = whole % np.uint64(max(1, math.ceil(len(whole) / _ROWS_LOOKED_AT))) == 0
    few = pa.array(chosen)
    looked_at = (rows.column(name).filter(few) for name in names)
    bits = sum((_bits(_cells(column, rough=True)) for column in looked_at), np.zeros(int(chosen.sum())))
    rare = bits >= 1.5 * math.log2(max(len(whole), 2)) + _SPARE_BITS
    test = placed.test[chosen]
    twin = test & rare & np.isin(whole[chosen], whole[chosen & ~placed.test])
    count, total = int(twin.sum()), int(test.sum())
    return {
        "what": "twins",
        "count": count,
        "leaks": count >= _FEWEST_TWINS and count > _TWINS_AT_MOST * total,
        "text": f"{count:,} of {total:,} test rows are near-duplicates of development rows",
        "fix": "remove the duplicates, or name in `data.id` what the copies have in common",
        "evidence": {"near_duplicates": count, "test_rows": total, "at_most": _TWINS_AT_MOST},
    }


def _cells(column: Any, *, rough: bool = False) -> Words:
    """(n,) one word per cell: equal words for equal cells, or for roughly equal ones."""
    kind = column.type
    if pa.types.is_floating(kind) or (rough and (pa.types.is_integer(kind) or pa.types.is_decimal(kind))):
        numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64) + 0.0
        numbers = _three_digits(numbers) if rough else numbers
        return np.where(np.isnan(numbers), np.float64(np.nan), numbers).view(np.uint64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.utf8_trim_whitespace(pc.utf8_lower(column)) if rough else column
    else:
        text = column.cast(pa.string())
    codes = pc.dictionary_encode(text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text).indices
    return np.asarray(pc.fill_null(codes.cast(pa.int64()), -1).to_numpy(zero_copy_only=False), np.int64).view(np.uint64)


def _three_digits(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        scale = 10.0 ** (np.floor(np.log10(np.abs(numbers))) - 2)
        rounded = np.round(numbers / scale) * scale
    return np.where(np.isfinite(rounded), rounded, numbers)


def _mixed(columns: Iterable[Words]) -> Words:
    """(n,) one word per row, by the finaliser of MurmurHash3 over its cells; one column at a time."""
    state: Words = np.zeros(1, np.uint64)
    for place, words in enumerate(columns):
        state = (state ^ words) + np.uint64(0x9E3779B97F4A7C15 * (place + 1) % 2**64)
        for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
        state ^= state >> np.uint64(33)
    return state


def _bits(words: Words) -> npt.NDArray[np.float64]:
    """(n,) how many bits each cell says: minus log2 of the share of rows with its value."""
    _, places, counts = np.unique(words, return_inverse=True, return_counts=True)
    return np.asarray(-np.log2(counts / max(len(words), 1))[places], np.float64)


def _on_both_sides(words: Words, test: npt.NDArray[np.bool_]) -> tuple[int, int]:
    values, places = np.unique(words, return_inverse=True)
    tested = np.bincount(places[test], minlength=len(values)) > 0
    learnt = np.bincount(places[~test], minlength=len(values)) > 0
    return int((tested & learnt).sum()), len(values)
