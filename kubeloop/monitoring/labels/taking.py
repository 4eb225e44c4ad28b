"""Labels taken into the log: what `kubeloop labels` and the component `labels` do."""

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kubeloop.contract.data import Source
from kubeloop.contract.monitoring import Labels
from kubeloop.errors import InputError
from kubeloop.monitoring.labels.files import Columns, read_labels
from kubeloop.monitoring.labels.storing import Label, Outcome, count_known, store_labels
from kubeloop.monitoring.log.models import LoggedModel
from kubeloop.monitoring.log.privacy import SECRET, Keeper
from kubeloop.monitoring.log.reading import micros, services_models
from kubeloop.monitoring.log.windows import WindowKey
from kubeloop.site.model import Site
from kubeloop.site.secrets import read_secret


def words_of(site: Site, name: str) -> Labels | None:
    """What the contract of a model's champion says of its labels; None: nothing serves under this name.

    Raises:
        KubeloopError: The champion's package cannot be fetched, or is not what its digest says.
    """
    from kubeloop.packaging.read import read_package
    from kubeloop.packaging.store import fetch
    from kubeloop.registry.champions import present_champion

    row = present_champion(site, name)
    if row is None:
        return None
    contract = read_package(fetch(site, row.digest), row.digest, site).manifest.contract
    return Labels.model_validate((contract.get("monitoring") or {}).get("labels") or {})


def columns_of(words: Labels) -> Columns:
    """Which columns say what, by the contract."""
    return Columns(words.value, None if words.key else words.event_id, words.key)


def read_source(source: Source, columns: Columns, site: Site) -> list[Label]:
    """The labels of a contract's source.

    Raises:
        InputError: As `read_labels`, or the source is not what its words say.
        TransientError: It is not on this machine, and did not come whole in time.
    """
    from kubeloop.data.engine import connect
    from kubeloop.data.sources import open_source

    with tempfile.TemporaryDirectory(prefix="kubeloop-labels-") as scratch, connect(Path(scratch)) as connection:
        opened = open_source(source, site, Path(scratch), connection)
        kind = "parquet" if source.sql else source.format
        ending = Path(source.path or "").suffix.lower().removeprefix(".")
        return read_labels(opened.path, columns, kind or ending.replace("ndjson", "jsonl"))


@dataclass(frozen=True)
class Taken:
    """What became of labels.

    Attributes:
        outcome: How many were `new`, `corrected`, or there already (`duplicate`).
        known: How many name a prediction that the log has; of the others the prediction may yet come.
    """

    outcome: Outcome
    known: int

    def facts(self) -> dict[str, int]:
        """labels, new, corrected, duplicate, known."""
        counts = {kind: self.outcome[kind] for kind in ("new", "corrected", "duplicate")}
        return {"labels": self.outcome.total(), **counts, "known": self.known}


def take_labels(site: Site, name: str, read: Callable[[], list[Label]], by_key: bool, now: dt.datetime) -> Taken:
    """Keep labels of a model's predictions.

    Args:
        site: Whose log.
        name: The model.
        read: Gives the labels; called once it is known that the model has a log.
        by_key: Whether they name business keys, which the log may hold hashed.
        now: When they arrived, aware.

    Raises:
        InputError: The model has logged nothing, or a label of a regression is no number; nothing is stored then.
    """
    from kubeloop.store import open_engine

    engine = open_engine(site)
    try:
        service, models = services_models(engine, WindowKey(site.namespace, name))
        model = models[max(models)]
        wanted = _numbers(read()) if model.task == "regression" else read()
        wanted = _as_logged(site, model, wanted) if by_key else wanted
        with engine.begin() as connection:
            outcome = store_labels(connection, service, wanted, micros(now))
            return Taken(outcome, count_known(connection, service, wanted))
    finally:
        engine.dispose()


def _numbers(found: Sequence[Label]) -> list[Label]:
    """What a database or a file gave as text is a number where the model predicts numbers."""
    return [
        label.model_copy(update={"value": _number(label.value, place)}) if isinstance(label.value, str) else label
        for place, label in enumerate(found, start=1)
    ]


def _number(text: str, place: int) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"label {place}: a number was expected, for the model predicts numbers, got {text!r}",
            "name the column with the truth by monitoring.labels.value or --value",
            row=place,
        ) from None


def _as_logged(site: Site, model: LoggedModel, found: Sequence[Label]) -> list[Label]:
    """Labels with their keys as the log has them."""
    secret = read_secret(SECRET, site).reveal().encode("utf-8") if model.keys == "hashed" else None
    keys = Keeper(model.model_copy(update={"columns": ()}), secret).keys([label.ident for label in found])
    return [label.model_copy(update={"ident": key}) for label, key in zip(found, keys, strict=True)]


def take_from_source(site: Site, name: str, words: Labels, now: dt.datetime) -> dict[str, Any]:
    """Take in what the contract's source of labels holds; what is there already is not taken twice.

    Returns:
        Facts: name, source, by (`key` or `event`), and those of `Taken`.

    Raises:
        InputError: The contract names no source, or as `read_source` and `take_labels`.
    """
    if words.source is None:
        raise InputError(
            f"a source of the labels of {name} was expected under monitoring.labels, there is none",
            "write `source:` there, with a path, an address or a database; or use `kubeloop labels FILE`",
        )
    read = partial(read_source, words.source, columns_of(words), site)
    taken = take_labels(site, name, read, words.key is not None, now)
    return {"name": name, "source": words.source.name, "by": "key" if words.key else "event", **taken.facts()}
