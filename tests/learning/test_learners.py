"""Every allowed learner: trained, kept as the same bytes by two processes, read back, asked again."""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from kubeloop.contract.estimator import Estimator, Member
from kubeloop.contract.estimators import ESTIMATORS_OF_TASK, IMPORTED, import_paths
from kubeloop.errors import InputError
from kubeloop.learning.estimator_file import estimator_bytes, read_estimator_bytes
from kubeloop.learning.estimators import calibrated, make_estimator

CASES = [(path, task) for task in ("binary", "multiclass", "regression") for path in import_paths(task)]
SMALL = {"n_estimators": 5, "max_iter": 20}

DUMP = """
import hashlib, json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import test_learners
found = {}
for path, task in test_learners.CASES:
    # What lies in freed memory must not come into the file.
    np.random.default_rng(int(sys.argv[1])).integers(1, 255, 3_000_000, dtype=np.uint8)
    found[f"{path} {task}"] = test_learners.digest(path, task)
print(json.dumps(found))
"""


def data(task):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4))
    y = {"binary": (x[:, 0] > 0).astype(int), "multiclass": np.digitize(x[:, 0], [-0.5, 0.5]), "regression": x[:, 0]}
    return x, y[task] + (0.3 * rng.normal(size=90) if task == "regression" else 0)


def fitted(path, task):
    x, y = data(task)
    made = make_estimator(Estimator(kind=path), {}, task, 3)
    known = made.get_params(deep=True)  # members of an ensemble, too
    made.set_params(**{key: SMALL[name] for key in known if (name := key.rpartition("__")[2]) in SMALL})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return made.fit(x, y)


def digest(path, task):
    return hashlib.sha256(estimator_bytes(fitted(path, task))).hexdigest()


@pytest.mark.parametrize(("path", "task"), CASES)
def test_it_comes_back_and_answers_the_same(path, task):
    estimator = fitted(path, task)
    content = estimator_bytes(estimator)
    back = read_estimator_bytes(content)
    x = np.random.default_rng(1).normal(size=(50, 4))
    asked = "predict" if task == "regression" else "predict_proba"
    assert np.array_equal(getattr(back, asked)(x), getattr(estimator, asked)(x))
    assert estimator_bytes(back) == content


@pytest.mark.parametrize("method", get_args(Estimator.model_fields["calibration"].annotation)[0].__args__)
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("random_forest", {"n_estimators": 3}), ("gradient_boosting", {"max_iter": 3}), ("logistic_regression", {})],
    ids=["forest", "boosting", "logistic"],
)
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_calibrated_one_comes_back_too(kind, parameters, method, task):
    x, y = data(task)
    words = Estimator(kind=kind, calibration=method)
    estimator = calibrated(make_estimator(words, parameters, task, 3), words).fit(x, y)
    content = estimator_bytes(estimator)
    back = read_estimator_bytes(content)
    fresh = np.random.default_rng(1).normal(size=(50, 4))
    assert np.array_equal(back.predict_proba(fresh), estimator.predict_proba(fresh))
    assert estimator_bytes(back) == content


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_of_every_learner(tmp_path):
    here = str(Path(__file__).parent)
    found = []
    for number in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": number, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        env["PYTHONPATH"] = here
        command = [sys.executable, "-c", DUMP, number]
        found.append(subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True))
    first, second = (json.loads(process.communicate()[0]) for process in found)
    assert len(first) == len(CASES)
    assert first == second


@pytest.mark.parametrize("task", list(ESTIMATORS_OF_TASK))
def test_every_short_name_can_be_made(task):
    for kind in ESTIMATORS_OF_TASK[task]:
        if kind != IMPORTED:
            assert hasattr(make_estimator(Estimator(kind=kind), {}, task, 0), "fit")


def test_seed_weights_and_members_reach_the_learners():
    words = Estimator(
        kind="stacking",
        class_weight="balanced",
        members=(Member(kind="random_forest", parameters={"n_estimators": 3}), Member(kind="naive_bayes")),
        final=Member(kind="logistic_regression", parameters={"C": 0.5}),
    )
    made = make_estimator(words, {"cv": 3}, "binary", 11)
    forest = made.estimators[0][1]
    assert (forest.n_estimators, forest.random_state, forest.class_weight) == (3, 11, "balanced")
    assert made.final_estimator.C == 0.5
    assert made.cv == 3
    usual = make_estimator(Estimator(kind="voting"), {}, "regression", 0)
    assert [type(each).__name__ for _, each in usual.estimators] == [
        "Ridge", "RandomForestRegressor", "HistGradientBoostingRegressor",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("k_neighbors", {"algorithm": "kd_tree"}, "'algorithm', which is not yours to set: neighbours"),
        ("imported", {}, "'imported' does not fit"),
        ("sklearn.svm.SVC", {}, "'sklearn.svm.SVC' does not fit a binary target"),
        ("random_forest", {"n_estimater": 3}, "did you mean 'n_estimators'"),
    ],
)
def test_what_cannot_be_made_is_said(kind, parameters, said):
    with pytest.raises(InputError, match=said):
        make_estimator(Estimator(kind=kind), parameters, "binary", 0)
