"""What the suggestion services refuse, or break on: a rule per setting and algorithm."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubeloop.experiments.lint import Document, Finding
from kubeloop.experiments.lint_spec import LISTS, RANGES, number

Test = tuple[Callable[[str], bool], str]


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _at_least(least: int) -> Test:
    return lambda text: (_whole(text) if _whole(text) is not None else -1) >= least, f"a whole number from {least} on"  # type: ignore[operator]


def _one_of(*words: str) -> Test:
    return lambda text: text in words, " or ".join(words)


def _real(test: Callable[[float], bool], words: str) -> Test:
    return lambda text: (value := number(text)) is not None and test(value), words


SEED = _at_least(0)
POSITIVE = _real(lambda value: value > 0, "a number above 0")
SHARE = _real(lambda value: 0 < value < 1, "a number between 0 and 1")
NONNEGATIVE = _real(lambda value: value >= 0, "a number from 0 on")

SETTINGS: dict[str, dict[str, Test]] = {
    "random": {"random_state": SEED},
    "grid": {"random_state": SEED},
    "tpe": {"gamma": SHARE, "prior_weight": POSITIVE, "n_EI_candidates": _at_least(1), "random_state": SEED},
    "multivariate-tpe": {"n_startup_trials": SEED, "n_ei_candidates": SEED, "random_state": SEED},
    "bayesianoptimization": {
        "base_estimator": _one_of("GP", "RF", "ET", "GBRT"),
        "n_initial_points": SEED,
        "acq_func": _one_of("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
        "acq_optimizer": _one_of("auto", "sampling", "lbfgs"),
        "random_state": SEED,
    },
    "cmaes": {"random_state": SEED, "sigma": NONNEGATIVE, "restart_strategy": _one_of("none", "ipop", "bipop")},
    "sobol": {},
    "hyperband": {
        "r_l": POSITIVE,
        "eta": _real(lambda v: int(v) > 1, "a whole number above 1"),
        "resource_name": _one_of(),
    },
    "pbt": {
        "suggestion_trial_dir": (bool, "a path"),
        "n_population": _at_least(5),
        "truncation_threshold": _real(lambda value: 0 <= value <= 1, "a number from 0 to 1"),
    },
    "enas": {
        "controller_hidden_size": _at_least(1),
        "controller_temperature": (lambda text: text == "None" or (number(text) or 0) > 0, "a number above 0"),
        "controller_tanh_const": (lambda text: text == "None" or (number(text) or 0) > 0, "a number above 0"),
        "controller_entropy_weight": (lambda text: text == "None" or (number(text) or 0) > 0, "a number above 0"),
        "controller_baseline_decay": _real(lambda value: 0 < value <= 1, "a number above 0, at most 1"),
        "controller_learning_rate": _real(lambda value: 0 < value <= 1, "a number above 0, at most 1"),
        "controller_skip_target": _real(lambda value: 0 < value <= 1, "a number above 0, at most 1"),
        "controller_skip_weight": (lambda text: text == "None" or (number(text) or 0) > 0, "a number above 0"),
        "controller_train_steps": _at_least(1),
        "controller_log_every_steps": _at_least(1),
    },
    "darts": {
        "num_epochs": _at_least(1),
        **dict.fromkeys(("w_lr", "w_lr_min", "alpha_lr", "w_weight_decay", "alpha_weight_decay"), NONNEGATIVE),
        **dict.fromkeys(("w_momentum", "w_grad_clip"), NONNEGATIVE),
        "batch_size": (lambda text: text == "None" or (_whole(text) or 0) >= 1, "a whole number from 1 on, or None"),
        "num_workers": _at_least(0),
        **dict.fromkeys(("init_channels", "print_step", "num_nodes", "stem_multiplier"), _at_least(1)),
    },
}
"""By algorithm and setting: what its service takes (pkg/suggestion, 0.19)."""

LENIENT = ("darts", "hyperband", "pbt")
"""Their services overlook settings that they do not know."""

EARLY: dict[str, Test] = {"min_trials_required": _at_least(1), "start_step": _at_least(1)}
NAS = ("enas", "darts")
_PATH = "spec.algorithm.algorithmSettings"


def check(document: Document) -> Iterator[Finding]:
    """All that the algorithm's service, or medianstop's, refuses."""
    spec = document["spec"]
    algorithm = spec.get("algorithm") or {}
    name = str(algorithm.get("algorithmName"))
    early = spec.get("earlyStopping") or {}
    if early.get("algorithmName") == "medianstop":
        yield from _settings(early, "medianstop", EARLY, "spec.earlyStopping.algorithmSettings")
    if name not in SETTINGS:
        return
    yield from _settings(algorithm, name, SETTINGS[name], _PATH, lenient=name in LENIENT)
    parameters = [each for each in spec.get("parameters") or () if isinstance(each, Mapping)]
    if (name in NAS) != (spec.get("nasConfig") is not None):
        wanted = "nasConfig" if name in NAS else "parameters"
        yield Finding(
            "algorithm-space", "spec", f"{wanted} was expected for {name}", f"write {wanted}, or another algorithm"
        )
    elif name in NAS:
        yield from _nas(spec["nasConfig"], name)
    rules = {"grid": _grid, "bayesianoptimization": _bayes, "cmaes": _cmaes, "hyperband": _hyperband, "pbt": _pbt}
    if name in rules and parameters:
        yield from rules[name](spec, parameters)
    if name not in NAS:
        for place, each in enumerate(parameters):
            yield from _bounds(each, f"spec.parameters[{place}].feasibleSpace", name)


def _settings(
    words: Mapping[str, Any], name: str, known: Mapping[str, Test], path: str, *, lenient: bool = False
) -> Iterator[Finding]:
    for place, setting in enumerate(words.get("algorithmSettings") or ()):
        key, value, here = setting.get("name"), str(setting.get("value")), f"{path}[{place}]"
        if key not in known:
            if not lenient:
                mend = f"it takes {', '.join(known) or 'none'}"
                yield Finding("setting-unknown", f"{here}.name", f"{name} has no setting {key!r}", mend)
            elif name == "pbt" and key == "resample_probability":
                message = "resample_probability is compared as text and ends pbt's service with a TypeError"
                yield Finding("setting-broken", f"{here}.name", message, "take it out; its default is to perturb")
            continue
        if key == "resource_name":
            continue
        fits, expected = known[key]
        if not fits(value):
            message = f"{expected} was expected for {key}, got {value!r}"
            yield Finding("setting-value", f"{here}.value", message, f"write {expected}")


def _given(spec: Document) -> dict[str, str]:
    return {each.get("name"): str(each.get("value")) for each in spec["algorithm"].get("algorithmSettings") or ()}


def _bounds(parameter: Mapping[str, Any], place: str, name: str) -> Iterator[Finding]:
    """A min above max, and a log scale from zero, break every sampler when it first draws."""
    space = parameter.get("feasibleSpace") or {}
    if parameter.get("parameterType") not in RANGES:
        return
    low, high = number(space.get("min")), number(space.get("max"))
    if low is None or high is None:
        return
    if low > high:
        message = f"min at most max was expected, got {space['min']} and {space['max']}"
        yield Finding("bounds", place, message, "swap them")
    distribution = space.get("distribution")
    if distribution == "logUniform" and low <= 0 and name in ("random", "tpe", "multivariate-tpe"):
        yield Finding(
            "bounds-log", f"{place}.min", f"more than 0 was expected for logUniform, got {space['min']}", "raise min"
        )
    if name == "multivariate-tpe" and distribution in ("normal", "logNormal"):
        message = f"multivariate-tpe draws {distribution} as if it were uniform, or fails"
        yield Finding(
            "distribution-algorithm", f"{place}.distribution", message, "write uniform or logUniform, or use tpe"
        )


def _grid(spec: Document, parameters: list[Mapping[str, Any]]) -> Iterator[Finding]:
    sizes = []
    for place, each in enumerate(parameters):
        space = each.get("feasibleSpace") or {}
        if each.get("parameterType") == "double" and not space.get("step"):
            path = f"spec.parameters[{place}].feasibleSpace"
            yield Finding("grid-step", path, "a step was expected for a double in a grid, got none", "write step")
        sizes.append(_size(each.get("parameterType"), space))
    most = spec.get("maxTrialCount")
    if all(sizes):
        points = math.prod(size or 1 for size in sizes)
        if most is None or most > points:
            message = f"at most the {points} points of the grid were expected, got {most or 'no limit'}"
            yield Finding("grid-count", "spec.maxTrialCount", message, f"write {points} or less")


def _size(kind: Any, space: Mapping[str, Any]) -> int | None:
    if kind in LISTS:
        return len(space.get("list") or ()) or None
    low, high = number(space.get("min")), number(space.get("max"))
    step = number(space.get("step") or ("1" if kind == "int" else None))
    if low is None or high is None or not step or step <= 0 or low > high:
        return None
    from kubeloop.experiments.search import Parameter
    from kubeloop.experiments.suggesting import grid_values

    return len(grid_values(Parameter("x", "int" if kind == "int" else "double", low, high, step)))


def _bayes(spec: Document, parameters: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for place, each in enumerate(parameters):
        low = number((each.get("feasibleSpace") or {}).get("min"))
        if each.get("parameterType") == "double" and low is not None and low <= 0:
            message = f"more than 0 was expected, got {low:g}: the service sees every double on a logarithmic scale"
            mend = "raise min above 0, or use tpe"
            yield Finding("bayes-positive", f"spec.parameters[{place}].feasibleSpace.min", message, mend)


def _cmaes(spec: Document, parameters: list[Mapping[str, Any]]) -> Iterator[Finding]:
    count = sum(each.get("parameterType") in RANGES for each in parameters)
    if count < 2:
        message = f"at least two double or int parameters were expected for cmaes, got {count}"
        yield Finding("cmaes-dimensions", "spec.parameters", message, "add one, or use tpe")


def _hyperband(spec: Document, parameters: list[Mapping[str, Any]]) -> Iterator[Finding]:
    given = _given(spec)
    for key in ("r_l", "resource_name"):
        if key not in given:
            yield Finding("hyperband-needed", _PATH, f"the setting {key} was expected, got none", f"write {key}")
    names = [each.get("name") for each in parameters]
    if "resource_name" in given and given["resource_name"] not in names:
        message = f"a parameter was expected as resource_name, got {given['resource_name']!r}"
        yield Finding("hyperband-resource", _PATH, message, f"name one of {', '.join(map(str, names))}")
    most, eta = number(given.get("r_l")), number(given.get("eta", "3"))
    if most and most >= 1 and eta and int(eta) > 1:
        least = math.ceil(int(eta) ** int(math.log(most) / math.log(int(eta))))
        if spec["parallelTrialCount"] < least:
            message = (
                f"at least {least} was expected for r_l {most:g} and eta {eta:g}, got {spec['parallelTrialCount']}"
            )
            yield Finding("hyperband-parallel", "spec.parallelTrialCount", message, f"write {least}")


def _pbt(spec: Document, parameters: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for key in ("suggestion_trial_dir", "n_population", "truncation_threshold"):
        if key not in _given(spec):
            yield Finding("pbt-needed", _PATH, f"the setting {key} was expected, got none", f"write {key}")
    for place, each in enumerate(parameters):
        if each.get("parameterType") in RANGES and not (each.get("feasibleSpace") or {}).get("step"):
            path = f"spec.parameters[{place}].feasibleSpace"
            yield Finding("pbt-step", path, "a step was expected for pbt, got none", "write step")


def _nas(config: Mapping[str, Any], name: str) -> Iterator[Finding]:
    graph = config.get("graphConfig") or {}
    for key in ("inputSizes", "outputSizes", "numLayers") if name == "enas" else ("numLayers",):
        if not graph.get(key):
            yield Finding(
                "nas-graph", f"spec.nasConfig.graphConfig.{key}", f"{key} was expected, got none", f"write {key}"
            )
    operations = config.get("operations") or []
    if not operations:
        yield Finding("nas-operations", "spec.nasConfig.operations", "operations were expected, got none", "write some")
    for place, operation in enumerate(operations):
        path = f"spec.nasConfig.operations[{place}]"
        if not operation.get("operationType"):
            yield Finding("nas-operation", path, "an operationType was expected, got none", "write it")
        for index, each in enumerate(operation.get("parameters") or ()):
            yield from _nas_parameter(each, f"{path}.parameters[{index}]")


def _nas_parameter(each: Mapping[str, Any], path: str) -> Iterator[Finding]:
    space, kind = each.get("feasibleSpace") or {}, each.get("parameterType")
    if not each.get("name") or not kind:
        yield Finding("nas-parameter", path, "name and parameterType were expected", "write both")
    if kind in LISTS and not space.get("list"):
        yield Finding("nas-parameter", path, f"a list was expected for {kind}, got none", "write it")
    if kind == "double" and not (number(space.get("step")) or 0) > 0:
        yield Finding("nas-parameter", path, "a step above 0 was expected for a double", "write it")
