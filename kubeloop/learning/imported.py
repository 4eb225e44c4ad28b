"""A model that was fitted elsewhere, under the same description, gates and endpoint as one that is fitted here."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kubeloop.contract.sections import TrainSection
from kubeloop.digests.trees import file_digest
from kubeloop.errors import InputError, IntegrityError
from kubeloop.learning import training
from kubeloop.learning.cross_validation import Fold, cross_validate
from kubeloop.learning.estimator_file import read_estimator_bytes, write_estimator
from kubeloop.learning.feature_table import METHOD, feature_table
from kubeloop.learning.inputs import category_text, nearest
from kubeloop.learning.problem import Problem
from kubeloop.learning.targets import Label, labels_of, positions

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "imports"
"""Below the home: where `kubeloop import` puts the files."""

_UNKNOWN = (
    "it is not known which rows the imported model was fitted on: where test rows are among them, its scores flatter, "
    "and once it is champion no challenger can be compared with it; say `unseen_test: true` (--unseen-test) if you "
    "know that none is"
)


def adopt(section: TrainSection, table: "pd.DataFrame", development: Path, out: Path) -> dict[str, Any]:
    """Read the file, see that it answers the contract's rows, and write it down as `train` would.

    Args:
        section: The contract's part; `estimator.file` names the file.
        table: (n, columns) development rows; nothing is fitted on them.
        development: Where they come from.
        out: Folder for `estimator.skops` and `model.json`.

    Returns:
        Facts as of `train`; cv is of the one model on each fold.

    Raises:
        InputError: The file is missing, or its model does not fit the contract.
        IntegrityError: The file is damaged, not the one that was named, or holds what no model file may hold.
    """
    from threadpoolctl import threadpool_limits

    estimator = _read(section)
    problem, left_out = training.problem_of(section, {}, table)
    problem = _fitting(problem, estimator, table, left_out)
    with threadpool_limits(limits=1):
        _try(problem, estimator)
        folds = [Fold(estimator, inside, outside) for inside, outside in problem.parts]
        cv = cross_validate(problem, folds)
        worth = feature_table(problem, folds, estimator, table)
    known = section.estimator.unseen_test
    rows = training.training_rows_of(section, table, development) if known else {"kind": "unknown", "rows": None}
    model = training.describe(problem, cv, _width(problem, estimator), rows)
    out.mkdir(parents=True, exist_ok=True)
    write_estimator(estimator, out / "estimator.skops")
    training.write_json(model, out / "model.json")
    return {
        **training.base_facts(problem, left_out),
        "cv": cv,
        "cv_method": "the imported model on each fold; it was not fitted again, so this is no cross-validation",
        "feature_table": worth,
        "gain_method": METHOD,
        "rival": None,
        "simplest": None,
        "gap": None,
        "code": None,
        "warnings": [] if known else [_UNKNOWN],
    }


def _read(section: TrainSection) -> Any:
    path = _find(section.estimator.file or "")
    wanted = section.estimator.digest
    if wanted is not None and file_digest(path) != wanted:
        raise IntegrityError(
            f"{path.name} should have the digest {wanted}, it has {file_digest(path)}",
            "run `kubeloop import` again with the file that you mean",
            file=path.name,
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator = read_estimator_bytes(path.read_bytes(), path.name)
    old = [str(each.message) for each in caught if each.category.__name__ == "InconsistentVersionWarning"]
    if old:
        raise InputError(
            f"{path.name} was written by another version of scikit-learn: {old[0].split('. ')[0]}",
            "write it again with the version that is installed here",
            file=path.name,
        )
    return estimator


def _find(name: str) -> Path:
    from kubeloop.site.load import load_site

    home = load_site().home
    for folder in (training.inputs_folder(), *([home] if home is not None else [])):
        path = folder / name
        if path.is_file():
            return path
    raise InputError(
        f"estimator.file names {name!r}, but there is no such file beside loop.yaml", "correct the path", file=name
    )


def _fitting(problem: Problem, estimator: Any, table: "pd.DataFrame", left_out: dict[str, str]) -> Problem:
    """The problem with the model's own inputs and classes, in its own order."""
    by_name = {column["name"]: column for column in problem.inputs}
    names = [str(name) for name in getattr(estimator, "feature_names_in_", by_name)]
    for name in names:
        if name not in by_name:
            why = left_out.get(name, f"no column of the contract{nearest(name, list(by_name))}")
            raise InputError(
                f"the imported model reads {name!r}, which is no feature here: {why}",
                "name the columns as the model does, or fit it without this one",
                column=name,
            )
    count = int(getattr(estimator, "n_features_in_", len(names)))
    if count != len(names):
        raise InputError(
            f"the imported model reads {count} columns without names, the contract has {len(names)} features: "
            f"{', '.join(names)}",
            "fit it on a frame with column names, or name exactly its columns in features.use, in its order",
        )
    left_out |= {name: "not read by the imported model" for name in by_name if name not in names}
    found = replace(problem, inputs=[by_name[name] for name in names], frame=problem.frame[names])
    if problem.regression:
        return found
    classes = _classes(problem, estimator)
    return replace(found, classes=classes, target=positions(labels_of(table[problem.section.target.output]), classes))


def _classes(problem: Problem, estimator: Any) -> list[Label]:
    """The contract's labels in the order of the model's probabilities."""
    if not hasattr(estimator, "predict_proba") or not hasattr(estimator, "classes_"):
        raise InputError(
            f"a model with probabilities was expected for a {problem.section.target.task} target, "
            f"{type(estimator).__name__} gives none",
            "fit a classifier that has predict_proba",
        )
    ours = {str(category_text(label)): label for label in problem.classes}
    theirs = [str(category_text(label)) for label in estimator.classes_.tolist()]
    if sorted(ours) != sorted(theirs):
        raise InputError(
            f"the imported model knows the classes {', '.join(theirs)}, the development rows have {', '.join(ours)}",
            "fit it on labels as they stand in the data",
        )
    if problem.section.target.positive is not None and theirs[-1] != str(category_text(problem.classes[-1])):
        raise InputError(
            f"the imported model has the class {theirs[-1]} last, target.positive is {problem.classes[-1]}",
            f"set `positive: {theirs[-1]}`, or name the classes so that the positive one sorts last",
        )
    return [ours[text] for text in theirs]


def _try(problem: Problem, estimator: Any) -> None:
    """Refuse a model that cannot answer, or that was fitted on categories of another type, which it would not know."""
    kinds = {column["name"]: column["kind"] for column in problem.inputs}
    for encoder, columns in _encoders(estimator):
        for name, known in zip(columns, encoder.categories_, strict=False):
            if kinds.get(name) == "category" and np.asarray(known).dtype.kind in "iufb":
                raise InputError(
                    f"the imported model knows the categories of {name!r} as numbers, here categories are text",
                    f"fit it on text, such as frame[{name!r}].astype(str), or give the column a numeric type",
                    column=name,
                )
    head = problem.frame.iloc[:5]
    try:
        estimator.predict(head) if problem.regression else estimator.predict_proba(head)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise InputError(
            f"the imported model cannot answer rows of the contract: {type(error).__name__}: {error}",
            "import the whole pipeline, with the steps that fill gaps and encode; numbers come as float64, missing "
            "ones as NaN, categories as text, missing ones as None",
        ) from error


def _encoders(estimator: Any) -> Iterator[tuple[Any, list[str]]]:
    """Encoders with their columns, as far as they stand in a ColumnTransformer."""
    steps = [step for _, step in getattr(estimator, "steps", [("", estimator)])]
    for step in steps:
        for _, part, columns in getattr(step, "transformers_", ()):
            for inner in [each for _, each in getattr(part, "steps", [("", part)])]:
                if hasattr(inner, "categories_"):
                    yield inner, [str(column) for column in np.atleast_1d(columns)]


def _width(problem: Problem, estimator: Any) -> int:
    """How many numbers the last step sees; the inputs where there are no steps before it."""
    if len(getattr(estimator, "steps", ())) < 2:
        return len(problem.inputs)
    return int(estimator[:-1].transform(problem.frame.iloc[:1]).shape[1])
