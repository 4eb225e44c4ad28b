"""From a trained model and its rows to the folder that `register` takes a reference from: what `fit_monitor` does."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.sections import MonitorSection
from kubeloop.digests import canonical_json, file_digest
from kubeloop.evaluation.blocks import blocks_of
from kubeloop.learning.answers import Answers, answer, class_array
from kubeloop.learning.inputs import category_text, to_frame
from kubeloop.learning.targets import labels_of, numbers_of
from kubeloop.learning.training import HELD_OUT
from kubeloop.monitoring.detectors.answers import Answered
from kubeloop.monitoring.reference.fit import Model, Training, fit_profile
from kubeloop.monitoring.reference.null import CONFIDENCE, ENOUGH, Null
from kubeloop.monitoring.reference.profile import Profile, write_profile
from kubeloop.packaging.manifest import ESTIMATOR
from kubeloop.packaging.references import MADE, PROFILE

if TYPE_CHECKING:
    import pandas as pd


def fit_reference(section: MonitorSection, model: Path, development: Path, out: Path) -> dict[str, Any]:
    """Fit the reference profile of a trained model, and write it down; on one thread, so that bits do not differ.

    Columns that the inference log hashes or drops are left out: live rows do not show them. Predictions and losses are
    those of cross-validation: a model's answers to rows that it has learned from are better than any it will give. An
    imported model has no others, so of it no losses are watched.

    Args:
        section: The contract's part.
        model: What `train` wrote.
        development: Table folder with the training rows.
        out: Folder for the profile and the word of whose it is; made if needed.

    Returns:
        Facts: rows, dependence, blocks, engine, rate, confidence (share of such references that keep the rate), signals
        (how many), labels (likewise), columns, windows (rows; evidence: how many windows the null is worth; usual: the
        share of alarms over all such references), notes, sites (places that live rows are likened to), bytes.

    Raises:
        InputError: The contract names a column that is not there.
        PermanentError: The model is none that `train` wrote.
    """
    from threadpoolctl import threadpool_limits

    from kubeloop.data.tables import read_frame

    table = read_frame(development)
    described = json.loads((model / "model.json").read_text(encoding="ascii"))
    with threadpool_limits(limits=1):
        training = _training(section, described, model, table)
        profile = fit_profile(_model(section, described), training, section.detectors, section.seed)
        profile = replace(profile, notes=(*_left_out(section, described), *profile.notes))
    out.mkdir(parents=True, exist_ok=True)
    write_profile(profile, out / PROFILE)
    (out / MADE).write_text(canonical_json({"estimator": file_digest(model / ESTIMATOR)}), encoding="ascii")
    return _facts(profile, (out / PROFILE).stat().st_size)


def _left_out(section: MonitorSection, described: Mapping[str, Any]) -> tuple[str, ...]:
    names = [column["name"] for column in described["schema"] if column["name"] in section.unlogged]
    return (f"{', '.join(names)}: the inference log hashes or drops them, so they are not watched",) if names else ()


def _model(section: MonitorSection, described: Mapping[str, Any]) -> Model:
    return Model(
        section.name,
        described["task"],
        tuple(described["classes"]),
        described["positive"],
        tuple(column for column in described["schema"] if column["name"] not in section.unlogged),
    )


def _training(section: MonitorSection, described: Mapping[str, Any], model: Path, table: "pd.DataFrame") -> Training:
    blocks, name = blocks_of(section, table)
    held = (model / HELD_OUT).is_file()
    answers = _held_out(model, described) if held else _own(model, described, table)
    truth: NDArray[Any] = (
        numbers_of(table[section.target.output], section.target)
        if described["task"] == "regression"
        else class_array(labels_of(table[section.target.output]))
    )
    return Training(
        table=table,
        answered=_answered(answers),
        truth=truth,
        unseen=held,
        dependence=None if blocks is None else (name, blocks),
        bounds=section.bounds,
        places=_places(section, table),
    )


def _places(section: MonitorSection, table: "pd.DataFrame") -> NDArray[Any] | None:
    if section.site is None or section.site not in table.columns:
        return None
    return np.array([category_text(value) for value in table[section.site]], dtype=object)


def _held_out(model: Path, described: Mapping[str, Any]) -> Answers:
    found = np.load(model / HELD_OUT, allow_pickle=False)
    if described["task"] == "regression":
        return Answers(values=found)
    labels = class_array(described["classes"])[np.nan_to_num(found).argmax(axis=1)]
    labels[np.isnan(found).any(axis=1)] = None
    return Answers(labels=labels, probabilities=found)


def _own(model: Path, described: Mapping[str, Any], table: "pd.DataFrame") -> Answers:
    from kubeloop.learning.estimator_file import read_estimator

    frame = to_frame(table, described["schema"])
    return answer(read_estimator(model / ESTIMATOR), frame, described["classes"], described["task"])


def _answered(answers: Answers) -> Answered:
    if answers.values is None:
        assert answers.labels is not None
        return Answered(answers.labels, answers.probabilities)
    values = answers.values.astype(object)
    values[np.isnan(answers.values)] = None
    return Answered(values)


def _window(null: Null, rate: float) -> dict[str, Any]:
    return {"rows": null.size, "evidence": null.evidence, "usual": round(null.usual(rate), 4)}


def _facts(profile: Profile, size: int) -> dict[str, Any]:
    return {
        "rows": profile.rows,
        "dependence": profile.dependence,
        "blocks": profile.blocks,
        "engine": profile.detectors.engine,
        "rate": profile.detectors.rate,
        "columns": [column.name for column in profile.inputs.columns],
        "signals": len(profile.inputs.signals),
        "labels": len(profile.labels.signals) if profile.labels else 0,
        "confidence": None if any(null.evidence < ENOUGH for null in profile.inputs.nulls) else CONFIDENCE,
        "windows": [_window(null, profile.detectors.rate) for null in profile.inputs.nulls],
        "notes": list(profile.notes),
        "sites": list(profile.sites.names) if profile.sites else [],
        "bytes": size,
    }
