"""Read facts as they are: of an old, a partial or a damaged record, what has not the expected shape counts as absent.

No page may crash on a record, and no page may say what the record does not.
"""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any


def number(value: Any) -> float | None:
    """A finite number, else None; a bool is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def count(value: Any) -> int | None:
    """A whole number that is not negative, else None."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def text(value: Any) -> str | None:
    """Text that is not blank, else None; scalars are written out."""
    if isinstance(value, str):
        return value if value.strip() else None
    return None if value is None or isinstance(value, Mapping | Sequence) else shown(value)


def mapping(value: Any) -> dict[str, Any]:
    """A mapping with text keys, else an empty one."""
    return {str(key): found for key, found in value.items()} if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """A list, else an empty one; text is no list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else []


def mappings(value: Any) -> list[dict[str, Any]]:
    """The mappings in a list."""
    return [mapping(found) for found in items(value) if isinstance(found, Mapping)]


def numbers(value: Any) -> list[float]:
    """A list of finite numbers; empty if a single one is not."""
    found = [number(each) for each in items(value)]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) else []


def shown(value: Any) -> str:
    """A scalar for a person: three decimals, thousands apart, small and large numbers in powers of ten."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return minus(f"{value:,}")
    if isinstance(value, float):
        return minus(_float(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(found)}" for key, found in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(shown(found) for found in value)
    return str(value)


def minus(number: str) -> str:
    """A written number with a true minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")


def _float(value: float) -> str:
    size = abs(value)
    if size == 0 or 0.0005 <= size < 10:
        return f"{value + 0.0:.3f}"  # a zero below zero is a zero
    if size < 0.0005 or size >= 1e9:
        return f"{value:.1e}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.1f}"


def bare(value: Any) -> str:
    """A setting as its author wrote it: `0.0001` stays `0.0001`, and `1000` has no comma."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shown(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def asked(value: Any) -> str:
    """A bound as the contract has it: no digit more, thousands apart."""
    found = number(value)
    return shown(value) if found is None else minus(f"{found:,.12g}")


def percent(share: float) -> str:
    """A share in per cent; never rounds something to nothing, or nearly all to all."""
    value = share * 100
    if 0 < value < 0.1:
        return "< 0.1%"
    if 99.9 < value < 100:
        return "> 99.9%"
    return f"{value:.0f}%" if value in (0, 100) or value == round(value) else f"{value:.1f}%"


def plural(n: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2 rows`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def short(digest: Any) -> str | None:
    """The first twelve hex digits of a digest."""
    found = text(digest)
    return found.removeprefix("sha256-")[:12] if found else None


def moment(when: dt.datetime) -> str:
    """A time in UTC, to the second."""
    at = when.astimezone(dt.UTC) if when.tzinfo else when
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """Seconds for a person."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


_LOWER = ("rmse", "mae", "r2")


def sentence(words: str) -> str:
    """With a capital at the start and a stop at the end; a name in code form keeps its small letter."""
    head = words.split(" ", 1)[0]
    begun = words if not words or "_" in head or ":" in head or head in _LOWER else words[0].upper() + words[1:]
    return begun if not begun or begun.endswith((".", "!", "?", "\N{HORIZONTAL ELLIPSIS}")) else f"{begun}."


def halves(words: str) -> tuple[str, str]:
    """The first sentence, and what follows it: the first is shown larger."""
    first, stop, rest = words.partition(". ")
    return (f"{first}.", rest if rest.endswith((".", "!", "?")) else f"{rest}.") if stop else (words, "")
