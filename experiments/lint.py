"""All that Katib, or its algorithm, would refuse in an Experiment; and what it would take and you would regret.

Katib's CRDs check nothing: the rules below are those of its webhooks (validator.go, validation_webhook.go) and of its
suggestion services (ValidateAlgorithmSettings) at 0.19, where a breach shows minutes later as an Experiment that hangs.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kubeloop.errors import InputError

Level = Literal["error", "advice"]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Finding:
    """One thing to mend.

    Attributes:
        rule: Its name, such as `count-parallel`.
        path: Where in the file: `spec.parameters[0].feasibleSpace`; empty for the whole of it.
        message: What is there, and what was expected.
        mend: What to do.
        level: `error`: Katib or its algorithm refuses it; `advice`: ours.
    """

    rule: str
    path: str
    message: str
    mend: str
    level: Level = "error"

    def to_dict(self) -> dict[str, str]:
        """As JSON types."""
        return {"rule": self.rule, "path": self.path, "message": self.message, "mend": self.mend, "level": self.level}

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.rule}]".removeprefix(": ")


def advice(rule: str, path: str, message: str, mend: str) -> Finding:
    """A finding of the milder kind."""
    return Finding(rule, path, message, mend, "advice")


def lint(document: Any) -> list[Finding]:
    """Every finding in an Experiment, errors first, in the order of the file's parts.

    Args:
        document: What the file holds, JSON types.
    """
    from kubeloop.experiments import lint_advice, lint_algorithm, lint_spec, lint_template
    from kubeloop.experiments.katib import with_defaults

    shape = list(_shape(document))
    if shape:
        return shape
    full = with_defaults(document)
    rules: tuple[Callable[[Document], Iterator[Finding]], ...] = (
        lint_spec.check,
        lint_algorithm.check,
        lint_template.check,
        lint_advice.check,
    )
    found = [*_typos(document)]
    for rule in rules:
        found += rule(full)
        if any(finding.rule == "job-type" for finding in found):
            break  # advice reads the Job's fields
    unique = list(dict.fromkeys(found))
    return sorted(unique, key=lambda finding: finding.level != "error")


def refuse(findings: list[Finding], file: str) -> None:
    """Raise for findings with errors among them.

    Raises:
        InputError: All errors, in `context["findings"]`.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InputError(
            f"{file}: {errors[0]}{more}",
            errors[0].mend if len(errors) == 1 else f"see all {len(errors)} with `kubeloop tune lint {file}`",
            findings=[finding.to_dict() for finding in errors],
        )


def _shape(document: Any) -> Iterator[Finding]:
    """Types that leave nothing to look at further; all of them at once."""
    if not isinstance(document, Mapping):
        yield Finding("shape", "", f"an Experiment was expected, got {_named(document)}", "write a mapping")
        return
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind != ("kubeflow.org/v1beta1", "Experiment"):
        got = " ".join(str(word) for word in kind if word) or "neither apiVersion nor kind"
        mend = "write apiVersion: kubeflow.org/v1beta1 and kind: Experiment"
        yield Finding("kind", "apiVersion", f"kubeflow.org/v1beta1 Experiment was expected, got {got}", mend)
    if not isinstance(document.get("metadata"), Mapping) or not isinstance(document.get("spec"), Mapping):
        yield Finding("shape", "", "metadata and spec were expected", "write both, as mappings")
        return
    yield from types(document, "", _model())


def _model() -> Any:
    from kubeflow_katib_api.models import V1beta1Experiment

    return V1beta1Experiment


def types(node: Any, path: str, model: Any) -> Iterator[Finding]:
    """Values whose type the API's decoder refuses, each at its own place: nested models stop at their first."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        if not isinstance(node, Mapping) or node.get(key) is None:
            continue
        place = f"{path}.{key}" if path else key
        inner, many = _inner(field.annotation)
        value = node[key]
        if inner is None:
            if "kubeflow_katib_api" in str(field.annotation):
                continue  # a number or a text, as of a port or a quantity: the models have no plain word for it
            yield from _plain(value, place, field)
        elif many and not isinstance(value, list):
            yield Finding("type", place, f"a list was expected, got {_named(value)}", "write a list")
        elif many:
            for index, each in enumerate(value):
                yield from _nested(each, f"{place}[{index}]", inner)
        else:
            yield from _nested(value, place, inner)


def _nested(value: Any, place: str, model: Any) -> Iterator[Finding]:
    if isinstance(value, Mapping):
        yield from types(value, place, model)
    elif value is not None:
        yield Finding("type", place, f"keys and values were expected, got {_named(value)}", "write a mapping")


def _inner(annotation: Any) -> tuple[Any, bool]:
    """The model inside `Optional[Model]` or `Optional[list[Model]]`, and whether it is a list."""
    from typing import get_args, get_origin

    for each in (annotation, *get_args(annotation)):
        if hasattr(each, "model_fields"):
            return (None if "actual_instance" in each.model_fields else each), False
        if get_origin(each) is list and hasattr(get_args(each)[0], "model_fields"):
            return get_args(each)[0], True
    return None, False


def _plain(value: Any, place: str, field: Any) -> Iterator[Finding]:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(field.annotation).validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Input should be ")
        quoted = "put it in quotes" if "string" in expected else f"write {expected}"
        yield Finding("type", place, f"{expected} was expected, got {_named(value)}", quoted)


def _named(value: Any) -> str:
    return f"the text {value!r}" if isinstance(value, str) else json.dumps(value, default=str)[:60]


def _typos(document: Document) -> Iterator[Finding]:
    """Keys that Katib drops without a word: what the typed models do not give back."""
    loaded = _model().from_dict(json.loads(json.dumps(document, default=str)))
    yield from dropped(document.get("spec"), (loaded.to_dict() or {}).get("spec", {}), "spec", _spec_model())


def _spec_model() -> Any:
    return _inner(_model().model_fields["spec"].annotation)[0]


def dropped(given: Any, kept: Any, path: str, model: Any) -> Iterator[Finding]:
    """What is in `given` and not in `kept`, with the nearest known key."""
    from difflib import get_close_matches

    if isinstance(given, Mapping):
        known = {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
        for key, value in given.items():
            place = f"{path}.{key}"
            if value is None:
                continue
            if not isinstance(kept, Mapping) or key not in kept:
                if key in known:
                    continue  # known, and empty
                near = get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
                yield Finding("unknown-key", place, f"{key!r} is no key of Katib's and is dropped in silence", hint)
                continue
            field = known.get(key)
            inner = _inner(field.annotation)[0] if field is not None else None
            yield from dropped(value, kept[key], place, inner)
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (one, other) in enumerate(zip(given, kept, strict=False)):
            yield from dropped(one, other, f"{path}[{index}]", model)
