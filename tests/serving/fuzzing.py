"""Bodies that are nearly right: mutations of valid V1 and V2 requests, by tree and by byte, drawn from a seed."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
KINDS = {"age": "FP64", "dose": "FP64", "ward": "BYTES", "smoker": "BOOL"}
V1: list[Any] = [
    {"instances": [ROW]},
    {"instances": [ROW, list(ROW.values())]},
    {"instances": [list(ROW.values())] * 3},
]
V2: list[Any] = [
    {"id": "r", "inputs": [{"name": n, "shape": [1], "datatype": KINDS[n], "data": [v]} for n, v in ROW.items()]},
    {"inputs": [{"name": "all", "shape": [2, 4], "datatype": "BYTES", "data": [*ROW.values(), *ROW.values()]}]},
    {"inputs": [{"name": "all", "shape": [1, 4], "datatype": "BYTES", "data": [list(ROW.values())]}],
     "outputs": [{"name": "probabilities"}]},
]  # fmt: skip
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, -(2**63), 2**64, 10**30, 0.0, -0.0, 5e-324, 1.7e308, 0.1,
    "", " ", "a", "1", "1.0", "-1e5", "NaN", "inf", "true", "\u0000", "\ud83d\ude00", "é" * 300, "age",
    "FP64", "INT8", "BOOL", "2024-01-01", [], {}, [[]], [{}], {"": None}, [None], ["north"], {"age": 1}, [[1, 2], [3]],
    "x" * 5000, [0] * 500,
]  # fmt: skip
_ENDS = (
    b"", b"\x00", b"\xff\xfe", b"}", b"]", b",", b'"', b"NaN", b"\xed\xa0\x80", b"1e999", b"\\u0000", b"/**/", b"  "
)  # fmt: skip


def bodies(seed: int, count: int) -> Iterator[tuple[bool, bytes]]:
    """Whether it is for V2, and the body; of each three two are valid JSON."""
    rng = random.Random(seed)
    for number in range(count):
        v2 = rng.random() < 0.5
        document = copy.deepcopy(rng.choice(V2 if v2 else V1))
        for _ in range(rng.randint(1, 3)):
            document = _mutated(document, rng)
        body = json.dumps(document).encode("utf-8", "replace")
        yield v2, body if number % 3 else _broken(body, rng)


def _mutated(document: Any, rng: random.Random) -> Any:
    """One place of the tree changed: another value, a place less, a place more, a key renamed, or all of it wrapped."""
    places = list(_places(document))
    if not places or rng.random() < 0.02:
        return rng.choice(STRANGE) if rng.random() < 0.5 else [document]
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(rng.choice([holder[key], *STRANGE])))
    elif kind == 2 and isinstance(holder, dict):
        holder[rng.choice([f"{key}x", key.upper(), "", "parameters", "instances", "inputs"])] = holder.pop(key)
    elif kind == 3:
        holder[key] = [holder[key]]
    elif kind == 4:
        other, place = rng.choice(places)
        if _at(other, place):
            holder[key] = copy.deepcopy(other[place])
    else:
        holder[key] = copy.deepcopy(rng.choice(STRANGE))
    return document


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    for key in keys:
        yield node, key
        yield from _places(node[key])


def _at(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _broken(body: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(body) + 1)
    kind = rng.randrange(4)
    if kind == 0:
        return body[:at] + rng.choice(_ENDS)
    if kind == 1:
        return body[:at] + rng.choice(_ENDS) + body[at:]
    if kind == 2:
        return body[:at] + bytes(rng.randrange(256) for _ in range(3)) + body[at + 3 :]
    return body[at:] + body[:at]
