"""Nothing is loaded before every byte is what was judged."""

import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from kubeloop.digests import file_digest
from kubeloop.errors import IntegrityError, PermanentError
from kubeloop.packaging.manifest import parse
from kubeloop.packaging.package import Package
from kubeloop.packaging.read import read_package
from kubeloop.packaging.verify import verify


def rewrite(package: Path, **changes: object) -> str:
    """Alter the manifest as someone would who knows the format; gives the new digest."""
    manifest = parse((package / "manifest.json").read_bytes()).model_copy(update=changes)
    (package / "manifest.json").write_text(manifest.text())
    return manifest.digest()


def test_every_flipped_byte_is_found_and_its_file_named(package):
    digest = verify(package)[1]
    draw = random.Random(0)
    flips = 0
    files = sorted(path for path in package.rglob("*") if path.is_file() and "detached" not in path.parts)
    names = [path.relative_to(package).as_posix() for path in files]
    assert {"manifest.json", "estimator.skops", "README.md", "test/test_package.py"} < set(names)
    total = sum(path.stat().st_size for path in files)
    for name, file in zip(names, files, strict=True):
        content = file.read_bytes()
        # Half over the bytes wherever they are, half the same for each file: a small file's bytes count, too.
        share = 10 + 1000 // len(files) + 1000 * len(content) // total
        for place in [0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(share))]:
            spoilt = bytearray(content)
            spoilt[place] ^= 1 << draw.randrange(8)
            file.write_bytes(spoilt)
            with pytest.raises(IntegrityError) as caught:
                read_package(package, digest)
            assert name in caught.value.problem, place
            assert caught.value.context["file"] == name
            flips += 1
        file.write_bytes(content)
    assert flips >= 2000
    assert read_package(package, digest).digest == digest


def test_the_folder_name_is_an_expectation(package):
    other = package.with_name("sha256-" + "0" * 64)
    package.rename(other)
    with pytest.raises(IntegrityError, match=r"manifest\.json should have the digest sha256-0000"):
        read_package(other)


def test_missing_extra_and_linked_files_are_named(package):
    (package / "plan").mkdir()
    (package / "plan/extra.bin").write_bytes(b"x")
    with pytest.raises(IntegrityError, match=r"plan/extra\.bin is there"):
        read_package(package)
    (package / "plan/extra.bin").unlink()
    (package / "detached/link").symlink_to("/etc/hostname")
    with pytest.raises(IntegrityError, match="detached/link is a link or a device"):
        read_package(package)
    (package / "detached/link").unlink()
    (package / "README.md").unlink()
    with pytest.raises(IntegrityError, match=r"README\.md was expected"):
        read_package(package)
    (package / "manifest.json").unlink()
    with pytest.raises(IntegrityError, match=r"manifest\.json was expected"):
        read_package(package)
    with pytest.raises(IntegrityError, match="a package folder was expected"):
        read_package(package / "nowhere")


def test_detached_facts_may_change(package):
    digest = verify(package)[1]
    (package / "detached/signature.json").write_text("{}")
    (package / "detached/host.json").unlink()
    assert read_package(package, digest).digest == digest


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "detached/x", "a//b", "./a"])
def test_a_manifest_cannot_name_files_elsewhere(package, path):
    manifest = parse((package / "manifest.json").read_bytes())
    rewrite(package, files={**manifest.files, path: "sha256-" + "0" * 64})
    with pytest.raises(IntegrityError, match="is no path of a package's file"):
        read_package(package)


def test_a_manifest_of_a_later_format_is_no_damage(package):
    (package / "manifest.json").write_text('{"kubeloop_package":2}')
    with pytest.raises(PermanentError, match="has format 2, this release reads up to 1") as caught:
        read_package(package)
    assert not isinstance(caught.value, IntegrityError)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"kubeloop_package":1}', b"\xff\xfe", b"NaN"])
def test_no_manifest_is_said(package, content):
    (package / "manifest.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"manifest\.json should be"):
        read_package(package)


def test_a_manifest_that_is_not_canonical_is_refused(package):
    (package / "manifest.json").write_bytes((package / "manifest.json").read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match="canonical JSON"):
        read_package(package)


class Planted:
    """Pickles, and skops' own nodes, would run this."""

    def __reduce__(self):
        return os.system, (f"touch {os.environ['PLANTED']}",)


def test_a_hostile_estimator_is_refused_and_not_run(package, tmp_path, monkeypatch):
    side_effect = tmp_path / "ran"
    monkeypatch.setenv("PLANTED", str(side_effect))
    hostile = (
        '{"__class__":"Popen","__module__":"subprocess","__loader__":"ObjectNode","content":'
        '{"__class__":"dict","__module__":"builtins","__loader__":"DictNode","content":{},"key_types":'
        '{"__class__":"list","__module__":"builtins","__loader__":"ListNode","content":[]}},"protocol":2,'
        '"_skops_version":"0.13.0"}'
    )
    reduced = (
        '{"__class__":"system","__module__":"os","__loader__":"ReduceNode","__reduce__":{"args":["touch '
        + str(side_effect)
        + '"]},"protocol":2,"_skops_version":"0.13.0"}'
    )
    method = (
        '{"__class__":"system","__module__":"os","__loader__":"FunctionNode","content":{"module_path":"os",'
        '"function":"system"},"protocol":2,"_skops_version":"0.13.0"}'
    )
    for schema in (hostile, reduced, method):
        with zipfile.ZipFile(package / "estimator.skops", "w") as out:
            out.writestr("schema.json", schema)
        known = parse((package / "manifest.json").read_bytes()).files
        digests = known | {"estimator.skops": file_digest(package / "estimator.skops")}
        digest = rewrite(package, files=digests)
        opened = read_package(package, digest)
        with pytest.raises(IntegrityError, match="holds types that no model of ours holds"):
            opened.predict(list(opened.golden.requests))
    import pickle

    (package / "estimator.skops").write_bytes(pickle.dumps(Planted()))
    digests["estimator.skops"] = file_digest(package / "estimator.skops")
    with pytest.raises(IntegrityError, match="no readable model file"):
        read_package(package, rewrite(package, files=digests)).prove()
    assert not side_effect.exists()


def test_what_changes_between_verifying_and_loading_is_found(package):
    opened = read_package(package)
    (package / "estimator.skops").write_bytes(b"swapped")
    with pytest.raises(IntegrityError, match=r"estimator\.skops should have the digest"):
        opened.predict(list(opened.golden.requests))


def test_other_libraries_are_proven_or_refused(package):
    manifest = parse((package / "manifest.json").read_bytes())
    other = manifest.environment.model_copy(update={"libraries": {**manifest.environment.libraries, "scipy": "0.9"}})
    rewrite(package, environment=other)
    assert isinstance(read_package(package), Package)
    spoilt = [list(row) for row in manifest.golden.probabilities]
    spoilt[3][0] += 1e-9
    golden = manifest.golden.model_copy(update={"probabilities": tuple(tuple(row) for row in spoilt)})
    rewrite(package, environment=other, golden=golden)
    with pytest.raises(IntegrityError, match=r"fitted with scipy 0\.9, here .* not proven to score the same"):
        read_package(package)


def test_predict_takes_rows_mappings_and_frames(kept):
    import pandas as pd

    package = read_package(kept)
    frame = pd.DataFrame({"pain": ["some", None], "age": [40.0, None], "smokes": [True, False]})
    rows: list[list[Any]] = [[40.0, True, "some"], [None, False, None]]
    mappings: list[dict[str, Any]] = [
        {"age": 40.0, "smokes": True, "pain": "some"},
        {"age": None, "smokes": False, "pain": None},
    ]
    forms: tuple[Any, ...] = (frame, rows, mappings)
    answers = [package.predict(given) for given in forms]
    for answer in answers:
        assert answer.labels.tolist() == answers[0].labels.tolist()
        assert answer.probabilities.tolist() == answers[0].probabilities.tolist()
        assert answer.probabilities.shape == (2, 2)
    assert set(answers[0].labels) <= set(package.classes)


def test_opening_a_package_loads_no_model_library(kept):
    code = (
        "import sys, pathlib\nfrom kubeloop.packaging.read import read_package\n"
        "read_package(pathlib.Path(sys.argv[1]))\n"
        "print([name for name in ('sklearn', 'pandas', 'skops', 'fsspec', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(kept)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
