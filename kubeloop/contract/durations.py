"""Lengths of time as a contract writes them: `90s`, `30min`, `3h`, `7d`."""

import datetime as dt
from typing import Annotated

from pydantic import StringConstraints

Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}(s|min|h|d)$")]

_SECONDS = {"s": 1, "min": 60, "h": 3_600, "d": 86_400}


def length_of(text: str) -> dt.timedelta:
    """A duration of the contract; days have 24 hours."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return dt.timedelta(seconds=int(number) * _SECONDS[text[len(number) :]])
