"""Bayesian optimisation on scikit-optimize, the library behind Katib's `bayesianoptimization`."""

import warnings
from collections.abc import Sequence
from typing import Any

from kubeloop.experiments.search import Assignment, Parameter, Search


class Bayes:
    """A Gaussian process (by default) over the space; what runs meanwhile is taken to come out as the worst so far.

    As in Katib, doubles are seen on a logarithmic scale, whatever their distribution, so their bounds must be above 0;
    a step is kept to by rounding.
    """

    exhausted = False

    def __init__(self, search: Search, seed: int, first: Sequence[Assignment] = ()) -> None:
        from skopt import Optimizer

        settings = search.algorithm.settings
        self._parameters = search.parameters
        self._sign = -1.0 if search.objective.direction == "maximize" else 1.0
        self._optimizer: Any = Optimizer(
            [_dimension(parameter) for parameter in search.parameters],
            base_estimator=settings.get("base_estimator", "GP"),
            n_initial_points=int(settings.get("n_initial_points", 10)),
            acq_func=settings.get("acq_func", "gp_hedge"),
            acq_optimizer=settings.get("acq_optimizer", "auto"),
            random_state=seed,
        )
        names = {parameter.name for parameter in search.parameters}
        self._first = [dict(each) for each in first if set(each) == names]
        self._asked: list[list[Any]] = []
        self._pending: set[int] = set()
        self._worst: float | None = None

    def ask(self) -> dict[str, str] | None:
        """The next point."""
        if self._first:
            given = self._first.pop(0)
            point = [_typed(parameter, given[parameter.name]) for parameter in self._parameters]
        else:
            point = self._next()
            given = {p.name: p.text(value) for p, value in zip(self._parameters, point, strict=True)}
        self._pending.add(len(self._asked))
        self._asked.append(point)
        return given

    def _next(self) -> list[Any]:
        optimizer = self._optimizer
        if self._pending and self._worst is not None:
            # A copy takes the lies: the real one must not remember them.
            optimizer = optimizer.copy(random_state=len(self._asked))
            for number in sorted(self._pending):
                _tell(optimizer, self._asked[number], self._worst)
        return [_on_step(p, value) for p, value in zip(self._parameters, _ask(optimizer), strict=True)]

    def tell(self, number: int, value: float | None) -> None:
        """Tell the process; a failed trial counts as the worst that was seen."""
        self._pending.discard(number)
        seen = self._worst if value is None else self._sign * value
        if seen is None:
            return
        self._worst = seen if self._worst is None else max(self._worst, seen)
        _tell(self._optimizer, self._asked[number], seen)


def _ask(optimizer: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(optimizer.ask())


def _tell(optimizer: Any, point: list[Any], value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a point came before, or that the process did not converge
        optimizer.tell(point, value)


def _dimension(parameter: Parameter) -> Any:
    from skopt.space import Categorical, Integer, Real

    if parameter.values:
        return Categorical(parameter.values)
    low, high = parameter.bounds
    if parameter.kind == "int":
        return Integer(int(low), int(high))
    return Real(low, high, prior="log-uniform")


def _typed(parameter: Parameter, text: str) -> Any:
    if parameter.values:
        return text
    return int(float(text)) if parameter.kind == "int" else float(text)


def _on_step(parameter: Parameter, value: Any) -> Any:
    if parameter.values or not parameter.step:
        return value
    low, high = parameter.bounds
    near = low + round((float(value) - low) / parameter.step) * parameter.step
    near = min(near, high)
    return int(near) if parameter.kind == "int" else near
