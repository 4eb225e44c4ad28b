"""Fit the contract's pipeline on development rows, cross-validate it over their folds, and write both down."""

import json
import os
import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kubeloop.contract.estimators import IMPORTED
from kubeloop.contract.sections import TrainSection
from kubeloop.errors import InputError, PermanentError
from kubeloop.learning.cross_validation import METHOD, cross_validate, fit_folds, gap_facts, held_out, rival_facts
from kubeloop.learning.estimator_file import estimator_bytes, write_estimator
from kubeloop.learning.feature_table import METHOD as GAIN_METHOD
from kubeloop.learning.feature_table import feature_table
from kubeloop.learning.features import input_columns
from kubeloop.learning.folds import FOLD, parts
from kubeloop.learning.inputs import nearest, to_frame
from kubeloop.learning.problem import Problem, fit
from kubeloop.learning.targets import Label, labels_of, numbers_of, order_classes, positions
from kubeloop.learning.user_code import UserCode, blame, load_code

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = "held_out.npy"
"""Of a model folder: (n,) values or (n, k) probabilities of the development rows, each by a pipeline that did not learn
from the row; NaN where there is none. Not there beside an imported model."""


def train(section: TrainSection, parameters: Mapping[str, Any], development: Path, out: Path) -> dict[str, Any]:
    """Fit and cross-validate; on one thread, so that the same rows give the same bytes.

    Args:
        section: The contract's part.
        parameters: The estimator's parameters, from `tune`; they replace those of the contract by name.
        development: Table folder with the int column `_fold`.
        out: Folder for `estimator.skops`, `model.json` and `held_out.npy`; made if needed.

    Returns:
        Facts: estimator, calibration, parameters, rows, features, excluded (column -> reason), classes, primary,
        cv (metric -> mean, low, high, folds), cv_method, cv_kind, feature_table (see `feature_table`), gain_method,
        rival, simplest, gap, code (digest of the user's transformers), warnings.

    Raises:
        InputError: The target, the features, the estimator or a parameter cannot be used; or the disk is full.
    """
    from threadpoolctl import threadpool_limits

    from kubeloop.data.tables import read_facts, read_frame

    table = read_frame(development)
    if section.estimator.kind == IMPORTED:
        from kubeloop.learning.imported import adopt

        return adopt(section, table, development, out)
    problem, left_out = problem_of(section, {**section.estimator.parameters, **parameters}, table)
    problem.unfitted()  # loads scikit-learn's OpenMP: a limit set before that would not hold
    with threadpool_limits(limits=1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = fit(problem, np.ones(len(problem.frame), dtype=bool))
            _refuse_strange(problem, fitted)
            folds = fit_folds(problem)
            held = held_out(problem, folds)
            cv = cross_validate(problem, folds, held)
            width = int(fitted[:-1].transform(problem.frame.iloc[:1]).shape[1])
            gap = gap_facts(problem, folds, cv)
            worth = feature_table(problem, folds, fitted, table)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what troubles the rival is not the user's to mend
            beside = rival_facts(problem, cv, section.seed)
    said = sorted({str(warning.message).split("\n")[0] for warning in caught})
    model = describe(problem, cv, width, training_rows_of(section, table, development))
    model["development"] = read_facts(development).digest
    out.mkdir(parents=True, exist_ok=True)
    write_estimator(fitted, out / "estimator.skops")
    write_json(model, out / "model.json")
    np.save(out / HELD_OUT, held, allow_pickle=False)
    return {
        **base_facts(problem, left_out),
        "cv": cv,
        "cv_method": METHOD,
        "feature_table": worth,
        "gain_method": GAIN_METHOD,
        **beside,
        "gap": gap,
        "code": problem.code.digest if problem.code else None,
        "warnings": said + judgements(problem, gap),
    }


def base_facts(problem: Problem, left_out: dict[str, str]) -> dict[str, Any]:
    """What is said of every model, fitted here or elsewhere."""
    section = problem.section
    return {
        "estimator": section.estimator.kind,
        "calibration": section.estimator.calibration,
        "parameters": problem.parameters,
        "rows": len(problem.frame),
        "features": [column["name"] for column in problem.inputs],
        "excluded": left_out,
        "classes": problem.classes,
        "primary": section.metrics.primary,
        "cv_kind": section.cross_validation.kind,
    }


def judgements(problem: Problem, gap: dict[str, Any] | None) -> list[str]:
    """What a person should know before trusting the model."""
    found = []
    if gap is not None and gap["verdict"] == "wide":
        found.append(f"the gap between training and validation is wide: {gap['reason']}")
    if problem.words.kind.endswith(("k_neighbors", "KNeighborsClassifier", "KNeighborsRegressor")):
        found.append("k nearest neighbours keep every training row, so the package holds them all")
    return found


def _refuse_strange(problem: Problem, fitted: Any) -> None:
    """Say at once, and in the user's words, that what his code fitted cannot be kept."""
    if problem.code is None:
        return
    try:
        estimator_bytes(fitted)
    except PermanentError as error:
        raise blame(problem.code, error) from error


def problem_of(
    section: TrainSection, parameters: dict[str, Any], table: "pd.DataFrame"
) -> tuple[Problem, dict[str, str]]:
    """The problem of a table, and why columns were left out.

    Raises:
        InputError: The target or a feature cannot be used.
        PermanentError: The table does not come from `split`.
    """
    target = section.target
    if FOLD not in table.columns:
        raise PermanentError(f"the development table has no column {FOLD!r}", "run `split` before `train`")
    if target.output not in table.columns:
        names = [str(name) for name in table.columns]
        raise InputError(
            f"target {target.output!r} is not in the table{nearest(target.output, names)}",
            "name a column of the data as target",
            column=target.output,
        )
    if len(table) < 2:
        raise InputError(f"{len(table)} development rows came, at least 2 are needed", "give more rows")
    classes: list[Label] = []
    numbers: NDArray[Any]
    if target.task == "regression":
        numbers = numbers_of(table[target.output], target)
        if float(np.ptp(numbers)) == 0:
            raise InputError(
                f"target {target.output!r} is constant ({numbers[0]:g}) in the development rows",
                "give rows whose target varies",
                column=target.output,
            )
    else:
        labels = labels_of(table[target.output])
        classes = order_classes(labels, target)
        numbers = positions(labels, classes)
    inputs, left_out = input_columns(section, table)
    frame = to_frame(table, inputs)
    return Problem(
        section, parameters, inputs, frame, numbers, classes, parts(section, table), _code(section)
    ), left_out


def _code(section: TrainSection) -> UserCode | None:
    return None if section.features.code is None else load_code(section.features.code, inputs_folder())


def inputs_folder() -> Path:
    """Where the files that the contract names lie: the Site says it."""
    from kubeloop.site.load import load_site

    return Path(load_site().inputs or ".")


def training_rows_of(section: TrainSection, table: "pd.DataFrame", development: Path) -> dict[str, Any]:
    """What tells the training rows: as `split` wrote it, else by the hash that is the contract's default."""
    from kubeloop.data.splitting import key_columns
    from kubeloop.data.training_rows import training_rows
    from kubeloop.errors import IntegrityError

    try:
        return training_rows(development)
    except IntegrityError:
        if section.split.by != "hash":
            raise
    keys = key_columns([str(name) for name in table.columns], section.data.id, section.target.output)
    return {
        "kind": "hash",
        "seed": section.seed,
        "test_share": section.split.test,
        "id": list(section.data.id),
        "key": list(keys),
        "rows": len(table),
    }


def describe(problem: Problem, cv: dict[str, Any], width: int, training_rows: dict[str, Any]) -> dict[str, Any]:
    """What `model.json` says: all that is needed to ask the model, and to know which rows it has seen."""
    section = problem.section
    dummy: dict[str, Any] = {"mean": float(problem.target.mean())}
    if problem.classes:
        counts = np.bincount(problem.target, minlength=len(problem.classes))
        dummy = {"shares": [float(share) for share in counts / counts.sum()]}
    return {
        "schema": problem.inputs,
        "classes": problem.classes,
        "task": section.target.task,
        "positive": problem.classes[-1] if section.target.task == "binary" else None,
        "dummy": dummy,
        "training_rows": training_rows,
        "features_out": width,
        "estimator": section.estimator.kind,
        "parameters": problem.parameters,
        "cv": cv,
        "code": problem.code.digest if problem.code else None,
        "libraries": {name: version(name) for name in ("numpy", "scikit-learn", "scipy", "skops")}
        | {"python": ".".join(platform.python_version_tuple()[:2])},
    }


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write canonical JSON; the file appears whole or not at all."""
    text = json.dumps(document, ensure_ascii=True, sort_keys=True, indent=1, allow_nan=False) + "\n"
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)
