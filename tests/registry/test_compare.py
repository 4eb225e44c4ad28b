"""A comparison names what differs, and nothing that does not."""

from kubeloop.packaging.manifest import Metric, parse
from kubeloop.registry.compare import changes, compare


def manifests(packages):
    return [parse((package / "manifest.json").read_bytes()) for package in packages[:2]]


def test_the_same_is_the_same(packages):
    first, _ = manifests(packages)
    found = compare(first, first)
    assert (found["contract"], found["libraries"], found["code"], found["change"]) == ({}, [], {}, "none")
    assert found["data"]["same"]
    assert found["features"] == {"added": [], "removed": [], "changed": {}, "order": True}


def test_a_changed_parameter_is_named(packages):
    found = compare(*manifests(packages))
    assert found["contract"] == {"estimator.parameters.C": [1.0, 0.5]}
    assert found["change"] == "minor"


def test_features_metrics_data_and_libraries(packages):
    first, _ = manifests(packages)
    renamed = first.features[0].model_copy(update={"name": "years"})
    narrower = first.features[1].model_copy(update={"nullable": not first.features[1].nullable})
    other = first.model_copy(
        update={
            "features": (first.features[2], narrower, renamed),
            "metrics": {
                "accuracy": Metric(value=0.7, low=0.6, high=0.79, method="wilson", n=60),
                "roc_auc": Metric(value=0.8, low=None, high=None, method="none", n=60),
            },
            "data": first.data.model_copy(update={"digest": "sha256-" + "e" * 64}),
            "environment": first.environment.model_copy(
                update={"libraries": first.environment.libraries | {"numpy": "1.0"}}
            ),
        }
    )
    found = compare(first, other)
    assert found["features"]["added"] == ["years"]
    assert found["features"]["removed"] == [first.features[0].name]
    assert list(found["features"]["changed"]) == [first.features[1].name]
    assert not found["features"]["order"]
    assert round(found["metrics"]["accuracy"]["difference"], 6) == -0.2
    assert found["metrics"]["accuracy"]["overlap"] is False
    assert found["metrics"]["roc_auc"]["old"] is None
    assert not found["data"]["same"]
    assert "numpy" in found["libraries"][0]
    assert found["change"] == "major"


def test_changes_reach_every_depth():
    old, new = {"a": {"b": 1, "c": [1, 2]}, "d": 4}, {"a": {"b": 2, "c": [1, 2]}, "e": 5}
    assert changes(old, new) == {"a.b": [1, 2], "d": [4, "absent"], "e": ["absent", 5]}
    part = {"s": {"n": 3, "none": None, "of": {"x": 0, "y": []}}}
    assert changes({"s": None}, part) == {"s.n": [None, 3], "s.of.x": [None, 0]}
    assert changes(part, {}) == {"s.n": [3, "absent"], "s.of.x": [0, "absent"]}
