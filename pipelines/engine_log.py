"""What the log of kfp.local tells of tasks that could write no record themselves."""

import re

_CACHE_HIT = re.compile(r"Task (\S+) cache hit")
_COLOUR = re.compile(r"\x1b\[\d*m")
_BROKE = re.compile(r"Task '([\w-]+)' finished with status FAILURE")
_RAISED = re.compile(r"^\s*(?:\w+\.)*(\w*(?:Error|Exception))\b", re.MULTILINE)


def from_cache(text: str) -> list[str]:
    """Tasks that came from the cache: they ran nothing that could have written a record."""
    return list(dict.fromkeys(name.replace("-", "_") for name in _CACHE_HIT.findall(text)))


def broken(text: str) -> tuple[str, str] | None:
    """The task that broke first, and the kind of its error; None where the log names none.

    What the error says is left in the log: it can hold values of rows.
    """
    plain = _COLOUR.sub("", text)
    found = _BROKE.search(plain)
    if found is None:
        return None
    raised = _RAISED.findall(plain[: found.start()])
    return found[1].replace("-", "_"), raised[-1] if raised else "no error that it could name"
