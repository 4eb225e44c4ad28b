"""The reference profile of a trained model: fitted beside it, kept in its package, and what a package refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kubeloop.contract import sections_of
from kubeloop.contract.monitoring import Monitoring
from kubeloop.data.tables import read_frame
from kubeloop.errors import InputError, IntegrityError, PermanentError
from kubeloop.learning.training import HELD_OUT
from kubeloop.monitoring.detectors.answers import Answered
from kubeloop.monitoring.reference.fitting import fit_reference
from kubeloop.monitoring.reference.packaged import reference_of
from kubeloop.monitoring.reference.profile import read_profile
from kubeloop.monitoring.windows.judge import Judge
from kubeloop.packaging.build import build
from kubeloop.packaging.manifest import REFERENCE
from kubeloop.packaging.read import read_package
from kubeloop.packaging.references import PROFILE
from tests.packaging import models

WATCHING = Monitoring.model_validate({"detectors": {"window": {"rows": 50, "minimum_rows": 20}}})


def contract(task: str):
    return models.contract(task).model_copy(update={"monitoring": WATCHING})


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def trained(request, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    models.train(folder, request.param)
    fit_reference(sections_of(contract(request.param)).monitor, *places(folder))
    return request.param, folder


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    models.train(folder)
    fit_reference(sections_of(contract("binary")).monitor, *places(folder))
    return folder


def places(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "model", folder / "development", folder / "reference"


def built(folder: Path, out: Path, task: str = "binary", reference: Path | None = None) -> Path:
    build(folder / "model", contract(task), models.evaluation(), models.DATA, out, reference or folder / "reference")
    return out


def test_a_package_carries_the_reference_and_a_window_is_judged_by_it(trained, tmp_path):
    task, folder = trained
    package = read_package(built(folder, tmp_path / "out", task))
    assert package.manifest.reference_profile == REFERENCE
    profile = reference_of(package)
    assert (profile.task, profile.rows, profile.name) == (task, 60, "heart")
    assert [column.name for column in profile.inputs.columns if column.name.startswith("model.")]
    assert profile.labels is not None
    assert [null.size for null in profile.inputs.nulls] == [20, 25]
    rows = read_frame(folder / "development").iloc[:25]
    answered = package.predict(rows)
    labels = answered.labels if answered.labels is not None else answered.values.astype(object)
    said = Judge(profile).inputs(rows, Answered(labels, answered.probabilities))
    assert (said.judged, said.told) == (25, ())
    older = Judge(profile).inputs(rows.assign(age=rows["age"] + 400), Answered(labels, answered.probabilities))
    assert {"drift:age", "outside:age"} <= {one.answer.signal.name for one in older.told}


def test_predictions_and_losses_are_those_of_models_that_had_not_seen_the_row(trained):
    task, folder = trained
    held = np.load(folder / "model" / HELD_OUT, allow_pickle=False)
    assert held.shape == {"binary": (60, 2), "multiclass": (60, 3), "regression": (60,)}[task]
    assert np.isfinite(held).all()
    own = read_package(built(folder, folder / f"own-{task}", task)).predict(read_frame(folder / "development"))
    assert not np.allclose(held, own.values if own.probabilities is None else own.probabilities)


def test_the_same_model_gives_the_same_bytes_and_another_reference_another_package(binary, tmp_path):
    again = tmp_path / "again"
    section = sections_of(contract("binary")).monitor
    facts = fit_reference(section, binary / "model", binary / "development", again)
    assert (again / "reference.zip").read_bytes() == (binary / "reference" / "reference.zip").read_bytes()
    assert [(one["rows"], one["evidence"]) for one in facts["windows"]] == [(20, 1000), (25, 1000)]
    assert all(0 < one["usual"] <= section.detectors.rate for one in facts["windows"])
    stricter = section.model_copy(update={"detectors": section.detectors.model_copy(update={"rate": 0.01})})
    fit_reference(stricter, binary / "model", binary / "development", tmp_path / "stricter")
    packages = [built(binary, tmp_path / str(place), reference=ref) for place, ref in enumerate([again, again, None])]
    other = built(binary, tmp_path / "other", reference=tmp_path / "stricter")
    digests = [read_package(package).digest for package in packages]
    assert len(set(digests)) == 1
    assert read_package(other).digest not in digests


def test_a_reference_of_another_model_is_not_packaged(binary, tmp_path):
    reference = Path(shutil.copytree(binary / "reference", tmp_path / "reference"))
    (reference / "made.json").write_text(json.dumps({"estimator": "sha256-" + "0" * 64}))
    with pytest.raises(PermanentError, match=r"a reference of sha256-\w+ was expected, but it is of sha256-000"):
        built(binary, tmp_path / "out", reference=reference)
    with pytest.raises(PermanentError, match="a reference from `fit_monitor` was expected in model"):
        built(binary, tmp_path / "out", reference=binary / "model")
    assert not (tmp_path / "out").exists()


def test_an_altered_reference_is_refused_at_any_time(binary, tmp_path):
    package = read_package(built(binary, tmp_path / "out"))
    (tmp_path / "out" / REFERENCE).write_bytes(b"PK")
    with pytest.raises(IntegrityError, match=r"monitoring/reference\.zip should have the digest"):
        reference_of(package)
    with pytest.raises(IntegrityError, match=r"monitoring/reference\.zip should have the digest"):
        read_package(tmp_path / "out")


def test_a_package_without_a_reference_says_what_to_do(binary, tmp_path):
    build(binary / "model", contract("binary"), models.evaluation(), models.DATA, tmp_path / "out")
    with pytest.raises(InputError, match=r"a reference profile was expected in package .* it has none"):
        reference_of(read_package(tmp_path / "out"))


def test_of_a_model_whose_training_rows_are_not_known_predictions_are_watched_and_losses_not(binary, tmp_path):
    model = Path(shutil.copytree(binary / "model", tmp_path / "model"))
    (model / HELD_OUT).unlink()
    facts = fit_reference(
        sections_of(contract("binary")).monitor, model, binary / "development", tmp_path / "reference"
    )
    assert facts["labels"] == 0
    assert "model.probability" in facts["columns"]
    assert "no held-out answers with their truth: lost performance is not told" in facts["notes"]


def test_blocks_of_the_contract_are_those_of_the_reference(binary, tmp_path):
    section = sections_of(contract("binary")).monitor.model_copy(update={"blocks": "smokes"})
    facts = fit_reference(section, binary / "model", binary / "development", tmp_path / "reference")
    assert (facts["dependence"], facts["blocks"]) == ("smokes", 2)
    assert any("2 blocks (smokes) cannot show a rate of false alarms below 0.333" in note for note in facts["notes"])
    with pytest.raises(InputError, match=r"the column 'ward', by which gate\.blocks or monitoring\.detectors\.blocks"):
        fit_reference(
            section.model_copy(update={"blocks": "ward"}), binary / "model", binary / "development", tmp_path / "x"
        )


def test_columns_that_the_log_hashes_or_drops_are_neither_in_the_reference_nor_judged(binary, tmp_path):
    log = {"hash": ["pain"], "drop": ["smokes"]}
    agreed = contract("binary").model_copy(
        update={"monitoring": Monitoring.model_validate({"detectors": WATCHING.detectors, "log": log})}
    )
    facts = fit_reference(sections_of(agreed).monitor, binary / "model", binary / "development", tmp_path / "reference")
    assert facts["columns"] == ["age", "model.prediction", "model.probability"]
    assert "smokes, pain: the inference log hashes or drops them, so they are not watched" in facts["notes"]
    judge = Judge(read_profile(tmp_path / "reference" / PROFILE))
    window = models.table(rows=60, seed=3).to_pandas().assign(smokes=None, pain="5ca1ab1e" * 4)
    said = judge.inputs(window)
    assert not said.told
    assert not {one.answer.signal.column for one in said.said} & {"smokes", "pain"}
