"""What a package holds, and that the same input gives the same digest anywhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubeloop.errors import InputError, IntegrityError, PermanentError
from kubeloop.packaging.build import build
from kubeloop.packaging.manifest import parse
from kubeloop.packaging.read import read_package
from kubeloop.packaging.verify import verify


def test_two_processes_in_two_folders_give_one_digest(tmp_path):
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import models\n"
        "from kubeloop.packaging.verify import verify\n"
        "print(verify(models.package(pathlib.Path(sys.argv[2])))[1])"
    )
    here = str(Path(__file__).parent)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, here, str(tmp_path / folder)], stdout=subprocess.PIPE, text=True, cwd=cwd
        )
        for folder, cwd in (("one", "/"), ("another/below", here))
    ]
    digests = [process.communicate(timeout=60)[0].strip() for process in running]
    assert digests[0] == digests[1]
    assert digests[0].startswith("sha256-")
    first, second = ((tmp_path / folder / "package") for folder in ("one", "another/below"))
    for name in ("manifest.json", "estimator.skops", "README.md"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_host_and_whole_decision_are_detached(kept, models, tmp_path):
    before = verify(kept)[1]
    model = kept.parent / "model"
    judged = models.evaluation(baseline="champion", champion={"digest": "sha256-" + "1" * 64, "difference": {}})
    assert build(model, models.contract(), judged, models.DATA, tmp_path / "out") == before
    host = json.loads((tmp_path / "out/detached/host.json").read_text())
    assert set(host) == {"cpu", "python", "platform", "installed"}
    assert json.loads((tmp_path / "out/detached/evaluation.json").read_text())["champion"] == "sha256-" + "1" * 64


@pytest.mark.parametrize("what", ["parameter", "data", "metric", "verdict"])
def test_another_input_gives_another_digest(kept, models, tmp_path, what):
    judged = models.evaluation("fail" if what == "verdict" else "pass")
    if what == "metric":
        judged["metrics"]["accuracy"]["low"] = 0.86
    data = "sha256-" + "e" * 64 if what == "data" else models.DATA
    model = models.train(tmp_path, c=0.5) if what == "parameter" else kept.parent / "model"
    assert build(model, models.contract(), judged, data, tmp_path / "out") != verify(kept)[1]


def test_manifest_answers_for_what_a_package_must(any_package):
    manifest = parse((any_package / "manifest.json").read_bytes())
    assert manifest.code_version
    assert manifest.estimator["parameters"]
    assert manifest.data.digest.startswith("sha256-")
    assert manifest.training_rows
    assert manifest.contract["name"] == manifest.name == "heart"
    assert {"scikit-learn", "numpy", "skops"} <= manifest.environment.libraries.keys()
    assert manifest.metrics["accuracy"].low == 0.85
    assert manifest.decision.verdict == "pass"
    assert manifest.dummy is not None
    assert [feature.name for feature in manifest.features] == ["age", "smokes", "pain"]
    assert manifest.scoring_plan is None
    assert manifest.reference_profile is None
    readme = (any_package / "README.md").read_text()
    assert "Who is ill?" in readme
    assert "Fewer | missed" in readme
    assert "| accuracy | 0.9 | 0.85 to 0.94 (wilson) | 60 |" in readme


def test_a_built_package_answers_its_own_golden_requests(any_package):
    package = read_package(any_package)
    assert package.prove() == 0.0
    assert len(package.golden.requests) == 12


def test_a_model_other_than_the_judged_one_is_refused(kept, models, tmp_path):
    judged = models.evaluation(estimator="sha256-" + "0" * 64)
    with pytest.raises(IntegrityError, match=r"estimator\.skops should be the judged one"):
        build(kept.parent / "model", models.contract(), judged, models.DATA, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder_is_left_alone(kept, models, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="has content"):
        build(kept.parent / "model", models.contract(), models.evaluation(), models.DATA, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_build_again_is_a_success(kept, models, tmp_path):
    for _ in range(2):
        digest = build(kept.parent / "model", models.contract(), models.evaluation(), models.DATA, tmp_path / "out")
        assert digest == verify(tmp_path / "out")[1] == verify(kept)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_model_is_said(models, tmp_path):
    with pytest.raises(PermanentError, match=r"model\.json of a trained model was expected"):
        build(tmp_path, models.contract(), models.evaluation(), models.DATA, tmp_path / "out")


def test_a_fit_by_other_libraries_is_not_packaged(kept, models, tmp_path):
    document = json.loads((kept.parent / "model/model.json").read_text())
    document["libraries"]["scikit-learn"] = "0.1"
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.json").write_text(json.dumps(document))
    (tmp_path / "model/estimator.skops").write_bytes((kept / "estimator.skops").read_bytes())
    with pytest.raises(PermanentError, match="was fitted with"):
        build(tmp_path / "model", models.contract(), models.evaluation(), models.DATA, tmp_path / "out")
