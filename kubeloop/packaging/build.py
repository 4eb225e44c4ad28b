"""Make a package of a trained and judged model."""

import dataclasses
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kubeloop import __version__
from kubeloop.contract import Contract
from kubeloop.decisions import Decision
from kubeloop.digests import canonical_json, file_digest
from kubeloop.errors import InputError, IntegrityError, KubeloopError, PermanentError
from kubeloop.packaging.documentation import readme_of
from kubeloop.packaging.golden import golden_of, requests_of
from kubeloop.packaging.libraries import installed, present_environment
from kubeloop.packaging.manifest import (
    DETACHED,
    ESTIMATOR,
    MANIFEST,
    README,
    DataSource,
    Environment,
    Feature,
    Golden,
    Judgement,
    Manifest,
    Metric,
    Place,
    Rows,
)
from kubeloop.packaging.plans import take_plan
from kubeloop.packaging.references import take_reference
from kubeloop.packaging.sources import write_sources
from kubeloop.packaging.staging import staged_folder
from kubeloop.packaging.verify import verify


def build(
    model: Path,
    contract: Contract,
    evaluation: Mapping[str, Any],
    data_digest: str,
    out: Path,
    reference: Path | None = None,
) -> str:
    """Write a package folder; it appears whole or not at all.

    Args:
        model: What `train` wrote: `estimator.skops` and `model.json`.
        contract: All of the contract; the package keeps it.
        evaluation: `metrics` (name to value, low, high, method, n) and `decision`; optional are `estimator`, the digest
            of the estimator file that was judged (another file is refused), and `champion`, the digest of the package
            it was held against.
        data_digest: Digest of the ingested table.
        out: The package folder; absent, empty, or this very package from a build that was killed after its end.
        reference: What `fit_monitor` wrote; None: the model cannot be watched.

    Returns:
        The package's digest: the same for the same model, contract, data and metrics, in any process and folder.

    Raises:
        IntegrityError: The model is not the one that was judged, or its file is damaged or hostile.
        InputError: `out` has other content, or the disk is full.
        PermanentError: The model folder or the evaluation is not what `train` and `evaluate` write.
    """
    described = _described(model)
    digest = ""
    try:
        with staged_folder(out) as stage:
            (stage / ESTIMATOR).write_bytes(_estimator(model))
            _was_judged(file_digest(stage / ESTIMATOR), evaluation)
            watched = take_reference(reference, stage, file_digest(stage / ESTIMATOR)) if reference else None
            manifest = _manifest(described, contract, evaluation, data_digest, stage, model, watched)
            digest = manifest.digest()
            (stage / MANIFEST).write_text(manifest.text(), encoding="ascii")
            _write_detached(stage / DETACHED, evaluation)
            verify(stage, digest)
    except FileExistsError as error:
        _already_there(out, digest, error)
    return digest


def _described(model: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((model / "model.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise PermanentError(
            f"model.json of a trained model was expected in {model.name}, but {error}", "train again", file=str(model)
        ) from error


def _estimator(model: Path) -> bytes:
    try:
        return (model / ESTIMATOR).read_bytes()
    except FileNotFoundError as error:
        raise PermanentError(
            f"{ESTIMATOR} was expected in the model folder {model.name}, but it is missing",
            "train again",
            file=str(model),
        ) from error


def _was_judged(digest: str, evaluation: Mapping[str, Any]) -> None:
    judged = evaluation.get("estimator")
    if judged is not None and judged != digest:
        raise IntegrityError(
            f"{ESTIMATOR} should be the judged one, {judged}, but has the digest {digest}",
            "evaluate this model first; only what was judged is packaged",
            file=ESTIMATOR,
        )


def _manifest(
    described: Mapping[str, Any],
    contract: Contract,
    evaluation: Mapping[str, Any],
    data_digest: str,
    stage: Path,
    model: Path,
    watched: str | None,
) -> Manifest:
    """The manifest of the files in `stage`; writes the README there, for it needs the same facts."""
    try:
        features = tuple(Feature.model_validate(column) for column in described["schema"])
        metrics = {name: _metric(estimate) for name, estimate in evaluation["metrics"].items()}
        decision = _decision(evaluation["decision"])
        judgement = Judgement(gate=decision.gate, verdict=decision.verdict)
        write_sources(stage, contract, described.get("code"))
        golden = _golden(stage / ESTIMATOR, described, features)
        classes = tuple(described.get("classes") or ())
        plan = take_plan(model, stage, file_digest(stage / ESTIMATOR), golden, features, classes)
        environment = _environment(described["libraries"])
        readme = readme_of(contract, features, metrics, judgement, golden, environment.libraries)
        (stage / README).write_text(readme, encoding="utf-8")
        return Manifest(
            kubeloop_package=1,
            name=contract.name,
            task=described["task"],
            features=features,
            classes=classes,
            positive=described.get("positive"),
            estimator={
                "kind": described.get("estimator", contract.estimator.kind),
                "parameters": described.get("parameters", {}),
            },
            files={
                path.relative_to(stage).as_posix(): file_digest(path)
                for path in sorted(stage.rglob("*"))
                if path.is_file()
            },
            metrics=metrics,
            decision=judgement,
            dummy=described.get("dummy"),
            contract=contract.model_dump(mode="json"),
            training_rows=described["training_rows"],
            data=_data(contract, described, evaluation, data_digest),
            golden=golden,
            environment=environment,
            code_version=__version__,
            user_code=described.get("code"),
            scoring_plan=plan,
            reference_profile=watched,
        )
    except (KeyError, ValidationError) as error:
        raise PermanentError(
            f"a model from `train` and an evaluation from `evaluate` were expected, but {error!r}"[:2000],
            "run the whole pipeline with one version of kubeloop",
        ) from error


def _data(contract: Contract, described: Mapping[str, Any], evaluation: Mapping[str, Any], digest: str) -> DataSource:
    counts = [metric["n"] if isinstance(metric, Mapping) else metric.n for metric in evaluation["metrics"].values()]
    return DataSource(
        digest=digest,
        sources=tuple(Place(name=source.name, place=place_of(source)) for source in contract.data.sources),
        training=Rows(digest=described.get("development"), rows=described["training_rows"].get("rows")),
        validation=Rows(digest=evaluation.get("test"), rows=max(counts, default=None)),
    )


def place_of(source: Any) -> str:
    """Where a source's rows are, as the contract says; credentials are references there."""
    return str(getattr(source, "path", None) or getattr(source, "sql", None) or source.name)


def _metric(estimate: Any) -> Metric:
    found = dataclasses.asdict(estimate) if dataclasses.is_dataclass(estimate) else dict(estimate)  # type: ignore[arg-type]
    return Metric.model_validate({name: found[name] for name in Metric.model_fields})


def _decision(found: Any) -> Decision:
    return found if isinstance(found, Decision) else Decision.model_validate(found)


def _golden(estimator: Path, described: Mapping[str, Any], features: tuple[Feature, ...]) -> Golden:
    from kubeloop.learning.answers import answer
    from kubeloop.learning.estimator_file import read_estimator
    from kubeloop.learning.inputs import to_frame

    requests = requests_of(features)
    frame = to_frame(list(requests), [feature.column() for feature in features])
    return golden_of(
        requests, answer(read_estimator(estimator), frame, described.get("classes") or (), described["task"])
    )


def _environment(fitted: Mapping[str, str]) -> Environment:
    """The environment of the fit; the golden answers are computed here, so it must be the present one too."""
    libraries = {name: version for name, version in fitted.items() if name != "python"}
    present = present_environment(libraries)
    if present.libraries != libraries or present.python != fitted.get("python", present.python):
        raise PermanentError(
            f"the model was fitted with {dict(fitted)}, and here are {present.libraries} on Python {present.python}",
            "train and register with the same image",
        )
    return present


def _write_detached(folder: Path, evaluation: Mapping[str, Any]) -> None:
    """Facts of this build that are no part of the model's identity."""
    folder.mkdir()
    host = {
        "cpu": cpu_type(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "installed": installed(),
    }
    judged = {
        "decision": _decision(evaluation["decision"]).model_dump(mode="json"),
        "champion": _champion(evaluation.get("champion")),
    }
    for name, document in (("host.json", host), ("evaluation.json", judged)):
        (folder / name).write_text(canonical_json(document), encoding="ascii")


def _champion(found: Any) -> str | None:
    """The champion's digest, given as such or as the facts of `evaluate`."""
    digest = found.get("digest") if isinstance(found, Mapping) else found
    return None if digest is None else str(digest)


def cpu_type() -> str:
    """The CPU's model name, on which the last bits of a fit depend."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def _already_there(out: Path, digest: str, error: FileExistsError) -> None:
    try:
        verify(out, digest)
    except KubeloopError:
        raise InputError(
            f"a new or empty folder was expected for the package, but {out} has content",
            "give another folder",
            file=str(out),
        ) from error
