"""Between a neutral search and a Katib Experiment (v1beta1), through the models of `kubeflow-katib-api`."""

import copy
import json
from collections.abc import Mapping
from typing import Any, cast

from kubeloop.experiments.search import (
    Algorithm,
    Budget,
    Collector,
    Condition,
    MedianStop,
    Objective,
    Parameter,
    Search,
    Template,
    TrialParameter,
    number_text,
)

API_VERSION, KIND = "kubeflow.org/v1beta1", "Experiment"
CONDITIONS = "kubeloop.io/conditions"
"""Annotation that carries what Katib has no word for: parameter -> [other parameter, its values]."""

METRICS_FILE = "/var/log/katib/metrics.log"
"""Katib's default for a File collector without a path."""

JOB_CONDITIONS = {
    "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
    "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
}
"""GJSON conditions that Katib sets for a batch Job."""

_TEMPLATE_WORDS = ("successCondition", "failureCondition", "retain", "primaryPodLabels")
_UNIFORM = ("", "uniform", "unknown")


def to_experiment(search: Search) -> dict[str, Any]:
    """The Experiment that Katib gets: JSON types, valid by the models, nothing left to Katib's silent defaults."""
    from kubeflow_katib_api import models

    annotations = dict(search.annotations)
    conditions = {p.name: [p.when.parameter, list(p.when.values)] for p in search.parameters if p.when}
    if conditions:
        annotations[CONDITIONS] = json.dumps(conditions, sort_keys=True)
    metadata: dict[str, Any] = {"name": search.name, "namespace": search.namespace}
    metadata |= {"labels": dict(search.labels) or None, "annotations": annotations or None}
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {key: value for key, value in metadata.items() if value is not None},
        "spec": {
            "objective": _objective_out(search.objective),
            "algorithm": _named(search.algorithm.name, search.algorithm.settings),
            **({"earlyStopping": _early_out(search.early)} if search.early else {}),
            **({"maxTrialCount": search.budget.trials} if search.budget.trials is not None else {}),
            **({"maxFailedTrialCount": search.budget.failed} if search.budget.failed is not None else {}),
            "parallelTrialCount": search.budget.parallel,
            "resumePolicy": search.resume,
            "parameters": [_parameter_out(parameter) for parameter in search.parameters],
            "metricsCollectorSpec": _collector_out(search.collector),
            "trialTemplate": _template_out(search.template),
        },
    }
    checked = models.V1beta1Experiment.from_dict(document)
    assert checked is not None
    found: dict[str, Any] = json.loads(checked.to_json())
    return found


def from_experiment(document: Mapping[str, Any]) -> Search:
    """The search that an Experiment describes.

    Args:
        document: An Experiment without lint errors, and with `parameters` (no `nasConfig`).
    """
    from kubeflow_katib_api import models

    spec = with_defaults(document)["spec"]
    checked = models.V1beta1Experiment.from_dict({**document, "spec": spec})
    assert checked is not None
    metadata = document.get("metadata") or {}
    annotations = dict(metadata.get("annotations") or {})
    conditions = json.loads(annotations.pop(CONDITIONS, "{}"))
    early = spec.get("earlyStopping")
    algorithm = spec["algorithm"]
    return Search(
        name=str(metadata.get("name")),
        namespace=metadata.get("namespace"),
        labels=dict(metadata.get("labels") or {}),
        annotations=annotations,
        parameters=tuple(_parameter_in(each, conditions.get(each["name"])) for each in spec["parameters"]),
        objective=_objective_in(spec["objective"]),
        algorithm=Algorithm(algorithm["algorithmName"], _settings(algorithm)),
        budget=Budget(spec.get("maxTrialCount"), spec["parallelTrialCount"], spec.get("maxFailedTrialCount")),
        template=_template_in(spec["trialTemplate"]),
        early=_early_in(early) if early else None,
        collector=_collector_in(spec["metricsCollectorSpec"]),
        resume=spec["resumePolicy"],
    )


def with_defaults(document: Mapping[str, Any]) -> dict[str, Any]:
    """An Experiment as Katib's defaulting webhook leaves it, as far as it matters here."""
    full = copy.deepcopy(dict(document))
    spec = full.setdefault("spec", {})
    spec.setdefault("parallelTrialCount", 3)
    spec.setdefault("resumePolicy", "Never")
    template = spec.get("trialTemplate")
    if isinstance(template, dict):
        inner = template.get("trialSpec")
        if isinstance(inner, dict) and (inner.get("apiVersion"), inner.get("kind")) == ("batch/v1", "Job"):
            for key, value in JOB_CONDITIONS.items():
                template.setdefault(key, value)
    metrics = spec.setdefault("metricsCollectorSpec", {})
    kind = metrics.setdefault("collector", {"kind": "StdOut"}).setdefault("kind", "StdOut")
    if kind == "File":
        place = metrics.setdefault("source", {}).setdefault("fileSystemPath", {})
        for key, value in (("path", METRICS_FILE), ("kind", "File"), ("format", "TEXT")):
            place.setdefault(key, value)
    if kind == "PrometheusMetric":
        place = metrics.setdefault("source", {}).setdefault("httpGet", {})
        for key, default in (("port", 8080), ("path", "/metrics")):
            place.setdefault(key, default)
    return full


def _named(name: str, settings: Mapping[str, str]) -> dict[str, Any]:
    listed = [{"name": key, "value": value} for key, value in settings.items()]
    return {"algorithmName": name} | ({"algorithmSettings": listed} if listed else {})


def _settings(document: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in document.get("algorithmSettings") or ()}


def _objective_out(objective: Objective) -> dict[str, Any]:
    strategies = [{"name": name, "value": objective.strategy(name)} for name in objective.metrics]
    found: dict[str, Any] = {"type": objective.direction, "objectiveMetricName": objective.metric}
    found |= {"goal": objective.goal} if objective.goal is not None else {}
    found |= {"additionalMetricNames": list(objective.also)} if objective.also else {}
    return found | {"metricStrategies": strategies}


def _objective_in(words: Mapping[str, Any]) -> Objective:
    default = "max" if words["type"] == "maximize" else "min"
    given = {each["name"]: each["value"] for each in words.get("metricStrategies") or ()}
    return Objective(
        metric=words["objectiveMetricName"],
        direction=words["type"],
        goal=words.get("goal"),
        also=tuple(words.get("additionalMetricNames") or ()),
        strategies={name: value for name, value in given.items() if value != default},
    )


def _early_out(early: MedianStop) -> dict[str, Any]:
    settings = {"min_trials_required": str(early.min_trials), "start_step": str(early.start_step)}
    return _named("medianstop", settings)


def _early_in(words: Mapping[str, Any]) -> MedianStop:
    settings = _settings(words)
    return MedianStop(int(settings.get("min_trials_required", 3)), int(settings.get("start_step", 4)))


def _parameter_out(parameter: Parameter) -> dict[str, Any]:
    space: dict[str, Any] = {}
    if parameter.values:
        space["list"] = list(parameter.values)
    else:
        low, high = parameter.bounds
        space |= {"min": parameter.text(low), "max": parameter.text(high)}
        space |= {"step": number_text(parameter.step)} if parameter.step is not None else {}
        space |= {"distribution": "logUniform" if parameter.log else "uniform"}
    return {"name": parameter.name, "parameterType": parameter.kind, "feasibleSpace": space}


def _parameter_in(words: Mapping[str, Any], condition: list[Any] | None) -> Parameter:
    space = words["feasibleSpace"]
    when = Condition(condition[0], tuple(condition[1])) if condition else None
    name, kind = words["name"], words["parameterType"]
    if kind in ("categorical", "discrete"):
        return Parameter(name, kind, values=tuple(space["list"]), when=when)
    distribution = space.get("distribution") or ""
    if distribution not in (*_UNIFORM, "logUniform"):
        raise _normal(name, distribution)
    step = float(space["step"]) if space.get("step") else None
    return Parameter(
        name, kind, float(space["min"]), float(space["max"]), step, log=distribution == "logUniform", when=when
    )


def _normal(name: str, distribution: str) -> Exception:
    from kubeloop.errors import InputError

    return InputError(
        f"parameter {name!r} has the distribution {distribution}, which has no bounds in Katib's own hands; "
        "uniform or logUniform was expected",
        "write uniform or logUniform, and bounds that cover what you mean",
        parameter=name,
    )


def _collector_out(collector: Collector) -> dict[str, Any]:
    source: dict[str, Any] = {}
    if collector.kind == "File":
        source["fileSystemPath"] = {"path": collector.path, "kind": "File", "format": collector.format}
    if collector.kind == "PrometheusMetric":
        source["httpGet"] = {"path": collector.path, "port": collector.port}
    if collector.filters:
        source["filter"] = {"metricsFormat": list(collector.filters)}
    return {"collector": {"kind": collector.kind}} | ({"source": source} if source else {})


def _collector_in(words: Mapping[str, Any]) -> Collector:
    source = words.get("source") or {}
    kind = words["collector"]["kind"]
    filters = tuple((source.get("filter") or {}).get("metricsFormat") or ())
    if kind == "File":
        place = source["fileSystemPath"]
        return Collector("File", place["path"], place["format"], filters)
    if kind == "PrometheusMetric":
        return Collector(kind, source["httpGet"]["path"], filters=filters, port=int(source["httpGet"]["port"]))
    return Collector(kind, filters=filters)


def _template_out(template: Template) -> dict[str, Any]:
    parameters = [
        {"name": each.name, "reference": each.reference}
        | ({"description": each.description} if each.description is not None else {})
        for each in template.parameters
    ]
    return {
        "primaryContainerName": template.container,
        **template.more,
        "trialParameters": parameters,
        "trialSpec": copy.deepcopy(dict(template.spec)),
    }


def _template_in(words: Mapping[str, Any]) -> Template:
    parameters = tuple(
        TrialParameter(each["name"], each["reference"], each.get("description")) for each in words["trialParameters"]
    )
    more = {key: words[key] for key in _TEMPLATE_WORDS if key in words}
    spec = cast(Mapping[str, Any], words.get("trialSpec") or {})
    return Template(spec, words["primaryContainerName"], parameters, more)
