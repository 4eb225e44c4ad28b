"""Requests to answers in compiled code: each answer is the Python codec's, byte for byte, and no other is given."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from kubeloop.learning.inputs import InputColumn, to_frame
from kubeloop.scoring.compile import compile_plan
from kubeloop.scoring.errors import Unscorable
from kubeloop.scoring.scorer import Answered, Bodies, Scorer
from kubeloop.serving.fast import Codec
from tests.serving import fuzzing, test_rpc

SCHEMA = [
    InputColumn(name="age", kind="number", categories=None, minimum=18.0, maximum=90.0, nullable=False),
    InputColumn(name="dose", kind="number", categories=None, minimum=-4.0, maximum=4.0, nullable=True),
    InputColumn(
        name="ward", kind="category", categories=["", "0", "1", "12", "Größe", "north"], minimum=None, maximum=None,
        nullable=True,
    ),
    InputColumn(name="smoker", kind="boolean", categories=None, minimum=None, maximum=None, nullable=True),
    InputColumn(name="seen", kind="timestamp", categories=None, minimum=None, maximum=None, nullable=True),
]  # fmt: skip
FUZZED = [{**column, "nullable": True} for column in SCHEMA[:4]]
"""Of the bodies of `fuzzing`."""
DOUBLES = [0.0, -0.0, 1.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-5, 9.999999999999999e-6, 1e15,
           999999999999999.9, 9007199254740993.0, 0.1, 1 / 3, 2 / 3, 0.30000000000000004, 5e-5, 0.000244140625, 1e16,
           1e22, 1e23, 123456.7, 0.3333333333333333, 4.35, 2.0**-14, 2.0**49, 3.0 * 2.0**-18]  # fmt: skip


def package(schema: Any, task: str) -> Any:
    """What a codec asks of a package."""
    classes = [] if task == "regression" else ["no", "yes"]
    return SimpleNamespace(schema=schema, task=task, classes=classes, digest="sha256-0")


def fitted(schema: Any) -> Any:
    """A classifier that tells every column."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    numbers = [column["name"] for column in schema if column["kind"] != "category"]
    steps = [("n", SimpleImputer(), numbers), ("c", OneHotEncoder(handle_unknown="ignore"), ["ward"])]
    rng = np.random.default_rng(0)
    rows = [
        [30 + place % 40, rng.normal(), ["", "0", "1", "12", "Größe", "north", None][place % 7], place % 3 == 0, place]
        for place in range(60)
    ]
    table = to_frame([row[: len(schema)] for row in rows], schema)
    return Pipeline([("f", ColumnTransformer(steps)), ("m", LogisticRegression())]).fit(table, np.arange(60) % 2)


def made(schema: Any) -> tuple[Codec, Scorer]:
    return Codec(package(schema, "binary"), "both", "toy"), Scorer(compile_plan(fitted(schema), schema), schema)


def compiled(codec: Codec, scorer: Scorer) -> Callable[[bool, bytes], Answered]:
    return bodies(codec, scorer).answer


def bodies(codec: Codec, scorer: Scorer) -> Bodies:
    found = codec.compiled(scorer)
    if found is None:
        pytest.skip("no compiler made the evaluator")
    return found


@pytest.fixture(scope="module")
def plain() -> tuple[Codec, Scorer, Callable[[bool, bytes], Answered]]:
    codec, scorer = made(SCHEMA)
    return codec, scorer, compiled(codec, scorer)


def by_python(codec: Codec, scorer: Scorer, v2: bool, body: bytes) -> Answered:
    """What the Python codec makes of a body; None where it leaves it to the careful path."""
    try:
        rows, request_id = codec.v2_rows(body) if v2 else (codec.v1_rows(body), None)
        scores = scorer.score_rows(rows)
        answer = codec.v2_body(scores, request_id) if v2 else codec.v1_body(scores)
        return answer, len(rows), tuple(codec.rules.outside(rows))
    except Unscorable:
        return None


def tensors(*rows: list[Any], kinds: str = "FP64 FP64 BYTES BOOL FP64") -> list[dict[str, Any]]:
    return [
        {"name": column["name"], "shape": [len(rows)], "datatype": kind, "data": [row[place] for row in rows]}
        for place, (column, kind) in enumerate(zip(SCHEMA, kinds.split(), strict=True))
    ]


ROW = [61.5, 0.25, "north", True, 1.7e9]
GAPS = [30, None, None, None, None]
WHOLE = [-3, 1e3, "Größe", False, -5.5]
NAMED = dict(zip((column["name"] for column in SCHEMA), ROW, strict=True))
ALL = {"name": "rows", "shape": [2, 5], "datatype": "BYTES", "data": [*ROW, *GAPS]}
TAKEN: list[tuple[bool, Any]] = [
    (False, {"instances": [ROW]}),
    (False, {"instances": [ROW, GAPS, WHOLE] * 200}),
    (False, {"instances": [NAMED, dict(reversed(NAMED.items()))]}),
    (True, {"inputs": tensors(ROW, GAPS, WHOLE)}),
    (True, {"id": "r-1", "parameters": {"content_type": "pd", "n": 1, "b": None}, "inputs": tensors(ROW)}),
    (True, {"inputs": [{**item, "shape": [1, 1]} for item in reversed(tensors(ROW))], "id": "~ !"}),
    (True, {"inputs": [ALL]}),
    (True, {"inputs": [{**ALL, "data": [ROW, GAPS], "parameters": {}}]}),
    (True, {"inputs": tensors(GAPS, kinds="INT64 INT32 BYTES BOOL INT64")}),
]
LEFT: list[tuple[bool, bytes]] = [
    (v2, json.dumps(body).encode() if not isinstance(body, bytes) else body)
    for v2, body in [
        (False, {"instances": []}), (False, {}), (False, []), (False, {"instances": [[]]}), (False, b""), (False, b"{"),
        (False, {"instances": [ROW, NAMED]}), (False, {"instances": [ROW[:4]]}), (False, {"instances": [[*ROW, 1]]}),
        (False, {"instances": [{**NAMED, "further": 1}]}), (False, {"instances": [ROW], "more": 1}),
        (False, {"instances": [["61.5", *ROW[1:]]]}), (False, {"instances": [[None, *ROW[1:]]]}),
        (False, {"instances": [[*ROW[:2], "unknown", *ROW[3:]]]}), (False, {"instances": [[*ROW[:2], True, *ROW[3:]]]}),
        (False, {"instances": [[*ROW[:3], 1, 0]]}), (False, {"instances": [[*ROW[:4], 1e300]]}),
        (False, b'{"instances":[[1,2,"north",true,1],]}'), (False, b'{"instances":[[01,2,"north",true,1]]}'),
        (False, b'{"instances":[[1.,2,"north",true,1]]}'), (False, b'{"instances":[[1,1e999,"north",true,1]]}'),
        (False, b'{"instances":[[1,2,"nor\\u0074h",true,1]]}'), (False, b'{"instances":[[1,NaN,"north",true,1]]}'),
        (False, b'{"instances":[[12345678901234567890,2,"north",true,1]]}'),
        (False, b'{"instances":[[1,2,-0,true,1]]}'),
        (False, b'{"instances":[{"age":1,"age":2,"ward":"1","smoker":true,"seen":1}]}'),
        (False, b'{"instances":[[1,2,"north",true,1]]}x'), (False, b'\xef\xbb\xbf{"instances":[[1,2,"north",true,1]]}'),
        (True, {"inputs": []}), (True, {"inputs": tensors(ROW), "outputs": []}), (True, {"inputs": tensors(ROW)[:4]}),
        (True, {"inputs": [*tensors(ROW), tensors(ROW)[0]]}), (True, {"inputs": tensors(ROW), "id": 3}),
        (True, {"inputs": tensors(ROW), "id": "é"}), (True, {"inputs": [{**ALL, "shape": [3, 5]}]}),
        (True, {"inputs": [{**ALL, "shape": [2**31, 5]}]}), (True, {"inputs": [{**ALL, "shape": [2, 4]}]}),
        (True, {"inputs": tensors(ROW, kinds="INT64 FP64 BYTES BOOL FP64")}),
        (True, {"inputs": tensors(ROW, kinds="FP64 FP64 FP64 BOOL FP64")}),
        (True, {"inputs": tensors(ROW, kinds="FP64 FP64 BYTES FP64 FP64")}),
        (True, {"inputs": [dict(reversed(item.items())) for item in tensors(ROW)]}),
        (True, b'{"inputs":[{"name":"\xff","shape":[1,5],"datatype":"BYTES","data":[1,2,"north",true,1]}]}'),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("v2", "body"), TAKEN, ids=range(len(TAKEN)))
@pytest.mark.parametrize("indent", [None, 1])
def test_plain_requests_have_the_python_codecs_answer(plain: Any, v2: bool, body: Any, indent: int | None) -> None:
    codec, scorer, answer = plain
    content = json.dumps(body, indent=indent, ensure_ascii=False).encode()
    given = answer(v2, content)
    assert given is not None
    assert given == by_python(codec, scorer, v2, content)


@pytest.mark.parametrize(("v2", "body"), LEFT, ids=range(len(LEFT)))
def test_all_else_is_left_to_the_python_codec(plain: Any, v2: bool, body: bytes) -> None:
    assert plain[2](v2, body) is None


def test_several_requests_have_each_the_answer_of_its_own() -> None:
    """In every mixture of what is taken and what is left: alone, one after the other, and more than a block of rows."""
    codec, scorer = made(SCHEMA)
    found = bodies(codec, scorer)
    plain = [(v2, json.dumps(body, ensure_ascii=False).encode()) for v2, body in TAKEN]
    for asked in (plain, LEFT, plain + LEFT, (LEFT + plain) * 5, [plain[0]] * 300, [plain[0]], []):
        wanted = [found.answer(*request) for request in asked]
        assert found.answers(list(asked)) == wanted
        assert found.answers([(*request, None) for request in asked]) == wanted
    for wrong in ((), [b"{}"], [(1, b"{}")], [(True, "{}")], [(True,)]):
        with pytest.raises(TypeError, match="tuples that begin with whether it is V2, and the body as bytes"):
            found.answers(wrong)  # type: ignore[arg-type]


def test_a_row_that_the_learner_refuses_is_refused_alone() -> None:
    """A forest cuts numbers to 32-bit floats and takes none beyond."""
    from sklearn.ensemble import RandomForestClassifier

    schema = [InputColumn(name="x", kind="number", categories=None, minimum=None, maximum=None, nullable=False)]
    model = RandomForestClassifier(3, random_state=0).fit(pd.DataFrame({"x": range(40)}), np.arange(40) % 2)
    found = bodies(Codec(package(schema, "binary"), "both", "toy"), Scorer(compile_plan(model, schema), schema))
    asked = [(False, b'{"instances":[[%b]]}' % number) for number in (b"1", b"1e300", b"2.5", b"39")]
    given = found.answers(list(asked))
    assert [answer is None for answer in given] == [False, True, False, False]
    assert given == [found.answer(*request) for request in asked]


def test_a_category_that_came_as_a_number_is_known_by_its_digits(plain: Any) -> None:
    _, _, answer = plain
    for number in (0, 1, 12):
        texts = json.dumps({"instances": [[*ROW[:2], str(number), *ROW[3:]]]}).encode()
        assert answer(False, texts) is not None
        assert answer(False, json.dumps({"instances": [[*ROW[:2], number, *ROW[3:]]]}).encode()) == answer(False, texts)
    assert answer(False, b'{"instances":[[61.5,0.25,2,true,1]]}') is None


def test_columns_outside_their_rules_are_named(plain: Any) -> None:
    given = plain[2](False, json.dumps({"instances": [ROW, [17, 4.5, "1", True, 0]]}).encode())
    assert given is not None
    assert given[1:] == (2, ("age", "dose"))


def test_numbers_are_read_and_written_to_the_last_bit() -> None:
    """Through a model that answers with what it was asked."""
    from sklearn.linear_model import LinearRegression

    schema = [InputColumn(name="x", kind="number", categories=None, minimum=None, maximum=None, nullable=False)]
    model = LinearRegression().fit(pd.DataFrame({"x": [0.0, 1.0]}), [0.0, 1.0])
    model.coef_, model.intercept_ = np.array([1.0]), 0.0
    codec = Codec(package(schema, "regression"), "both", "toy")
    scorer = Scorer(compile_plan(model, schema), schema)
    answer = compiled(codec, scorer)
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    drawn = [*DOUBLES, *bits[np.isfinite(bits)], *rng.random(20_000), *rng.normal(size=5000) * 1e6]
    drawn += [*(rng.integers(0, 10**6, 5000) / 1000), *(rng.integers(0, 2**18, 2000) / 2**18)]
    values = [float(value) + 0.0 for value in drawn]  # a sum has no minus zero
    for texts in (map(repr, values), (f"{value:.30e}" for value in values)):
        given = answer(False, b'{"instances":[[%b]]}' % "],[".join(texts).encode())
        assert given is not None
        assert given[0] == orjson.dumps({"predictions": values})
    for wrong in (
        b"",
        b"-",
        b"+1",
        b".5",
        b"1.e5",
        b"1e",
        b"1e+",
        b"0x1",
        b"1_0",
        b"1" * 70,
        b"0." + b"1" * 70,
        b"Infinity",
    ):
        assert answer(False, b'{"instances":[[%b]]}' % wrong) is None


def test_mutated_bodies_have_the_python_codecs_answer_or_none() -> None:
    codec, scorer = made(FUZZED)
    answer = compiled(codec, scorer)
    answered = 0
    for v2, body in fuzzing.bodies(11, 4000):
        given, wanted = answer(v2, body), by_python(codec, scorer, v2, body)
        if given is None:
            continue
        answered += 1
        # Only a category that came as a number is answered here and not there.
        assert given == wanted or (wanted is None and b'"ward"' in body), body
    assert answered > 50


SANITISED = """
import importlib.util, random, sys
spec = importlib.util.spec_from_file_location("kubeloop.scoring._native", sys.argv[1])
sys.modules["kubeloop.scoring._native"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["kubeloop.scoring._native"])
import kubeloop.scoring
kubeloop.scoring._native = sys.modules["kubeloop.scoring._native"]
from tests.scoring import test_bodies as found
from tests.serving import fuzzing
fuzzed = found.bodies(*found.made(found.FUZZED))
mutated = list(fuzzing.bodies(12, 5000))
for at, (v2, body) in enumerate(mutated):
    fuzzed.answer(v2, body)
    fuzzed.answers(mutated[at : at + at % 9])
answer = found.compiled(*found.made(found.SCHEMA))
rng = random.Random(3)
plain = [(v2, found.json.dumps(body, ensure_ascii=False).encode()) for v2, body in found.TAKEN]
for v2, body in plain + found.LEFT:
    for cut in range(min(len(body), 600)):
        answer(v2, body[:cut])
    for _ in range(100):
        at, with_ = rng.randrange(len(body) + 1), rng.choice(plain)[1]
        other = rng.randrange(len(with_))
        answer(v2, body[:at] + with_[other : other + rng.randrange(40)] + body[at + rng.randrange(3) :])
message = found.bodies(*found.made(found.FUZZED)).message
for text in sys.argv[2:]:
    body = bytes.fromhex(text)
    for cut in range(len(body)):
        message(body[:cut])
    for _ in range(4000):
        changed = bytearray(body)
        at = rng.randrange(len(body))
        changed[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        message(bytes(changed))
print("clean")
"""


@pytest.mark.slow
def test_no_body_makes_it_touch_what_is_not_its_own(tmp_path: Path, root: Path) -> None:
    """Built with the address and undefined-behaviour sanitisers, over mutated, cut and spliced bodies."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc")
    asan = subprocess.run(
        [gcc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(asan).is_absolute():
        pytest.skip("gcc has no address sanitiser here")
    sources = sorted(map(str, (root / "kubeloop" / "scoring").glob("*.c")))
    flags = ["-O1", "-g", "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared"]
    built = tmp_path / "_native.so"
    include = sysconfig.get_paths()["include"]
    subprocess.run([gcc, *flags, "-fPIC", f"-I{include}", *sources, "-o", str(built)], check=True)
    settings = {"LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    messages = [
        made.SerializeToString().hex() for made in (test_rpc.request(id="r"), test_rpc.packed(), test_rpc.two_rows())
    ]
    done = subprocess.run(
        [sys.executable, "-c", SANITISED, str(built), *messages], cwd=root, env=os.environ | settings,
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.stdout.strip() == "clean", done.stderr[-3000:]
