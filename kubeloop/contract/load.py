"""From the file `loop.yaml` to a Contract, or to everything that is wrong with it, each with its place."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from kubeloop.contract.check import problems_of
from kubeloop.contract.explain import explain, value_at
from kubeloop.contract.findings import Path, Problem, contract_error, deep_merge
from kubeloop.contract.model import Contract
from kubeloop.contract.yaml_tree import Place, Tree, read_tree

FIXED = ("kubeloop", "sites")
"""Keys that no site overrides."""
_ROUNDS = 3


def read_contract(path: FilePath) -> Contract:
    """Read and check a contract, the overrides of its sites included.

    Args:
        path: The file, UTF-8 YAML.

    Raises:
        InputError: What is wrong, all of it: `context["findings"]` has one entry per finding with file, line, column,
            path, expected, got, nearest and message; `str(error)` has one line per finding.
    """
    tree = read_tree(path)
    replaced = {problem.path for problem in tree.problems if not problem.at_key}
    problems = [*tree.problems, *(p for p in _problems(tree.document, tree) if p.path not in replaced)]
    problems += _site_problems(tree, problems)
    found = {(finding.line, str(finding)): finding for finding in map(tree.find, problems)}
    if found:
        raise contract_error(sorted(found.values(), key=lambda each: (each.line or 0, each.column or 0)))
    return parse(tree.document)


def parse(document: Mapping[str, Any]) -> Contract:
    """A contract from JSON types: nothing is bent into another type, `"5"` is no number.

    Raises:
        ValidationError: The document has not the shape of a contract.
    """
    return Contract.model_validate_json(json.dumps(document), strict=True)


def _problems(document: Mapping[str, Any], tree: Tree) -> list[Problem]:
    """Problems of shape and of sense; the sense is looked at with the wrong shapes mended or taken out."""
    draft = copy.deepcopy(dict(document))
    found: list[Problem] = []
    pruned: list[Path] = []
    for _ in range(_ROUNDS):
        try:
            contract = parse(draft)
        except ValidationError as error:
            fresh = [p for p in explain(error, draft, tree.got) if not _near_any(p.path, pruned)]
            found += fresh
            pruned += [path for problem in fresh if (path := _mend(draft, problem, tree)) is not None]
            continue
        return found + [p for p in problems_of(contract) if not _near_any(p.path, pruned)]
    return found


def _near_any(path: Path, pruned: list[Path]) -> bool:
    """Whether a problem may be one only because something beside it was taken out."""
    return any(path[: len(gone) - 1] == gone[:-1] or gone[: len(path)] == path for gone in pruned)


def _mend(document: dict[str, Any], problem: Problem, tree: Tree) -> Path | None:
    """Mend a wrong part of the document with what was probably meant; else take it out and return its path."""
    path = problem.path
    if not path or problem.expected == "" or problem.message.startswith("missing"):
        return None
    try:
        around, key = value_at(document, path[:-1]), path[-1]
        value_at(around, (key,))
    except (KeyError, IndexError):
        return None  # went with something around it
    if problem.message.startswith("unknown key"):
        value = around.pop(key)
        if problem.nearest is not None and problem.nearest not in around:
            around[problem.nearest] = value
            _move(tree.places, path, (*path[:-1], problem.nearest))
        return None
    if problem.nearest is not None and not problem.at_key:
        around[key] = [around[key]] if problem.expected == "a list" else _meant(problem)
        return None
    while isinstance(path[-1], int):
        path = path[:-1]
    value_at(document, path[:-1]).pop(path[-1], None)
    return path


def _meant(problem: Problem) -> Any:
    """The nearest value as JSON type: a bare word is text, all else is as one would write it."""
    try:
        return json.loads(problem.nearest or "")
    except ValueError:
        return problem.nearest


def _move(places: dict[Path, Place], old: Path, new: Path) -> None:
    for path, place in list(places.items()):
        if path[: len(old)] == old:
            places.setdefault((*new, *path[len(old) :]), place)


def _site_problems(tree: Tree, known: list[Problem]) -> list[Problem]:
    """Problems that a site's override makes, at the place of the override."""
    sites = tree.document.get("sites")
    base = {key: value for key, value in tree.document.items() if key != "sites"}
    said = {(problem.path, problem.message) for problem in known}
    wrong = {problem.path for problem in known}
    found: list[Problem] = []
    for name, override in sites.items() if isinstance(sites, Mapping) else ():
        if not isinstance(override, Mapping):
            continue
        here: Path = ("sites", name)
        free = {key: value for key, value in override.items() if key not in FIXED}
        for key in FIXED:
            if key in override:
                found.append(Problem((*here, key), f"a site cannot override `{key}`", "another key", key, None, True))
        places = Tree(tree.file, places={path[2:]: place for path, place in tree.places.items() if path[:2] == here})
        for problem in _problems(deep_merge(base, free), places):
            own = problem.path not in wrong or problem.path in places.places
            if own and (problem.path, problem.message) not in said:
                found.append(_placed(problem, here))
        for path, place in places.places.items():
            tree.places.setdefault((*here, *path), place)
    return found


def _placed(problem: Problem, here: Path) -> Problem:
    p = problem
    return Problem((*here, *p.path), p.message, p.expected, p.got, p.nearest, p.at_key)
