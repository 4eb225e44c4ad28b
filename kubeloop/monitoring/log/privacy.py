"""What of a row may be written: the model's own columns and nothing else, personal ones hashed or left out."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from kubeloop.errors import InputError
from kubeloop.learning.inputs import category_text
from kubeloop.monitoring.log.models import LoggedModel

SECRET = "log-key"  # noqa: S105 - its name, not its value
"""The Site's secret under which cells and keys are hashed."""

KEY_CHARACTERS = 512


class UnusableError(Exception):
    """A row that is none of the model's; the reason is a word for a counter, and quotes nothing of the row."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Keeper:
    """Takes from rows what may be kept. Columns that the model does not have never get past it.

    Args:
        model: Its columns, with what is kept of each.
        secret: The key of hashes.

    Raises:
        InputError: Something is to be hashed, and there is no key.
    """

    def __init__(self, model: LoggedModel, secret: bytes | None) -> None:
        self._names = [column.name for column in model.columns]
        self._known = frozenset(self._names)
        self._dropped = [place for place, column in enumerate(model.columns) if column.kept == "dropped"]
        self._hashed = [place for place, column in enumerate(model.columns) if column.kept == "hashed"]
        self._personal_keys = model.keys == "hashed"
        self._secret = secret or b""
        if (self._hashed or self._personal_keys) and not secret:
            raise InputError(
                f"the key under which the log hashes personal values was expected, the secret {SECRET} is not there",
                f"make one: `head -c 32 /dev/urandom | base64` into the secret {SECRET}",
                secret=SECRET,
            )
        self.further = 0

    def rows(self, rows: Sequence[Any]) -> Sequence[list[Any]]:
        """Rows as lists of cells in the model's order; `further` counts rows with columns that were left out.

        Raises:
            UnusableError: A row has another width, or lacks a column.
        """
        width = len(self._names)
        lists = True
        for row in rows:
            if type(row) is not list:
                lists = False
            elif len(row) != width:
                raise UnusableError("other_width")
        kept: Sequence[list[Any]] = rows if lists else [self._cells(row) for row in rows]
        return self._guarded(kept) if self._dropped or self._hashed else kept

    def _cells(self, row: Any) -> list[Any]:
        if isinstance(row, Mapping):
            if not row.keys() >= self._known:
                raise UnusableError("other_columns")
            self.further += len(row) > len(self._names)
            return [row[name] for name in self._names]
        if isinstance(row, (list, tuple)) and len(row) == len(self._names):
            return list(row)
        raise UnusableError("no_row")

    def _guarded(self, rows: Sequence[list[Any]]) -> list[list[Any]]:
        made = [list(row) for row in rows]
        for row in made:
            for place in self._dropped:
                row[place] = None
            for place in self._hashed:
                text = row[place] if isinstance(row[place], (list, dict)) else category_text(row[place])
                row[place] = None if text is None else self._hash(str(text))
        return made

    def keys(self, keys: Sequence[Any]) -> list[str | None]:
        """Business keys as they are logged.

        Raises:
            UnusableError: A key is no text or whole number, or too long.
        """
        made: list[str | None] = []
        for key in keys:
            text = category_text(key) if isinstance(key, (str, int)) else None
            if (text is None and key is not None) or (text and (len(text) > KEY_CHARACTERS or "\0" in text)):
                raise UnusableError("bad_key")
            made.append(None if not text else self._hash(text) if self._personal_keys else text)
        return made

    def _hash(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()
