"""The rules of Katib's validating webhook outside of the trial template; the order is that of validator.go."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubeloop.experiments.lint import Document, Finding

ALGORITHMS = (
    "random",
    "grid",
    "tpe",
    "multivariate-tpe",
    "bayesianoptimization",
    "cmaes",
    "sobol",
    "hyperband",
    "pbt",
    "enas",
    "darts",
)
EARLY = ("medianstop",)
"""Those of the KatibConfig that Katib 0.19 is installed with."""

TYPES = ("double", "int", "categorical", "discrete")
RANGES, LISTS = ("double", "int"), ("categorical", "discrete")
DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal", "unknown")
COLLECTORS = ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push", "None")
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check(document: Document) -> Iterator[Finding]:
    """All errors of name, counts, objective, algorithm, parameters and metrics collector."""
    spec = document["spec"]
    name = (document["metadata"] or {}).get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 40:
        message = (
            f"small letters, digits and '-', at most 40 of them, starting with a letter, were expected, got {name!r}"
        )
        yield Finding("name", "metadata.name", message, "choose such a name; pods are named after it")
    yield from _counts(spec)
    yield from _objective(spec.get("objective"))
    yield from _algorithm(spec.get("algorithm"))
    yield from _early_stopping(spec.get("earlyStopping"))
    policy = spec.get("resumePolicy")
    if policy not in ("", "Never", "LongRunning", "FromVolume", None):
        message = f"Never, LongRunning or FromVolume was expected, got {policy!r}"
        yield Finding("resume-policy", "spec.resumePolicy", message, "write Never, the default")
    parameters, nas = spec.get("parameters") or [], spec.get("nasConfig")
    if bool(parameters) == (nas is not None):
        got = "both" if parameters else "neither"
        message = f"exactly one of parameters and nasConfig was expected, got {got}"
        yield Finding("space", "spec", message, "write parameters, or for enas and darts nasConfig")
    seen: set[str] = set()
    for place, parameter in enumerate(parameters):
        yield from _parameter(parameter, f"spec.parameters[{place}]", seen)
    yield from _collector(spec["metricsCollectorSpec"])


def _counts(spec: Document) -> Iterator[Finding]:
    failed, trials, parallel = (spec.get(key) for key in ("maxFailedTrialCount", "maxTrialCount", "parallelTrialCount"))
    if failed is not None and failed < 0:
        yield Finding("count-failed", "spec.maxFailedTrialCount", _least(0, failed), "write 0 or more")
    if trials is not None and trials < 1:
        yield Finding("count-trials", "spec.maxTrialCount", _least(1, trials), "write 1 or more")
    if parallel is not None and parallel < 1:
        yield Finding("count-parallel", "spec.parallelTrialCount", _least(1, parallel), "write 1 or more")
    if trials is not None and failed is not None and failed > trials:
        mend = f"write {trials} or less"
        yield Finding("count-failed-most", "spec.maxFailedTrialCount", _most(trials, failed), mend)
    if trials is not None and parallel is not None and parallel > trials:
        mend = f"write {trials} or less; its default is 3"
        yield Finding("count-parallel-most", "spec.parallelTrialCount", _most(trials, parallel), mend)


def _least(least: int, got: int) -> str:
    return f"at least {least} was expected, got {got}"


def _most(trials: int, got: int) -> str:
    return f"at most maxTrialCount ({trials}) was expected, got {got}"


def _objective(objective: Any) -> Iterator[Finding]:
    path = "spec.objective"
    if not objective:
        yield Finding("objective", path, "an objective was expected, got none", "write type and objectiveMetricName")
        return
    if objective.get("type") not in ("minimize", "maximize"):
        message = f"minimize or maximize was expected, got {objective.get('type')!r}"
        yield Finding("objective-type", f"{path}.type", message, "write one of them")
    metric = objective.get("objectiveMetricName")
    if not metric:
        yield Finding("objective-metric", f"{path}.objectiveMetricName", "a metric was expected, got none", "name it")
    elif metric in (objective.get("additionalMetricNames") or ()):
        message = f"metrics beside the objective were expected, and {metric!r} is the objective"
        yield Finding("objective-twice", f"{path}.additionalMetricNames", message, f"take {metric} out of the list")


def _algorithm(words: Any) -> Iterator[Finding]:
    if words is None:
        mend = f"write algorithmName: {ALGORITHMS[0]}"
        yield Finding("algorithm", "spec.algorithm", "an algorithm was expected, got none", mend)
    elif (name := words.get("algorithmName")) not in ALGORITHMS:
        yield Finding("algorithm-name", "spec.algorithm.algorithmName", *_unknown(name, ALGORITHMS))


def _early_stopping(words: Any) -> Iterator[Finding]:
    if words is not None and (name := words.get("algorithmName")) not in EARLY:
        yield Finding("early-stopping-name", "spec.earlyStopping.algorithmName", *_unknown(name, EARLY))


def _unknown(name: Any, known: tuple[str, ...]) -> tuple[str, str]:
    from difflib import get_close_matches

    near = get_close_matches(str(name), known, n=1)
    mend = f"did you mean {near[0]}?" if near else f"write one of {', '.join(known)}"
    return f"an algorithm of the KatibConfig was expected, got {name!r}", mend


def number(text: Any) -> float | None:
    """A text as finite number, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _parameter(parameter: Mapping[str, Any], path: str, seen: set[str]) -> Iterator[Finding]:
    name, kind = parameter.get("name"), parameter.get("parameterType")
    if not name:
        yield Finding("parameter-name", f"{path}.name", "a name was expected, got none", "name the parameter")
    elif name in seen:
        message = f"each name once was expected, and {name!r} came before"
        yield Finding("parameter-twice", f"{path}.name", message, "rename one of the two")
    seen.add(str(name))
    if kind not in (*TYPES, "unknown"):
        message = f"{', '.join(TYPES)} was expected, got {kind!r}"
        yield Finding("parameter-type", f"{path}.parameterType", message, "write one of them")
    space, place = parameter.get("feasibleSpace") or {}, f"{path}.feasibleSpace"
    if not any(space.values()):
        yield Finding("space-empty", place, "a feasibleSpace was expected, got none", "write min and max, or list")
        return
    distribution = space.get("distribution")
    if distribution and distribution not in DISTRIBUTIONS:
        message = f"{', '.join(DISTRIBUTIONS)} was expected, got {distribution!r}"
        yield Finding("distribution", f"{place}.distribution", message, "write uniform or logUniform")
    if kind in RANGES:
        yield from _range(space, place, kind)
    elif kind in LISTS:
        yield from _list(space, place, kind)


def _range(space: Mapping[str, Any], place: str, kind: str) -> Iterator[Finding]:
    if space.get("list"):
        yield Finding("space-list", f"{place}.list", f"min and max were expected for {kind}, got a list", "take it out")
    if not space.get("min") or not space.get("max"):
        yield Finding("space-bounds", place, f"min and max were expected for {kind}", "write both, as text in quotes")
    for key in ("min", "max", "step"):
        text = space.get(key)
        if not text:
            continue
        value = number(text)
        if value is None or (kind == "int" and not re.fullmatch(r"[+-]?\d+", text.strip())):
            what = "a whole number" if kind == "int" else "a number"
            message = f"{what} was expected, got {text!r}"
            yield Finding("space-number", f"{place}.{key}", message, f"write {what}: every algorithm reads it as one")
        elif key == "step" and value <= 0:
            yield Finding("space-step", f"{place}.step", f"more than 0 was expected, got {text}", "write a distance")


def _list(space: Mapping[str, Any], place: str, kind: str) -> Iterator[Finding]:
    if any(space.get(key) for key in ("min", "max", "step")):
        yield Finding(
            "space-range", place, f"only a list was expected for {kind}, got min, max or step", "take them out"
        )
    if not space.get("list"):
        yield Finding("space-values", place, f"a list was expected for {kind}, got none", "write its values")


def _collector(metrics: Mapping[str, Any]) -> Iterator[Finding]:
    path = "spec.metricsCollectorSpec"
    kind, source = metrics["collector"].get("kind"), metrics.get("source") or {}
    if kind not in COLLECTORS:
        message = f"{', '.join(COLLECTORS)} was expected, got {kind!r}"
        yield Finding("collector-kind", f"{path}.collector.kind", message, "write StdOut, the default")
        return
    if kind == "None":
        yield Finding(
            "collector-kind", f"{path}.collector.kind", "None is refused by the webhook", "write StdOut or Push"
        )
    if kind == "PrometheusMetric":
        message = "the KatibConfig that Katib is installed with has no PrometheusMetric collector"
        # The webhook looks the kind up; an installation may have added it.
        from kubeloop.experiments.lint import advice

        yield advice("collector-config", f"{path}.collector.kind", message, "add one to the KatibConfig, or use StdOut")
        yield from _http(source.get("httpGet") or {}, f"{path}.source.httpGet")
    place = source.get("fileSystemPath") or {}
    if kind == "File":
        yield from _file(place, source, f"{path}.source")
    if kind == "TensorFlowEvent":
        if place and (place.get("kind", "Directory") != "Directory" or not str(place.get("path", "/")).startswith("/")):
            message = "an absolute path of kind Directory was expected"
            yield Finding("collector-directory", f"{path}.source.fileSystemPath", message, "write kind: Directory")
        if place.get("format"):
            message = f"no format was expected for TensorFlowEvent, got {place['format']!r}"
            yield Finding("collector-event-format", f"{path}.source.fileSystemPath.format", message, "take it out")
    if kind == "Custom":
        yield from _custom(metrics, place, path)
    yield from _filters(source, f"{path}.source.filter.metricsFormat")


def _http(place: Mapping[str, Any], path: str) -> Iterator[Finding]:
    port = str(place.get("port"))
    if not port.isdigit() or int(port) <= 0:
        yield Finding("collector-port", f"{path}.port", f"a port above 0 was expected, got {port}", "write its number")
    if not str(place.get("path", "")).startswith("/"):
        message = f"a path that starts with / was expected, got {place.get('path')!r}"
        yield Finding("collector-path", f"{path}.path", message, "write /metrics")


def _file(place: Mapping[str, Any], source: Mapping[str, Any], path: str) -> Iterator[Finding]:
    if place.get("kind") != "File" or not str(place.get("path", "")).startswith("/"):
        message = f"an absolute path of kind File was expected, got {place.get('kind')} {place.get('path')!r}"
        yield Finding("collector-file", f"{path}.fileSystemPath", message, "write kind: File and a path from / on")
    if place.get("format") not in ("TEXT", "JSON"):
        message = f"TEXT or JSON was expected, got {place.get('format')!r}"
        yield Finding("collector-format", f"{path}.fileSystemPath.format", message, "write one of them")
    if place.get("format") == "JSON" and source.get("filter") is not None:
        message = "no filter was expected for a JSON file"
        yield Finding("collector-json-filter", f"{path}.filter", message, "take it out, or write format: TEXT")


def _custom(metrics: Mapping[str, Any], place: Mapping[str, Any], path: str) -> Iterator[Finding]:
    if not metrics["collector"].get("customCollector"):
        message = "a container was expected for a Custom collector, got none"
        yield Finding("collector-custom", f"{path}.collector.customCollector", message, "write customCollector")
    known = place.get("kind") in ("File", "Directory") and str(place.get("path", "")).startswith("/")
    if place and not known:
        message = "an absolute path of kind File or Directory was expected"
        yield Finding("collector-custom-path", f"{path}.source.fileSystemPath", message, "write kind and path")


def _filters(source: Mapping[str, Any], path: str) -> Iterator[Finding]:
    for index, pattern in enumerate((source.get("filter") or {}).get("metricsFormat") or ()):
        place = f"{path}[{index}]"
        # RE2 has neither look-around nor back references, which Python's engine takes.
        foreign = re.search(r"\(\?(=|!|<=|<!|P=|>)|\\[1-9]", pattern)
        try:
            re.compile(pattern)
        except re.error as error:
            yield Finding("filter", place, f"a regular expression was expected: {error}", "mend the expression")
            continue
        if foreign:
            message = f"an expression of RE2 was expected, which has no {foreign[0]}"
            yield Finding("filter", place, message, "write it without look-around and back references")
        elif not re.search(r"\(.*\).*\(.*\)", pattern):
            message = "two groups were expected, the name and the value"
            yield Finding("filter-groups", place, message, r"write such as ([\w|-]+)\s*=\s*(\S+)")
