"""The trial: what it accepts, and what it catches."""

import dataclasses
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from kubeloop.digests import canonical_json
from kubeloop.errors import IntegrityError, PermanentError
from kubeloop.packaging.read import read_package
from kubeloop.serving import process
from kubeloop.serving.trial import replay, trial


def altered(package: Path, out: Path, row: int) -> Path:
    """A copy whose golden answer to one request was moved by a hair, whole and consistent in itself."""
    shutil.copytree(package, out)
    file = out / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["golden"]["probabilities"][row][0] += 1e-9
    file.write_text(canonical_json(manifest))
    return out


def test_trial_of_a_good_package(packages: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBELOOP_HOME", str(tmp_path))
    facts = trial(packages[0], "toy", "both")
    assert facts["golden"] == 12
    assert facts["max_difference"] <= 1e-12
    assert facts["protocols"] == ["v1", "v2"]
    assert facts["boot_s"] > 0


def test_altered_golden_answers_are_caught(
    packages: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBELOOP_HOME", str(tmp_path))
    with pytest.raises(PermanentError, match=r"golden request 5: .* was expected"):
        trial(altered(packages[0], tmp_path / "altered", 4), "toy", "both")


def test_replay_names_the_request_that_differs(endpoint: Any, packages: tuple[Path, Path], tmp_path: Path) -> None:
    for row in (0, 11):
        copy = altered(packages[0], tmp_path / f"altered-{row}", row)
        with pytest.raises(PermanentError, match=rf"V1, golden request {row + 1}: .* was expected"):
            replay(endpoint.running.port, "toy", read_package(copy).manifest)


def test_a_predictor_that_ends_is_told_with_its_last_lines(tmp_path: Path) -> None:
    running = process.start(tmp_path / "nowhere", "toy", tmp_path / "log", tmp_path)
    try:
        with pytest.raises(PermanentError, match=r"(?s)ended with exit code 1:.*a package folder was expected"):
            process.wait_ready(running)
    finally:
        process.stop(running)
    assert "Traceback" not in (tmp_path / "log").read_text()


def full_pipe(place: Path) -> int:
    """A named pipe into which nothing more can be written until somebody reads; its reading end."""
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while os.write(writer, bytes(4096)):
            pass
    os.close(writer)
    os.set_blocking(reader, True)
    return reader


def test_not_ready_until_loaded(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """Loading says that the package is not signed, and is held up where it says so."""
    reader = full_pipe(tmp_path / "log")
    running = process.start(packages[0], "toy", tmp_path / "log", tmp_path)
    try:
        with httpx.Client(base_url=running.url, timeout=180) as client:
            assert client.get("/v2/health/ready").status_code == 503
            assert client.post("/v1/models/toy:predict", json={"instances": []}).headers["retry-after"] == "1"
            assert client.get("/v2/health/live").status_code == 200
            with pytest.raises(PermanentError, match="should be ready within 0 s"):
                process.wait_ready(dataclasses.replace(running, log=tmp_path / "none"), deadline_s=0.0)
            while not (said := os.read(reader, 4096)).strip(b"\0"):
                assert said, "it has ended"
            process.wait_ready(running)
            assert client.get("/v2/health/ready").status_code == 200
    finally:
        process.stop(running)
        os.close(reader)


def test_regression_and_labels_alone(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBELOOP_HOME", str(tmp_path))
    assert trial(make(tmp_path, 3, "regression"), "toy", "labels")["max_difference"] <= 1e-12


def test_a_package_that_does_not_verify_is_not_booted(packages: tuple[Path, Path], tmp_path: Path) -> None:
    copy = altered(packages[0], tmp_path / "altered", 4)
    (copy / "estimator.skops").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"estimator\.skops should have the digest"):
        trial(copy, "toy", "both")
