"""Trees that point at what there is not: refused when read, in a process that such a tree would end."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from kubeloop.learning.estimator_file import estimator_bytes, read_estimator_bytes

ROWS = np.random.default_rng(0).normal(size=(120, 3))
ROWS[:, 2] = np.arange(120) % 4
TRUTH = ((ROWS[:, 0] > 0) ^ (ROWS[:, 2] == 1)).astype(int)
# Far enough away that a walk to it leaves the process's memory.
FAR = 2**31 - 2
READ = """
import sys
from pathlib import Path
import numpy as np
from kubeloop.errors import IntegrityError
from kubeloop.learning.estimator_file import read_estimator
for name in sys.argv[1:]:
    try:
        read_estimator(Path(name)).predict(np.zeros((4, 3)))
        print("answered")
    except IntegrityError as error:
        print(error.problem)
"""


def tree(**more):
    return DecisionTreeClassifier(max_depth=3, random_state=0, **more).fit(ROWS, TRUTH)


def with_nodes(model, field, value):
    """The same model whose first node says something else."""
    known = model.tree_.__getstate__()
    nodes = known["nodes"].copy()
    nodes[field][0] = value
    model.tree_.__setstate__({**known, "nodes": nodes})
    return model


def histogram():
    """With categories, and without the step in front of them that no file of ours may hold."""
    model = HistGradientBoostingClassifier(
        max_iter=3, max_leaf_nodes=4, categorical_features=[0], min_samples_leaf=5, random_state=0
    ).fit(ROWS[:, [2, 0, 1]], TRUTH)
    model._preprocessor = None
    return model


def with_predictor(field, value):
    model = histogram()
    for group in model._predictors:
        nodes = group[0].nodes
        inner = nodes["is_leaf"] == 0
        where = inner & (nodes["is_categorical"] != 0) if field == "bitset_idx" else inner
        nodes[field][where] = value
    return model


def with_category(value):
    model = histogram()
    model._bin_mapper.bin_thresholds_[0] = np.array([0.0, value])
    return model


def with_short_map():
    model = histogram()
    model._bin_mapper.is_categorical_ = np.zeros(1, dtype=np.uint8)
    return model


def with_other_trees():
    """A forest that says three features and holds trees of 400."""
    wide = np.random.default_rng(1).normal(size=(120, 400))
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(wide, TRUTH)
    forest.n_features_in_ = 3
    return forest


def with_more_columns():
    model = GradientBoostingClassifier(n_estimators=2, max_depth=1).fit(ROWS, TRUTH)
    model.estimators_ = np.repeat(model.estimators_, 40, axis=1)
    return model


PLANTED = {
    "child far away": (lambda: with_nodes(tree(), "left_child", FAR), "names a child that there is not"),
    "child that is its parent": (lambda: with_nodes(tree(), "right_child", 0), "names a child that there is not"),
    "child before the start": (lambda: with_nodes(tree(), "left_child", -5), "names a child that there is not"),
    "feature far away": (lambda: with_nodes(tree(), "feature", FAR), "names a feature that there is not"),
    "negative feature": (lambda: with_nodes(tree(), "feature", -FAR), "names a feature that there is not"),
    "forest of wider trees": (with_other_trees, "a tree of 400 features among those of 3"),
    "more columns than the start": (with_more_columns, "trees for 40 columns start from 1"),
    "histogram child": (lambda: with_predictor("left", FAR), "names a child that there is not"),
    "histogram feature": (lambda: with_predictor("feature_idx", FAR), "names a feature that there is not"),
    "histogram set": (lambda: with_predictor("bitset_idx", FAR), "names a set of categories"),
    "category far away": (lambda: with_category(1e9), "a category below 256"),
    "fewer features told apart": (with_short_map, "1 features are told apart, the model reads 3"),
}


def rewritten(change):
    """The file of a tree in whose schema something else stands."""
    content = estimator_bytes(tree())
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    text = members["schema.json"].decode()
    plain = json.loads(text)
    stack = [plain]
    while stack:
        found = stack.pop()
        if isinstance(found, dict):
            if found.get("__loader__") == "TreeNode":
                change(found)
            stack.extend(found.values())
        elif isinstance(found, list):
            stack.extend(found)
    members["schema.json"] = json.dumps(plain).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name, part in members.items():
            out.writestr(name, part)
    return target.getvalue()


def more_outputs(node):
    node["__reduce__"]["args"]["content"][2]["content"] = str(10**12)


def fewer_nodes(node):
    node["content"]["content"]["node_count"]["content"] = "1"


def test_planted_places_are_refused_and_the_process_lives(tmp_path):
    wanted = []
    for number, (make, said) in enumerate(PLANTED.values()):
        (tmp_path / f"{number:02d}.skops").write_bytes(estimator_bytes(make()))
        wanted.append(said)
    (tmp_path / "90.skops").write_bytes(rewritten(more_outputs))
    wanted.append("a tree of one output was expected, one has 1000000000000")
    (tmp_path / "91.skops").write_bytes(rewritten(fewer_nodes))
    wanted.append("a tree of 1 nodes has room for")
    (tmp_path / "92.skops").write_bytes(estimator_bytes(tree()))
    wanted.append("answered")
    files = sorted(map(str, tmp_path.glob("*.skops")))
    done = subprocess.run([sys.executable, "-c", READ, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert len(answers) == len(wanted)
    for name, answer, said in zip([*PLANTED, "outputs", "nodes", "good"], answers, wanted, strict=True):
        assert said in answer, name


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(max_leaf_nodes=9),
        DecisionTreeClassifier(ccp_alpha=0.01),
        DecisionTreeClassifier(max_depth=1),
        GradientBoostingClassifier(n_estimators=3),
        RandomForestClassifier(3),
        HistGradientBoostingRegressor(max_iter=3),
    ],
    ids=["best first", "pruned", "one split", "boosting", "forest", "histogram"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_what_was_fitted_is_read(model, classes):
    fitted = model.fit(ROWS, TRUTH + (classes == 3) * (ROWS[:, 1] > 1))
    assert np.array_equal(read_estimator_bytes(estimator_bytes(fitted)).predict(ROWS), fitted.predict(ROWS))
