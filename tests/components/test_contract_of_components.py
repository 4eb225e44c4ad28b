"""Every component keeps the contract of pipelines-components, and ours: a thin face over the library."""

import ast
import datetime as dt
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeloop.components import readme
from kubeloop.reports.words import SCORE, TRAIN

ROOT = Path(readme.__file__).resolve().parent
NAMES = readme.names()


def source(name: str) -> ast.Module:
    return ast.parse((ROOT / name / "component.py").read_text(encoding="ascii"))


def face(name: str) -> ast.FunctionDef:
    (function,) = (node for node in source(name).body if isinstance(node, ast.FunctionDef))
    return function


def test_all_are_here() -> None:
    loop = [*TRAIN, "refused", "clean_up", "labels"]
    assert sorted([*loop, *SCORE]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_face_is_at_most_fifteen_lines(name: str) -> None:
    body = face(name).body[1:]
    assert body[-1].end_lineno - body[0].lineno + 1 <= 15


@pytest.mark.parametrize("name", NAMES)
def test_top_level_imports_are_standard_library_and_kfp(name: str) -> None:
    for node in source(name).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
            assert module.split(".")[0] in {"kfp", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", NAMES)
def test_image_is_a_string_literal(name: str) -> None:
    (decorator,) = face(name).decorator_list
    assert isinstance(decorator, ast.Call)
    keywords = {keyword.arg: keyword.value for keyword in decorator.keywords}
    assert isinstance(keywords["base_image"], ast.Constant)
    assert isinstance(keywords["install_kfp_package"], ast.Constant)
    assert keywords["install_kfp_package"].value is False
    assert set(keywords) == {"base_image", "install_kfp_package"}


@pytest.mark.parametrize("name", NAMES)
def test_docstring_tells_of_every_argument_and_of_the_return_value(name: str) -> None:
    function = face(name)
    docstring = ast.get_docstring(function) or ""
    told = readme.arguments_of(docstring)
    assert list(told) == [argument.arg for argument in function.args.args]
    returns = not (isinstance(function.returns, ast.Constant) and function.returns.value is None)
    assert bool(readme.returns_of(docstring)) == returns


@pytest.mark.parametrize("name", NAMES)
def test_metadata(name: str) -> None:
    found: dict[str, Any] = yaml.safe_load((ROOT / name / "metadata.yaml").read_text(encoding="ascii"))
    required = ["name", "stability", "dependencies", "lastVerified"]
    assert [key for key in found if key in required] == required
    assert set(found) <= {*required, "tags", "ci", "links"}
    assert found["name"] == name
    assert found["stability"] in ("experimental", "alpha", "beta", "stable")
    services = found["dependencies"]["kubeflow"]
    assert "Pipelines" in [service["name"] for service in services]
    assert all(re.fullmatch(r"(==|>=|<=)\d+\.\d+\.\d+", service["version"]) for service in services)
    assert isinstance(found["lastVerified"], dt.datetime)
    assert found["lastVerified"].tzinfo is not None


@pytest.mark.parametrize("name", NAMES)
def test_readme_is_what_the_sources_say(name: str) -> None:
    assert (ROOT / name / "README.md").read_text(encoding="utf-8") == readme.render(name)


@pytest.mark.parametrize("name", NAMES)
def test_package_exports_the_component(name: str) -> None:
    text = (ROOT / name / "__init__.py").read_text(encoding="ascii")
    assert f'__all__ = ["{name}"]' in text
    assert readme.component(name).component_spec.name == name.replace("_", "-")
