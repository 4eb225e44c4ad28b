"""Personal columns on their way from task to task: what they hold stays at the source.

The rules are held against the values where the source is read. A cell of an id, a group, a site, a unique column or the
groups of the split goes on as a pseudonym, HMAC-SHA-256 under the Site's own key; its type in the table's facts is
`pseudonym-<mark of the key>`. Any other personal cell goes on as the word `(personal)`, under the type `hidden`. Null
stays null.

Equal values have equal pseudonyms under one key, so a row keeps its place from run to run; without the key nobody can
try out which value has which pseudonym.
"""

# ruff: noqa: S608 - names go through `quoted`, values through `literal`, expressions through `check_expression`

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeloop.contract.sections import IngestSection, ValidateSection
from kubeloop.data.casting import BROKEN_UNSEEN, HIDDEN, PSEUDONYM
from kubeloop.data.engine import literal, quoted
from kubeloop.data.rules import SEPARATOR, personal_rules
from kubeloop.errors import InputError
from kubeloop.site.secrets import read_secret

if TYPE_CHECKING:
    from kubeloop.site import Site

KEY = "pseudonym-key"
"""Name of the secret that holds the key: any text of at least 32 characters."""

_SHORTEST = 32
_BLOCK = 64
_SHOWN = 32
"""Hexadecimal digits of a pseudonym: 128 bits."""


def personal_columns(section: IngestSection | ValidateSection) -> list[str]:
    """The columns under policy `pii`."""
    return [name for name, column in section.data.columns.items() if column.policy == "pii"]


def masked_sql(
    connection: Any,
    section: IngestSection | ValidateSection,
    sql: str,
    types: Mapping[str, str],
    own: Iterable[str],
    site: "Site",
    clear: Mapping[str, str] | None = None,
) -> tuple[str, dict[str, str]]:
    """A query without the values of personal columns, and with `_personal`: the rules that they break.

    Args:
        connection: DuckDB; gets the key as variables, for an SQL text can stand in a message.
        section: The contract's part.
        sql: Gives the columns of `types` in the contract's types, and `own`.
        types: From column name to the contract's type.
        own: Columns that are handed on as they are.
        site: Whose key is used.
        clear: From column name to the further name under which its values are handed on all the same.

    Returns:
        The query and the types; both as they were where no column is personal.
    """
    hidden = [name for name in personal_columns(section) if name in types]
    if not hidden:
        return sql, dict(types)
    named = _named(section) & set(hidden)
    found, listed = dict(types), []
    if named:
        word = f"{PSEUDONYM}-{_set_key(connection, site)}"
    for name in types:
        cell = quoted(name)
        if name not in hidden:
            listed.append(cell)
            continue
        found[name] = word if name in named else HIDDEN
        shown = _pseudonym(name) if name in named else "'(personal)'"
        listed.append(f"CASE WHEN {cell} IS NOT NULL THEN {shown} END AS {cell}")
    listed += [f"{quoted(name)} AS {quoted(other)}" for name, other in (clear or {}).items()]
    rules = personal_rules(section.data, list(types))
    if rules:
        marks = ", ".join(f"CASE WHEN {rule.broken} THEN {literal(rule.text)} END" for rule in rules)
        listed.append(f"nullif(concat_ws({SEPARATOR}, {marks}), '') AS {quoted(BROKEN_UNSEEN)}")
        found[BROKEN_UNSEEN] = "text"
    return f"SELECT {', '.join([*listed, *map(quoted, own)])} FROM ({sql})", found


def _named(section: IngestSection | ValidateSection) -> set[str]:
    """The columns of which it must be known later which cells are equal."""
    data = section.data
    unique = {name for name, column in data.columns.items() if column.unique}
    return {*data.id, *unique} | {name for name in (data.group, data.site, section.split.column) if name is not None}


def _pseudonym(name: str) -> str:
    """SQL of HMAC-SHA-256 (RFC 2104) of the column's name and the cell; equal cells of two columns do not show."""
    message = f"encode({literal(name)} || chr(31) || CAST({quoted(name)} AS VARCHAR))"
    inner = f"unhex(sha256(getvariable('kubeloop_inner') || {message}))"
    return f"left(sha256(getvariable('kubeloop_outer') || {inner}), {_SHOWN})"


def _set_key(connection: Any, site: "Site") -> str:
    """Give the engine the key; its mark, by which two keys are told apart."""
    key = hashlib.sha256(site_key(site).encode("utf-8")).digest().ljust(_BLOCK, b"\0")
    for name, pad in (("inner", 0x36), ("outer", 0x5C)):
        padded = bytes(byte ^ pad for byte in key)
        connection.execute(f"SET VARIABLE kubeloop_{name} = CAST(? AS BLOB)", [padded]).fetchall()
    return hashlib.sha256(b"mark of a key" + key).hexdigest()[:8]


def site_key(site: "Site") -> str:
    """The Site's key; a laptop makes one when it first needs one.

    Raises:
        InputError: There is none and no home to keep one, or it is too short to keep anybody from trying all values.
    """
    own = None if site.home is None else site.home / "secrets" / KEY
    try:
        key = read_secret(KEY, site).reveal()
    except InputError:
        if own is None or own.exists():
            raise
        _make_key(own)
        key = read_secret(KEY, site).reveal()
    if len(key) < _SHORTEST:
        raise InputError(
            f"the secret {KEY} was expected to have at least {_SHORTEST} characters, it has {len(key)}",
            "make one with `openssl rand -hex 32`",
            secret=KEY,
        )
    return key


def _make_key(own: Path) -> None:
    """Write a new key whole, or leave the one that another process has written meanwhile."""
    own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = own.with_name(f".{own.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32))
    with suppress(FileExistsError):
        os.link(beside, own)
    beside.unlink()
