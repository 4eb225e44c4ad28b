"""Values that fit the schema and that the model cannot take all the same: the client hears of it, with the row."""

from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from kubeloop.errors import InputError
from kubeloop.learning.answers import Answers
from kubeloop.serving.model import PackageModel
from tests.serving.conftest import make_package

ROW = {"age": 61.5, "dose": 0.25, "ward": "north", "smoker": True}
BEYOND = {**ROW, "dose": 1e300}


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A forest computes in 32 bits."""
    estimator = {"kind": "random_forest", "parameters": {"n_estimators": 3}}
    package = make_package(tmp_path_factory.mktemp("forest"), 3, estimator=estimator)
    model = PackageModel("toy", package, None)
    model.open()
    yield model
    model.pool.shutdown()


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (4, 2)])
def test_the_row_is_named(forest: PackageModel, before: int, after: int) -> None:
    rows = [ROW] * before + [BEYOND] + [ROW] * after
    with pytest.raises(InputError, match=f"row {before + 1}: the model cannot take its values") as refused:
        forest.reply(orjson.dumps({"instances": rows}), None, v2=False)
    assert refused.value.context["row"] == before + 1
    with pytest.raises(InputError, match=f"row {before + 1}: "):
        forest.predict_rows([list(row.values()) for row in rows])
    assert np.shape(forest.predict_rows([list(ROW.values())] * 2)) == (2, 2)


def test_over_http_it_is_400_and_what_nobody_foresaw_a_500_without_internals(
    fast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("planted-value")

    def beyond(*_: Any) -> Any:
        raise ValueError("planted-value")

    def given() -> httpx.Response:
        body = orjson.dumps({"instances": [{**ROW, "age": "61.5"}]})  # a text takes the careful path
        answer: httpx.Response = fast.post("/v1/models/toy:predict", body)
        return answer

    for wrong, status in ((broken, 500), (beyond, 400)):
        monkeypatch.setattr("kubeloop.serving.model.answer", wrong)
        answer = given()
        assert answer.status_code == status
        assert "planted-value" not in answer.text
        monkeypatch.undo()
    assert given().status_code == 200


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("text", [False, True])
def test_an_answer_that_is_no_number_is_never_sent(
    fast: Any, monkeypatch: pytest.MonkeyPatch, bad: float, text: bool
) -> None:
    """A stock server sends null, and 200: a client takes it for an answer. By the fast path, and by the careful one."""
    row = {**ROW, "age": "61.5"} if text else ROW
    tensors = [
        {"name": name, "shape": [1], "datatype": "BYTES", "data": [str(value) if name == "age" else value]}
        for name, value in row.items()
    ]
    monkeypatch.setattr(fast.scorer, "score_rows", lambda rows: [[bad, bad]] * len(rows))
    broken = Answers(labels=np.array(["no"], dtype=object), probabilities=np.array([[bad, bad]]))
    monkeypatch.setattr("kubeloop.serving.model.answer", lambda *_: broken)
    for path, body in (("/v1/models/toy:predict", {"instances": [row]}), ("/v2/models/toy/infer", {"inputs": tensors})):
        answer = fast.post(path, orjson.dumps(body))
        assert answer.status_code == 500, answer.text
        assert answer.json() == {"error": "the model gave an answer that is no finite number"}
