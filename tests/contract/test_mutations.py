"""A contract spoilt at random is read, or refused with places; it never makes reading fail."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeloop.contract.load import read_contract
from kubeloop.errors import InputError

WORDS = ["null", "[]", "{}", "5", "-1", "x", "true", "1e3", ".nan", '"', "{a:b}", "no", "-"]
WORDS += ["*a", "&a", "!!str", "binary", "target", "age", "${secret:a}", ":", ",", "#"]


def spoil(text: str, chance: random.Random) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        parts = re.split(r"(\W)", lines[at])
        parts[chance.randrange(len(parts))] = chance.choice(WORDS)
        kind = chance.choice(("gone", "value", "twice", "word", "moved"))
        if kind == "gone":
            del lines[at]
        elif kind == "twice":
            lines.insert(at, chance.choice(lines))
        else:
            value = re.sub(r": [^{\[].*$", lambda _: f": {chance.choice(WORDS)}", lines[at], count=1)
            moved = "  " * chance.randint(0, 3) + lines[at].strip()
            lines[at] = {"value": value, "word": "".join(parts), "moved": moved}[kind]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_reading_survives(seed: int, root: Path, write: Callable[[str | bytes], Path]) -> None:
    text = (root / "examples" / "heart" / "loop.yaml").read_text("utf-8")
    chance = random.Random(seed)
    refused = [error for _ in range(40) if (error := tried(write(spoil(text, chance)))) is not None]
    assert len(refused) > 20
    for error in refused:
        assert re.match(r".+loop.yaml:\d+:\d+", str(error)), error
        assert error.fix


def tried(path: Path) -> InputError | None:
    try:
        read_contract(path)
    except InputError as error:
        return error
    return None
