import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from kubeloop.errors import IntegrityError, PermanentError
from kubeloop.learning import estimator_file
from kubeloop.learning.estimator_file import estimator_bytes, read_estimator, read_estimator_bytes, write_estimator

DUMP = """
import hashlib, sys
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from kubeloop.learning.estimator_file import estimator_bytes
rng = np.random.default_rng(0)
x, y = rng.normal(size=(120, 4)), np.arange(120) % 2
for model in (LogisticRegression(), HistGradientBoostingClassifier(max_iter=5, random_state=0)):
    print(hashlib.sha256(estimator_bytes(Pipeline([("s", StandardScaler()), ("m", model)]).fit(x, y))).hexdigest())
"""


def fitted():
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.arange(20.0).reshape(10, 2)
    return Pipeline([("scale", StandardScaler()), ("model", Ridge())]).fit(x, x[:, 0] ** 2)


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return {info.filename: source.read(info) for info in source.infolist()}


def packed(files, compression=zipfile.ZIP_STORED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return target.getvalue()


def test_what_is_written_comes_back_and_answers_the_same(tmp_path):
    path = tmp_path / "estimator.skops"
    estimator = fitted()
    write_estimator(estimator, path)
    x = np.arange(6.0).reshape(3, 2)
    assert (read_estimator(path).predict(x) == estimator.predict(x)).all()
    assert [found.name for found in tmp_path.iterdir()] == ["estimator.skops"]


def test_a_model_that_was_read_writes_the_same_bytes():
    data = estimator_bytes(fitted())
    assert estimator_bytes(read_estimator_bytes(data)) == data


def test_two_processes_in_two_folders_write_the_same_bytes(tmp_path):
    found = []
    for number in ("1", "2"):
        folder = tmp_path / number
        folder.mkdir()
        env = {**os.environ, "PYTHONHASHSEED": number, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", DUMP], cwd=folder, env=env, capture_output=True, text=True, check=True
        )
        found.append(done.stdout)
    assert found[0] == found[1]
    assert len(found[0].split()) == 2


def test_no_address_and_no_time_is_in_the_file():
    data = estimator_bytes(fitted())
    files = members(data)
    assert "__id__" not in files["schema.json"].decode()
    assert all(name == "schema.json" or name.startswith("array-") for name in files)
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        assert {info.date_time for info in source.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_list_of_types_is_what_skops_is_told_to_trust():
    import skops.io

    untrusted = set(skops.io.get_untrusted_types(data=estimator_bytes(fitted())))
    assert untrusted <= set().union(*estimator_file.ALLOWED.values())


def hostile(node):
    """A real file in which one part was replaced."""
    files = members(estimator_bytes(fitted()))
    schema = json.loads(files["schema.json"])
    schema["content"]["content"]["memory"] = node
    return packed({**files, "schema.json": json.dumps(schema)})


def test_a_hostile_type_is_refused_and_nothing_of_it_runs(tmp_path, monkeypatch):
    planted, trace = tmp_path / "planted.py", tmp_path / "ran"
    planted.write_text(f"import pathlib\npathlib.Path({str(trace)!r}).touch()\nclass Model: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = hostile({"__class__": "Model", "__module__": "planted", "__loader__": "ObjectNode", "content": None})
    with pytest.raises(IntegrityError, match=r"planted\.Model \(ObjectNode\)"):
        read_estimator_bytes(data)
    assert not trace.exists()
    assert "planted" not in sys.modules


@pytest.mark.parametrize(
    ("loader", "module", "name"),
    [
        ("FunctionNode", "os", "system"),
        ("FunctionNode", "numpy", "sum"),  # skops trusts it; our models hold no function
        ("ObjectNode", "sklearn.pipeline", "FeatureUnion"),  # skops trusts it; our models hold none
        ("TypeNode", "subprocess", "Popen"),
        ("MethodNode", "sklearn.pipeline", "Pipeline"),  # an allowed type under a loader that never holds it
        ("PartialNode", "functools", "partial"),
        ("CachedNode", "builtins", "dict"),
    ],
)
def test_only_listed_types_under_their_own_loader_are_read(loader, module, name):
    with pytest.raises(IntegrityError, match=f"{module}.{name}"):
        read_estimator_bytes(hostile({"__class__": name, "__module__": module, "__loader__": loader, "content": None}))


def test_a_type_that_could_not_be_read_is_not_written(tmp_path):
    from sklearn.decomposition import PCA

    with pytest.raises(PermanentError, match=r"sklearn\.decomposition\._pca\.PCA"):
        write_estimator(PCA(n_components=1).fit(np.arange(6.0).reshape(3, 2)), tmp_path / "x.skops")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data", [b"", b"no zip", b"PK\x03\x04 cut", packed({"other": b""}), packed({"schema.json": b"[]"})]
)
def test_unreadable_bytes_are_an_integrity_error(tmp_path, data):
    path = tmp_path / "estimator.skops"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"estimator\.skops"):
        read_estimator(path)


def test_a_missing_file_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match=r"estimator\.skops is missing"):
        read_estimator(tmp_path / "estimator.skops")


def test_truncated_and_compressed_files_are_refused():
    data = estimator_bytes(fitted())
    with pytest.raises(IntegrityError):
        read_estimator_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError, match="compressed"):
        read_estimator_bytes(packed(members(data), zipfile.ZIP_DEFLATED))


def test_a_missing_array_another_protocol_and_deep_nesting_are_refused():
    files = members(estimator_bytes(fitted()))
    with pytest.raises(IntegrityError, match="damaged"):
        read_estimator_bytes(packed({name: files[name] for name in files if name != "array-0.npy"}))
    schema = json.loads(files["schema.json"])
    with pytest.raises(IntegrityError, match="protocol 0"):
        read_estimator_bytes(packed({**files, "schema.json": json.dumps(schema | {"protocol": 0})}))
    with pytest.raises(IntegrityError):
        read_estimator_bytes(packed({**files, "schema.json": b"[" * 100_000}))


def test_a_flipped_byte_is_refused_or_changes_nothing():
    data = estimator_bytes(fitted())
    x = np.arange(6.0).reshape(3, 2)
    expected = fitted().predict(x)
    refused = 0
    for position in range(0, len(data), 61):
        flipped = bytearray(data)
        flipped[position] ^= 0xFF
        try:
            found = read_estimator_bytes(bytes(flipped))
        except IntegrityError:
            refused += 1
        else:  # a time or an attribute in a zip header, which nothing reads
            assert (found.predict(x) == expected).all()
    assert refused > 100
