"""Names and values as YAML that reads back as exactly what it was."""

import re
from collections.abc import Iterable

from kubeloop.contract.profile import Scalar

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ ./-]*(?<! )")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
# Also those that are words of YAML 1.1, for editors that still read it so.
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "y", "n", "null", "none", "nan", "inf"])


def scalar(value: Scalar) -> str:
    """A value; text is quoted wherever it could be taken for something else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else f'"{"".join(map(_escaped, value))}"'


def key(name: str) -> str:
    """A column's name as a key."""
    return scalar(name)


def sequence(values: Iterable[Scalar]) -> str:
    """A list on one line."""
    return f"[{', '.join(map(scalar, values))}]"


def comment(text: str) -> str:
    """Text that cannot end its comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable() and letter != "\ufeff":
        return letter
    number = ord(letter)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
