import importlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from kubeloop.contract import Contract, decode, encode, sections, sections_of
from kubeloop.contract.base import Strict
from kubeloop.contract.data import Column
from kubeloop.contract.load import read_contract
from kubeloop.contract.text import decode_document, encode_document
from kubeloop.errors import PermanentError

NASTY = [
    "{{= 1+1 }}",
    "{{{{workflow.name}}}}",
    "{{$.inputs.parameters['x']}}",
    "$(HOME)",
    "$$(HOME)",
    "${HOME}",
    "$$",
    "`id`",
    'it\'s "quoted" \\ and \\u007b',
    "two\nlines\r\n\tand a tab",
    "größer 漢字 \U0001f600 \u2028",
    "%s %(x)s {0}",
    "- yaml: [1, {a: b}] # no",
    "true",
    "1.0",
    "",
    " ",
    "\x00\x7f",
]


def models() -> list[type[Strict]]:
    chapters = ("business", "data", "estimator", "features", "judgement", "model", "monitoring", "sections")
    found = []
    for name in (*chapters, "serving", "splitting", "target"):
        module = importlib.import_module(f"kubeloop.contract.{name}")
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Strict) and each.__module__ == module.__name__:
                found.append(each)
    return found


@pytest.fixture(scope="module")
def heart(root: Path) -> Contract:
    return read_contract(root / "examples" / "heart" / "loop.yaml")


@pytest.fixture(scope="module")
def full(heart: Contract) -> Contract:
    """A contract that uses every model, with nasty text wherever text may stand."""
    column = Column(type="category", values=(*NASTY, 1, 1.0, True, 0, False), description=NASTY[0])
    document = heart.model_dump(mode="json")
    document["data"]["columns"] |= {name or "empty": column.model_dump(mode="json") for name in NASTY}
    document["data"]["joins"] = [{"source": "heart", "on": ["{{= 1+1 }}"], "as_of": "$(HOME)"}]
    document["data"]["terms"] |= {"expires": "2027-12-31", "licence": NASTY[-1]}
    document["data"]["rules"] = [{"name": "nasty", "expression": NASTY[5]}]
    document["data"]["checks"] = {
        "rows": {"at_least": 1},
        "fresh_within": "7d",
        "group_share_at_least": {"column": NASTY[0], "share": 0.1},
        "change": {"rows_at_most": 0.5},
    }
    document["features"]["drop"] = NASTY
    document["features"]["columns"] = {"$(HOME)": {"encode": "target"}}
    document["features"]["windows"] = [{"name": "past", "function": "count", "by": NASTY, "over": "7d"}]
    document["features"]["holidays"] = {"column": "{{= 1+1 }}", "country": "US"}
    document["estimator"]["members"] = [{"kind": "mlp", "parameters": {"hidden_layer_sizes": [3, 4]}}]
    document["estimator"]["parameters"] = {"a": 3, "b": 3.0, "c": None, "d": "{{= 1+1 }}", "e": True, "{{": 1e300}
    document["target"]["positive"] = "$(HOME)"
    document["serving"]["autoscaling"] = {"metric": "rps", "target": 700}
    document["sites"] = {"here": {"data": {"{{x}}": ["$(Y)", 1, 1.5, None, True]}}}
    return Contract.model_validate_json(json.dumps(document))


def inside(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from inside(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from inside(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from inside(each)


def test_every_model_comes_back_equal(full: Contract) -> None:
    parts = [*inside(sections_of(full)), *inside(sections.LabelsSection(name="x", labels=full.monitoring.labels))]
    assert {type(part) for part in parts} == set(models()), "the contract of this test must use every model"
    for part in parts:
        back = decode(encode(part), type(part))
        assert back == part
        # 1, 1.0 and True are equal in Python and not in a table.
        assert back.model_dump_json() == part.model_dump_json()


def test_nothing_is_left_to_expand(full: Contract) -> None:
    text = encode(full)
    assert text.isascii()
    assert "{{" not in text
    assert "$" not in text
    assert "\n" not in text


def test_numbers_keep_their_kind(full: Contract) -> None:
    parameters = decode(encode(full), Contract).estimator.parameters
    assert [repr(parameters[key]) for key in "abce"] == ["3", "3.0", "None", "True"]


def test_columns_keep_their_order(heart: Contract) -> None:
    back = decode(encode(sections_of(heart).train), sections.TrainSection)
    assert list(back.data.columns)[:4] == ["age", "sex", "cp", "trestbps"]


def test_documents_come_back(full: Contract) -> None:
    document = {"{{": NASTY, "$": [1, 1.0, None, True, 1e-300]}
    assert decode_document(encode_document(document)) == document


def test_equal_contracts_have_equal_text(heart: Contract) -> None:
    explicit = Contract.model_validate_json(json.dumps(heart.model_dump(mode="json")))
    assert encode(explicit) == encode(heart)


def test_words_for_people_miss_no_cache(heart: Contract) -> None:
    columns = {name: column.model_copy(update={"description": "other"}) for name, column in heart.data.columns.items()}
    edited = heart.model_copy(update={"data": heart.data.model_copy(update={"columns": columns, "terms": None})})
    before, after = sections_of(heart), sections_of(edited)
    assert [
        encode(getattr(after, name)) == encode(getattr(before, name)) for name in sections.Sections.model_fields
    ] == [name != "register_" for name in sections.Sections.model_fields]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kubeloop":2}', "\x00"])
def test_text_of_another_version_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="a Contract was expected in the pipeline's parameter") as caught:
        decode(text, Contract)
    assert "same version of kubeloop" in caught.value.fix


@pytest.mark.filterwarnings("ignore:You may be attemping:RuntimeWarning")
def test_through_a_compiled_pipeline(full: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a default in the compiled YAML, and as an argument of a run, both executed once by kfp."""
    import yaml
    from kfp import compiler, components, dsl, local

    @dsl.component(base_image="ghcr.io/kubeloop/pipeline:0.1.0", install_kfp_package=False)
    def echo(text: str, place: str) -> None:
        from pathlib import Path

        Path(place).write_bytes(text.encode("utf-8"))

    fixed, given = encode(full), encode_document(NASTY)

    @dsl.pipeline(name="round-trip")
    def round_trip(given: str, places: str, fixed: str = fixed) -> None:
        first = echo(text=fixed, place=f"{places}/fixed")
        echo(text=given, place=f"{places}/given").after(first)

    compiled = tmp_path / "round-trip.yaml"
    compiler.Compiler().compile(round_trip, str(compiled))
    stored = yaml.safe_load(compiled.read_text("utf-8"))["root"]["inputDefinitions"]["parameters"]
    assert stored["fixed"]["defaultValue"] == fixed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    components.load_component_from_file(str(compiled))(given=given, places=str(tmp_path))
    assert decode((tmp_path / "fixed").read_text("utf-8"), Contract) == full
    assert decode_document((tmp_path / "given").read_text("utf-8")) == NASTY
    assert os.environ["HOME"] == str(tmp_path)


def test_read_keeps_nasty_text(base: str, read: Callable[[str], Contract]) -> None:
    from kubeloop.contract.yaml_text import scalar

    for text in filter(str.strip, NASTY):
        assert read(base.replace("problem: why", f"problem: {scalar(text)}")).business.problem == text  # type: ignore[union-attr]
