"""The reference profile: all that monitoring keeps of the training rows. JSON and plain arrays; no row, no code."""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.monitoring import Detectors
from kubeloop.digests import canonical_json
from kubeloop.errors import IntegrityError, PermanentError
from kubeloop.learning.inputs import InputColumn
from kubeloop.monitoring.detectors.centres import Centres
from kubeloop.monitoring.detectors.forest import Forest
from kubeloop.monitoring.reference.bins import Bins
from kubeloop.monitoring.reference.family import Family
from kubeloop.monitoring.reference.null import Null
from kubeloop.monitoring.reference.signals import Signal
from kubeloop.monitoring.reference.sites import Sites

FORMAT = 1
PREDICTION = "model.prediction"
PROBABILITY = "model.probability"
LOSS = "model.loss"
RESIDUAL = "model.residual"

_DOCUMENT = "reference.json"
_NULL_ARRAYS = ("knots", "tail", "means", "squares", "smallest")
_NULL_NUMBERS = ("size", "evidence", "spread")
_TIME = (1980, 1, 1, 0, 0, 0)
_FIX = "take the package again from its store, or fit the reference again with `fit_monitor`"


@dataclass(frozen=True)
class Profile:
    """What windows are held against.

    Attributes:
        name: The model.
        task: What it predicts.
        classes: In the order of probabilities; empty in regression.
        positive: The class of interest of a binary task.
        schema: The model's inputs.
        detectors: The contract's words when it was fitted.
        rows: Training rows.
        dependence: What makes a block of rows that depend on each other; empty: each stands for itself.
        blocks: How many blocks there were.
        inputs: Signals of inputs and predictions; what labels are not needed for.
        labels: Signals of losses; None where no held-out answers were there to fit them.
        outliers: Tells rows unlike any; None where it is switched off or there is no number column.
        novel: Tells rows of no known class; None likewise, and in regression.
        notes: What a person must know about what this reference cannot tell.
        sites: The places that training rows come from; None where they are not known or one alone.
    """

    name: str
    task: str
    classes: tuple[Any, ...]
    positive: Any
    schema: tuple[InputColumn, ...]
    detectors: Detectors
    rows: int
    dependence: str
    blocks: int
    inputs: Family
    labels: Family | None = None
    outliers: Centres | Forest | None = None
    novel: Centres | None = None
    notes: tuple[str, ...] = ()
    sites: Sites | None = None


def write_profile(profile: Profile, path: Path) -> None:
    """Write the profile; the same profile gives the same bytes."""
    path.write_bytes(profile_bytes(profile))


def profile_bytes(profile: Profile) -> bytes:
    """What `write_profile` writes."""
    arrays: dict[str, NDArray[Any]] = {}
    document: dict[str, Any] = {"kubeloop_reference": FORMAT}
    for each in fields(profile):
        value = getattr(profile, each.name)
        if isinstance(value, Family):
            document[each.name] = _family_document(value, each.name, arrays)
        elif isinstance(value, (Centres, Forest)):
            document[each.name] = _model_document(value, each.name, arrays)
        elif isinstance(value, Sites):
            document[each.name], arrays["sites.bins"] = list(value.names), value.bins.astype(np.int32)
        elif isinstance(value, Detectors):
            document[each.name] = value.model_dump(mode="json")
        else:
            document[each.name] = value
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        _put(archive, _DOCUMENT, canonical_json(document).encode("ascii"))
        for name, array in sorted(arrays.items()):
            content = io.BytesIO()
            np.save(content, np.ascontiguousarray(array), allow_pickle=False)
            _put(archive, f"{name}.npy", content.getvalue())
    return out.getvalue()


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _TIME)
    info.create_system = 3  # the same on every operating system
    info.external_attr = 0o600 << 16
    archive.writestr(info, content)


def _family_document(family: Family, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    arrays[f"{prefix}.bins"] = family.bins.astype(np.int32)
    columns = []
    for place, column in enumerate(family.columns):
        if column.edges is not None:
            arrays[f"{prefix}.edges.{place}"] = column.edges
        bounds = [float(bound) if np.isfinite(bound) else None for bound in (column.low, column.high)]
        columns.append({"name": column.name, "test": column.test, "labels": column.labels, "bounds": bounds})
    for null in family.nulls:
        for name in _NULL_ARRAYS:
            arrays[f"{prefix}.null.{null.size}.{name}"] = getattr(null, name)
    return {
        "signals": [asdict(signal) for signal in family.signals],
        "columns": columns,
        "rows": family.rows,
        "nulls": [{name: getattr(null, name) for name in _NULL_NUMBERS} for null in family.nulls],
    }


def _model_document(model: Centres | Forest, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": type(model).__name__}
    for each in fields(model):
        value = getattr(model, each.name)
        if isinstance(value, np.ndarray):
            arrays[f"{prefix}.{each.name}"] = value
        else:
            document[each.name] = None if value == np.inf else value
    return document


def read_profile(path: Path) -> Profile:
    """Read what `write_profile` wrote; nothing in it is run.

    Raises:
        IntegrityError: The file is missing, damaged, or holds anything but JSON and plain arrays.
        PermanentError: It is of a later format.
    """
    try:
        return read_profile_bytes(path.read_bytes())
    except FileNotFoundError as error:
        raise IntegrityError(f"{path.name} is missing", _FIX, file=str(path)) from error


def read_profile_bytes(data: bytes) -> Profile:
    """As `read_profile`, from bytes.

    Raises:
        IntegrityError: As `read_profile`.
        PermanentError: As `read_profile`.
    """
    try:
        document, arrays = _opened(data)
        if document.pop("kubeloop_reference") > FORMAT:
            raise PermanentError(
                f"the reference profile is of a later format than {FORMAT}, which this release reads",
                "use the release of kubeloop that wrote it, or a later one",
            )
        return _profile(document, arrays)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError, EOFError) as error:
        raise IntegrityError(f"a reference profile was expected, but it is damaged: {error}", _FIX) from error


def _opened(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # Stored members cannot be a decompression bomb: what is read is no larger than the file.
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is compressed, which ours never are")
        document = json.loads(archive.read(_DOCUMENT))
        arrays = {
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
            if name != _DOCUMENT
        }
    return dict(document), arrays


def _profile(document: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Profile:
    made = dict(document)
    for name in ("inputs", "labels"):
        made[name] = document[name] and _family(document[name], name, arrays)
    for name in ("outliers", "novel"):
        made[name] = document[name] and _model(document[name], name, arrays)
    names = document.get("sites")  # profiles of the first release have none
    made["sites"] = names and Sites(tuple(names), arrays["sites.bins"].astype(np.int64))
    for name in ("classes", "schema", "notes"):
        made[name] = tuple(document[name])
    return Profile(**{**made, "detectors": Detectors.model_validate(document["detectors"])})


def _family(document: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Family:
    columns = []
    for place, column in enumerate(document["columns"]):
        low, high = column["bounds"]
        labels = column["labels"]
        columns.append(
            Bins(
                column["name"],
                column["test"],
                arrays.get(f"{prefix}.edges.{place}"),
                None if labels is None else tuple(labels),
                -np.inf if low is None else low,
                np.inf if high is None else high,
            )
        )
    nulls = []
    for null in document["nulls"]:
        parts = {name: arrays[f"{prefix}.null.{null['size']}.{name}"] for name in _NULL_ARRAYS}
        # Profiles of the first release hold no spread: they promised the rate over all references alone.
        spread = float(null.get("spread", 1.0))
        nulls.append(Null(size=null["size"], evidence=null["evidence"], spread=spread, **parts))
    return Family(
        tuple(Signal(**signal) for signal in document["signals"]),
        tuple(columns),
        arrays[f"{prefix}.bins"].astype(np.int64),
        document["rows"],
        tuple(nulls),
    )


def _model(document: Mapping[str, Any], prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Centres | Forest:
    kind: type[Centres] | type[Forest] = {"Centres": Centres, "Forest": Forest}[document["kind"]]
    parts = {name: value for name, value in document.items() if name != "kind"} | {"names": tuple(document["names"])}
    parts = {name: np.inf if value is None else value for name, value in parts.items()}
    for each in fields(kind):
        if each.name not in parts:
            parts[each.name] = arrays[f"{prefix}.{each.name}"]
    return kind(**parts)
