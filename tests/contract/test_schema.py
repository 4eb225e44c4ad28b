import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from kubeloop.contract.load import read_contract
from kubeloop.contract.schema import json_schema
from kubeloop.contract.yaml_tree import tree_of


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_is_a_schema_of_draft_2020_12() -> None:
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_examples_keep_it(root: Path, validator: Draft202012Validator) -> None:
    for path in sorted((root / "examples").glob("*/loop.yaml")):
        document = tree_of(path.read_text("utf-8"), path.name).document
        assert [error.message for error in validator.iter_errors(document)] == []


def test_base_keeps_it(base: str, validator: Draft202012Validator) -> None:
    assert list(validator.iter_errors(yaml.safe_load(base))) == []


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        ("estimator:", "estimater:", []),
        ("kind: logistic_regression", "kind: logistic", ["estimator", "kind"]),
        ("{roc_auc: {", "{roc_au: {", ["metrics", "thresholds"]),
        ("key: {type: text}", "key: {typ: text}", ["data", "columns", "key"]),
        ("name: small", "name: Small One", ["name"]),
        ("name: small", "name: small\nsplit: {test: 1.5}", ["split", "test"]),
    ],
)
def test_underlines_what_reading_refuses(
    old: str,
    new: str,
    at: list[str],
    base: str,
    validator: Draft202012Validator,
) -> None:
    document = yaml.safe_load(base.replace(old, new, 1))
    assert at in [list(error.absolute_path) for error in validator.iter_errors(document)]


def test_every_field_is_explained() -> None:
    schema = json_schema()
    bare = []
    for name, kind in {"Contract": schema, **schema["$defs"]}.items():
        for field, described in kind.get("properties", {}).items():
            if not _explained(described, schema):
                bare.append(f"{name}.{field}")
    assert bare == []


def _explained(field: dict[str, Any], schema: dict[str, Any]) -> bool:
    if field.get("description"):
        return True
    reference = field.get("$ref", "").rpartition("/")[2]
    return bool(reference and schema["$defs"][reference].get("description"))


def test_schema_and_reading_agree_on_the_example(root: Path, read: Callable[[str], Any]) -> None:
    assert read_contract(root / "examples" / "heart" / "loop.yaml").kubeloop == 1
