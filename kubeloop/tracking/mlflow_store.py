"""A mirror in MLflow, for people who look there. Our rows and records are the truth; nothing is ever read back from it.

Offline, and never `load_model`: MLflow's loaders run code that they find in artifacts.
"""

import datetime as dt
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from filelock import FileLock, Timeout

from kubeloop.digests import canonical_json
from kubeloop.errors import TransientError
from kubeloop.site.addresses import filesystem
from kubeloop.site.model import Site
from kubeloop.site.secrets import resolve
from kubeloop.tracking.finite import finite, plain
from kubeloop.tracking.outbox import kept

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

WAIT_S = 120.0
"""For other writers of an SQLite mirror: one at a time, since MLflow's own first opens break each other."""

# Limits of MLflow 3.17 (mlflow/utils/validation.py).
_KEY, _PARAM, _TAG, _A_CALL = 250, 6000, 8000, 100
_BEGUN_BY_KFP = "MLFLOW_RUN_ID"
_RUN, _VERSION, _DIGEST = "kubeloop.run_id", "kubeloop.version", "kubeloop.digest"


@dataclass(frozen=True)
class Mirrored:
    """A run as MLflow shall show it.

    Attributes:
        run_id: Our run's id; the same one again adds to the same MLflow run.
        name: The contract's name.
        params: Flat; what is longer than MLflow takes is cut and ends in a digest of the whole.
        metrics: What is not finite is left out and named in a tag.
        tags: Flat.
        started: Aware.
        ended: Aware; the time of its metrics.
        status: FINISHED, FAILED or KILLED; None while it runs.
        files: Text of figures and pages, by file name.
    """

    run_id: str
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    tags: Mapping[str, Any]
    started: dt.datetime
    ended: dt.datetime
    status: str | None = "FINISHED"
    files: Mapping[str, str] = field(default_factory=dict)


def log_whole_run(site: Site, run: Mirrored) -> str:
    """Mirror a run into the experiment of its contract.

    Where KFP's MLflow plugin has begun a run (`$MLFLOW_RUN_ID`) that one gets parameters, tags and files, is not ended,
    and gets no metrics: the launcher logs those itself.

    Returns:
        MLflow's id of the run.

    Raises:
        TransientError: MLflow did not take it.
    """
    numbers = finite(run.metrics)
    texts = {key: numbers.pop(key) for key in list(numbers) if isinstance(numbers[key], str)}
    labels = _texts({**plain(run.tags), **texts, _RUN: run.run_id, "kubeloop.namespace": site.namespace}, _TAG)
    joined = os.environ.get(_BEGUN_BY_KFP)
    begun, moment = _ms(run.started), _ms(run.ended)
    with _client(site, f"run {run.run_id}", joined=bool(joined)) as client:
        known = joined or _find_or_begin(client, site, run.name, run.run_id, begun)
        _log(client, known, _texts(run.params, _PARAM), {} if joined else numbers, labels, moment)
        for name, text in run.files.items():
            client.log_text(known, text, name)
        if not joined and run.status is not None:
            client.set_terminated(known, status=run.status, end_time=moment)
    return known


def open_mirror(site: Site) -> None:
    """Import MLflow, and make its database where it is ours and not there yet.

    Raises:
        TransientError: It cannot be made.
    """
    with _client(site, "the mirror"):
        pass


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def register_version(site: Site, name: str, version: int, address: str, digest: str, run_id: str) -> None:
    """Mirror a registered version; once it is there, again does nothing. In a local run it is kept for the driver.

    Raises:
        TransientError: MLflow did not take it.
    """
    facts = {"name": name, "version": version, "address": address, "digest": digest, "run_id": run_id}
    if kept("register_version", facts):
        return
    with _client(site, f"version {version} of {name}") as client:
        model = _name(site, name)
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        if _mirrored(client, model, version) is None:
            tags = {_VERSION: str(version), _DIGEST: digest, _RUN: run_id}
            client.create_model_version(model, source=address, tags=tags)


def set_alias(site: Site, name: str, alias: str, version: int) -> None:
    """Point an alias, `champion` or `challenger`, at our version; in a local run it is kept for the driver.

    Raises:
        TransientError: MLflow did not take it, or does not know that version (`gone` in the context).
    """
    if kept("set_alias", {"name": name, "alias": alias, "version": version}):
        return
    with _client(site, f"alias {alias} of {name}") as client:
        model = _name(site, name)
        mirrored = _mirrored(client, model, version)
        if mirrored is None:
            raise TransientError(
                f"MLflow has no version {version} of {name} to point {alias} to",
                "mirror that version first",
                gone=True,
            )
        client.set_registered_model_alias(model, alias, mirrored)


@contextmanager
def _client(site: Site, what: str, joined: bool = False) -> "Iterator[MlflowClient]":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # before the import: it looks a host up
    # A mirror that is down must not hold up the loop: MLflow's defaults wait for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        if joined:
            yield MlflowClient()
            return
        address = resolve(site.tracking, site)
        with _alone(address):
            yield MlflowClient(tracking_uri=address, registry_uri=address)
    except Timeout:
        raise TransientError(f"MLflow did not take {what}: others wrote for {WAIT_S:.0f} s", "run it again") from None
    except (MlflowException, sa.exc.SQLAlchemyError, OSError) as error:
        # Neither message nor cause: both can hold the URL, values and the server's words.
        reason = getattr(error, "error_code", None) or type(error).__name__
        raise TransientError(
            f"MLflow did not take {what}: {reason}",
            "nothing of ours is lost; see that the Site's tracking address answers, and run it again",
        ) from None


@contextmanager
def _alone(address: str) -> Iterator[None]:
    if not address.startswith("sqlite:///"):
        yield
        return
    file = Path(address.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=WAIT_S):
        if not file.exists():
            _create(file)
        yield


def _create(file: Path) -> None:
    from mlflow.store.db import utils

    database: Any = utils
    # Beside and renamed: MLflow cannot mend a database whose first migration was killed.
    beside = file.with_name(f".{file.name}.new")
    for left in file.parent.glob(f"{beside.name}*"):  # a killed one's journal would be rolled back into ours
        left.unlink()
    engine = database.create_sqlalchemy_engine(f"sqlite:///{beside}")
    try:
        database._initialize_tables(engine)
    finally:
        engine.dispose()
    beside.replace(file)


def _find_or_begin(client: "MlflowClient", site: Site, name: str, run_id: str, moment: int) -> str:
    experiment = _experiment(client, site, _name(site, name))
    found = client.search_runs([experiment], f"tags.`{_RUN}` = '{run_id}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    begun = client.create_run(experiment, start_time=moment, tags={_RUN: run_id}, run_name=run_id)
    return str(begun.info.run_id)


def _experiment(client: "MlflowClient", site: Site, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found: Any = client.get_experiment_by_name(name)
    if found is None:
        # Not MLflow's default, which is ./mlruns of whoever comes first; a server knows its own place.
        place = _artifacts(site, name) if site.tracking.startswith("sqlite:///") else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    elif found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _artifacts(site: Site, name: str) -> str:
    """Where files of an MLflow that is a file lie: in the store where that is a folder, else beside the database."""
    address = f"{site.store}/mlflow/{name}"
    if address.startswith("pvc://"):  # MLflow knows no claims: it is told where this one is mounted
        return Path(filesystem(site, address)[1]).as_uri()
    if address.startswith("file://"):
        return address
    return (Path(site.tracking.removeprefix("sqlite:///")).parent / "mlflow" / name).as_uri()


def _log(
    client: "MlflowClient",
    known: str,
    params: Mapping[str, str],
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
    moment: int,
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    # A parameter cannot be changed, and a second try must not fail for it.
    there = client.get_run(known).data
    new = [Param(key, value) for key, value in params.items() if key not in there.params]
    points = [
        Metric(_key(key), float(value), moment, 0) for key, value in metrics.items() if _key(key) not in there.metrics
    ]
    labels = [RunTag(key, value) for key, value in tags.items()]
    client.log_batch(known, metrics=points[:1000])
    for start in range(0, max(len(new), len(labels)), _A_CALL):
        part = slice(start, start + _A_CALL)
        client.log_batch(known, params=new[part], tags=labels[part])


def _mirrored(client: "MlflowClient", model: str, version: int) -> str | None:
    # MLflow counts for itself; ours stands in a tag.
    for found in client.search_model_versions(f"name = '{model}'"):
        if found.tags.get(_VERSION) == str(version):
            return str(found.version)
    return None


def _name(site: Site, name: str) -> str:
    return name if site.namespace == "default" else f"{site.namespace}.{name}"


def _texts(values: Mapping[str, Any], limit: int) -> dict[str, str]:
    return {_key(str(key)): _cut(_text(value), limit) for key, value in values.items() if value is not None}


def _text(value: Any) -> str:
    clean = plain(value)
    return clean if isinstance(clean, str) else canonical_json(clean)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 17]}... #{_short(text)}"


def _key(key: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_.\- ]", "_", key).lstrip(".")
    return safe if safe == key and len(key) <= _KEY else f"{safe[: _KEY - 13]}-{_short(key)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
