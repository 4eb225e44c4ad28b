"""The rules of Katib's webhook for the trial template, in the order of validator.go."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubeloop.experiments.lint import Document, Finding, dropped, types
from kubeloop.experiments.template import INDEXED, META, META_WORDS, PLACE

_PATH = "spec.trialTemplate"
_KUBEFLOW_JOBS = ("TFJob", "PyTorchJob", "XGBoostJob", "MPIJob", "TrainJob")
_JOB = (
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completionMode",
    "completions",
    "managedBy",
    "manualSelector",
    "maxFailedIndexes",
    "parallelism",
    "podFailurePolicy",
    "podReplacementPolicy",
    "selector",
    "successPolicy",
    "suspend",
    "template",
    "ttlSecondsAfterFinished",
)


def check(document: Document) -> Iterator[Finding]:
    """All errors of the trial template."""
    spec = document["spec"]
    template = spec.get("trialTemplate")
    if not template:
        yield Finding("template", _PATH, "a trialTemplate was expected, got none", "write one")
        return
    if not template.get("primaryContainerName"):
        path = f"{_PATH}.primaryContainerName"
        yield Finding(
            "primary-container", path, "a container's name was expected, got none", "name the trial's container"
        )
    if not template.get("successCondition") or not template.get("failureCondition"):
        message = (
            "successCondition and failureCondition were expected; Katib knows them only for Jobs and Kubeflow's jobs"
        )
        inner = template.get("trialSpec") or {}
        if inner.get("kind") not in ("TFJob", "PyTorchJob", "XGBoostJob", "MPIJob", "TrainJob"):
            yield Finding("conditions", _PATH, message, "write both as GJSON conditions of the resource")
    if template.get("trialParameters") is None:
        path = f"{_PATH}.trialParameters"
        yield Finding("trial-parameters", path, "trialParameters were expected, got none", "write them")
        return
    given, place = template.get("trialSpec"), template.get("configMap")
    if (given is None) == (place is None):
        got = "neither" if given is None else "both"
        message = f"exactly one of trialSpec and configMap was expected, got {got}"
        yield Finding("trial-source", _PATH, message, "write trialSpec")
        return
    if place is not None:
        yield from _config_map(place)
    else:
        yield from _manifest(given)
    yield from _parameters(spec, template, None if given is None else json.dumps(given))


def _conditions(template: Mapping[str, Any]) -> Iterator[Finding]:
    known = (template.get("trialSpec") or {}).get("kind") in _KUBEFLOW_JOBS
    if not known and not (template.get("successCondition") and template.get("failureCondition")):
        message = (
            "successCondition and failureCondition were expected; Katib knows them only for Jobs and Kubeflow's jobs"
        )
        yield Finding("conditions", _PATH, message, "write both as GJSON conditions of the resource")


def _config_map(place: Mapping[str, Any]) -> Iterator[Finding]:
    for key in ("configMapName", "configMapNamespace", "templatePath"):
        if not place.get(key):
            yield Finding("config-map", f"{_PATH}.configMap.{key}", f"{key} was expected, got none", "write it")


def _parameters(spec: Document, template: Mapping[str, Any], text: str | None) -> Iterator[Finding]:
    known = [each.get("name") for each in spec.get("parameters") or ()]
    names: list[str] = []
    references: list[str] = []
    for index, each in enumerate(template["trialParameters"]):
        path, name, reference = f"{_PATH}.trialParameters[{index}]", each.get("name"), each.get("reference")
        if not name or not reference or "{" in name or "}" in name:
            message = "a name without { and } and a reference were expected"
            yield Finding("trial-parameter", path, message, "write both")
            continue
        if name in names:
            yield Finding("trial-parameter-twice", f"{path}.name", f"{name!r} came before", "rename one of the two")
        if reference in references:
            message = f"a reference to {reference!r} came before"
            yield Finding("trial-reference-twice", f"{path}.reference", message, "use the first one twice instead")
        yield from _used(name, reference, known, text, path)
        names.append(name)
        references.append(reference)
    for name in dict.fromkeys(PLACE.findall(text or "")):
        if name not in names:
            message = f"${{trialParameters.{name}}} stands in the trial, and trialParameters has no {name!r}"
            yield Finding("trial-parameter-missing", f"{_PATH}.trialSpec", message, "add it to trialParameters")
    for index, name in enumerate(known):
        # Trial creation counts assignments against trialParameters, minutes after the webhook said yes.
        if name not in references:
            message = f"every parameter was expected among trialParameters, and {name!r} is not"
            yield Finding(
                "parameter-unreferenced", f"spec.parameters[{index}]", message, "reference it, or take it out"
            )


def _used(name: str, reference: str, known: list[Any], text: str | None, path: str) -> Iterator[Finding]:
    if known and reference not in known and not _meta(reference):
        message = f"a parameter, or such as ${{trialSpec.Name}}, was expected, got {reference!r}"
        yield Finding("trial-reference", f"{path}.reference", message, f"name one of {', '.join(map(str, known))}")
    if text is not None and f"${{trialParameters.{name}}}" not in text:
        message = f"${{trialParameters.{name}}} was expected in the trial, and is not there"
        yield Finding("trial-parameter-unused", f"{path}.name", message, "use it there, or take it out here")


def _meta(reference: str) -> bool:
    found = META.fullmatch(reference)
    return found is not None and (found[1] in META_WORDS or INDEXED.fullmatch(found[1]) is not None)


def _manifest(given: Mapping[str, Any]) -> Iterator[Finding]:
    path = f"{_PATH}.trialSpec"
    metadata = given.get("metadata") or {}
    for key in ("name", "namespace"):
        if metadata.get(key):
            message = f"no {key} was expected: Katib gives it"
            yield Finding("trial-named", f"{path}.metadata.{key}", message, "take it out")
    for key in ("apiVersion", "kind"):
        if not given.get(key):
            yield Finding("trial-kind", f"{path}.{key}", f"{key} was expected, got none", f"write {key}")
    if (given.get("apiVersion"), given.get("kind")) == ("batch/v1", "Job"):
        yield from _job(given, path)


def _job(given: Mapping[str, Any], path: str) -> Iterator[Finding]:
    """A Job must come back whole from its typed struct, but for resources."""
    from kubeflow_katib_api import models

    for key in given:
        if key not in ("apiVersion", "kind", "metadata", "spec", "status"):
            yield Finding("job-field", f"{path}.{key}", f"a Job has no field {key!r}", "mend its name, or its place")
    spec = given.get("spec") or {}
    for key in spec:
        if key not in _JOB:
            yield Finding(
                "job-field", f"{path}.spec.{key}", f"a Job has no field spec.{key}", "mend its name, or its place"
            )
    template = spec.get("template")
    model: Any = models.IoK8sApiCoreV1PodTemplateSpec
    place = f"{path}.spec.template"
    wrong = [Finding("job-type", each.path, each.message, each.mend) for each in types(template, place, model)]
    if wrong:
        yield from wrong
        return
    loaded = model.from_dict(_plain(template or {}))
    for finding in dropped(template, loaded.to_dict() if loaded else {}, place, model):
        if not re.search(r"\.resources\.(limits|requests)\.", finding.path):
            message = f"a Job has no field {finding.path.removeprefix(path + '.')}"
            yield Finding("job-field", finding.path, message, finding.mend)
    yield from _empty(spec, f"{path}.spec")


_EMPTY_MAPS = ("annotations", "labels", "matchLabels", "nodeSelector", "limits", "requests")
_PLAIN_TRUTHS = ("hostNetwork", "hostPID", "hostIPC", "readOnly", "stdin", "stdinOnce", "tty")


def _empty(node: Any, path: str, key: str = "") -> Iterator[Finding]:
    """What Kubernetes' own types leave out when they write a Job: the webhook then misses it, and refuses (seen)."""
    gone = node in ([], "") or (node == {} and key in _EMPTY_MAPS) or (node is False and key in _PLAIN_TRUTHS)
    if gone:
        message = f"something, or no {key} at all, was expected, got {json.dumps(node)}"
        yield Finding("job-empty", path, message, "take it out: that is what it means anyway")
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _empty(value, f"{path}.{name}", str(name))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            if value != "":  # an empty word of a command stays
                yield from _empty(value, f"{path}[{index}]", key)


def _plain(document: Any) -> Any:
    """The template with placeholders of numbers as they will be: a port `${trialParameters.p}` is text here."""
    return json.loads(json.dumps(document, default=str))
