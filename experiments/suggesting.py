"""Which parameters to try next: Katib's algorithms, on the engines that Katib's own services use where they are here.

Every suggester is a function of its seed and of the order of its calls, so that a killed search is taken up again by
repeating its calls.
"""

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any, Protocol

from kubeloop.errors import InputError
from kubeloop.experiments.search import Assignment, Parameter, Search, number_text

STATEFUL = {
    "pbt": "its trials hand weights to each other through a shared volume",
    "enas": "it searches networks, with a controller that learns on the cluster",
    "darts": "it searches networks, inside one trial that needs its own image",
}
"""Algorithms of Katib that do not run here, and why."""


class Suggester(Protocol):
    """Chooses assignments; trials are numbered from 0 in the order of what `ask` gave."""

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left to ask for."""

    def ask(self) -> dict[str, str] | None:
        """The next assignment; None when it must first be told more, or is exhausted."""

    def tell(self, number: int, value: float | None) -> None:
        """The objective of a trial; None for one that failed."""


def suggester_of(search: Search, seed: int, first: Sequence[Assignment] = ()) -> Suggester:
    """The suggester of a search.

    Args:
        search: Without lint errors.
        seed: Where the algorithm's settings give no `random_state`.
        first: Assignments to try before all others; they may be partial for the sampling algorithms.

    Raises:
        InputError: The algorithm does not run here.
    """
    name, settings = search.algorithm.name, search.algorithm.settings
    seed = int(settings.get("random_state", seed))
    if name in STATEFUL:
        raise InputError(
            f"the algorithm {name} does not run on this machine: {STATEFUL[name]}",
            "send the Experiment to a Katib, or choose tpe, which needs nothing beside the trials",
            algorithm=name,
        )
    if name == "grid":
        return Grid(search, first)
    if name == "hyperband":
        from kubeloop.experiments.hyperband import Hyperband

        return Hyperband(search, seed)
    if name == "bayesianoptimization":
        from kubeloop.experiments.bayes import Bayes

        return Bayes(search, seed, first)
    if name == "sobol":
        return Sobol(search, first)
    return Sampled(search, seed, first)


def grid_values(parameter: Parameter) -> list[str]:
    """The values of a parameter in a grid, by the formula of Katib's suggestion service.

    Doubles are `numpy.arange(low, high + step, step)` without a last one above high; so is their text.

    Raises:
        InputError: A double without a step has no grid.
    """
    import numpy as np

    if parameter.values:
        return list(parameter.values)
    low, high = parameter.bounds
    if parameter.kind == "int":
        return [str(value) for value in range(int(low), int(high) + 1, int(parameter.step or 1))]
    if not parameter.step:
        raise InputError(f"parameter {parameter.name!r} is a double without a step, so it has no grid", "give a step")
    values = [float(value) for value in np.arange(low, high + parameter.step, parameter.step)]
    return [number_text(value) for value in (values[:-1] if values[-1] > high else values)]


class Grid:
    """Every combination once, the last parameter turning fastest; what shall come first comes first, and only then."""

    def __init__(self, search: Search, first: Sequence[Assignment] = ()) -> None:
        names = [parameter.name for parameter in search.parameters]
        led = [dict(each) for each in first if set(each) == set(names)]
        values = itertools.product(*(grid_values(parameter) for parameter in search.parameters))
        every = (dict(zip(names, each, strict=True)) for each in values)
        self._rest = itertools.chain(led, (each for each in every if each not in led))
        self._next = next(self._rest, None)

    @property
    def exhausted(self) -> bool:
        """Whether every combination was given out."""
        return self._next is None

    def ask(self) -> dict[str, str] | None:
        """The next combination."""
        given, self._next = self._next, next(self._rest, None)
        return given

    def tell(self, number: int, value: float | None) -> None:
        """A grid does not learn."""


class Sobol:
    """The Sobol' sequence without scrambling, stretched over the space; a list is cut into equal parts."""

    exhausted = False

    def __init__(self, search: Search, first: Sequence[Assignment] = ()) -> None:
        from scipy.stats import qmc

        self._parameters = search.parameters
        self._points = qmc.Sobol(len(search.parameters), scramble=False)
        names = {parameter.name for parameter in search.parameters}
        self._first = [dict(each) for each in first if set(each) == names]

    def ask(self) -> dict[str, str] | None:
        """The next point."""
        if self._first:
            return self._first.pop(0)
        point = self._points.random(1)[0]
        return {each.name: at_share(each, float(share)) for each, share in zip(self._parameters, point, strict=True)}

    def tell(self, number: int, value: float | None) -> None:
        """A sequence does not learn."""


def at_share(parameter: Parameter, share: float) -> str:
    """The value that lies at a share (0 to 1, 1 exclusive) of a parameter's range, in its scale, on its steps."""
    if parameter.values:
        return parameter.values[int(share * len(parameter.values))]
    low, high = parameter.bounds
    whole = parameter.kind == "int"
    if parameter.log:
        ends = (low - 0.5, high + 0.5) if whole and low > 1 else (low, high)
        value = math.exp(math.log(ends[0]) + share * (math.log(ends[1]) - math.log(ends[0])))
        return parameter.text(min(max(round(value), low), high) if whole else min(max(value, low), high))
    step = parameter.step or (1.0 if whole else 0.0)
    if not step:
        return parameter.text(low + share * (high - low))
    places = math.floor((high - low) / step + 1e-9) + 1
    return parameter.text(low + step * int(share * places))


def at_random(parameters: Sequence[Parameter], rng: random.Random) -> dict[str, str]:
    """An assignment drawn evenly from the space."""
    return {parameter.name: at_share(parameter, rng.random()) for parameter in parameters}


class Sampled:
    """random, tpe, multivariate-tpe and cmaes, by Optuna's samplers."""

    exhausted = False

    def __init__(self, search: Search, seed: int, first: Sequence[Assignment] = ()) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._parameters = search.parameters
        self._space = {parameter.name: _distribution(parameter) for parameter in search.parameters}
        self._study = optuna.create_study(sampler=_sampler(search, seed), direction=search.objective.direction)
        kinds = {parameter.name: parameter for parameter in search.parameters}
        for each in first:
            self._study.enqueue_trial({name: _typed(kinds[name], text) for name, text in each.items()})
        self._asked: list[Any] = []

    def ask(self) -> dict[str, str] | None:
        """The sampler's next choice."""
        trial = self._study.ask(fixed_distributions=self._space)
        self._asked.append(trial)
        return {each.name: each.text(trial.params[each.name]) for each in self._parameters}

    def tell(self, number: int, value: float | None) -> None:
        """Tell the sampler; a failed trial teaches it nothing."""
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(self._asked[number], state=TrialState.FAIL)
        else:
            self._study.tell(self._asked[number], value)


def _typed(parameter: Parameter, text: str) -> Any:
    if parameter.kind == "int":
        return int(float(text))
    return float(text) if parameter.kind == "double" else text


def _distribution(parameter: Parameter) -> Any:
    from optuna import distributions as of

    if parameter.values:
        return of.CategoricalDistribution(parameter.values)
    low, high = parameter.bounds
    if parameter.kind == "int":
        step = 1 if parameter.log else int(parameter.step or 1)
        return of.IntDistribution(int(low), int(high), log=parameter.log, step=step)
    return of.FloatDistribution(low, high, log=parameter.log, step=None if parameter.log else parameter.step)


def _sampler(search: Search, seed: int) -> Any:
    import warnings

    from optuna import samplers

    name, settings = search.algorithm.name, search.algorithm.settings
    if name == "random":
        return samplers.RandomSampler(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks what Katib relies on as experimental
        if name == "cmaes":
            sigma = settings.get("sigma")
            return samplers.CmaEsSampler(
                seed=seed,
                sigma0=float(sigma) if sigma else None,
                warn_independent_sampling=False,
            )
        # hyperopt's names in tpe, Optuna's in multivariate-tpe: Katib runs each on another library.
        candidates = settings.get("n_EI_candidates") or settings.get("n_ei_candidates")
        gamma = float(settings["gamma"]) if "gamma" in settings else None
        return samplers.TPESampler(
            seed=seed,
            multivariate=name == "multivariate-tpe",
            constant_liar=True,
            n_startup_trials=int(settings.get("n_startup_trials", 10)),
            n_ei_candidates=int(candidates) if candidates else 24,
            prior_weight=float(settings["prior_weight"]) if "prior_weight" in settings else None,
            gamma=None if gamma is None else lambda n: min(math.ceil(gamma * math.sqrt(n)), 25),
        )
