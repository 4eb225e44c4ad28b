"""The algorithms: their points, their repeatability, what they learn."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from kubeloop.errors import InputError
from kubeloop.experiments.katib import from_experiment
from kubeloop.experiments.search import Search
from kubeloop.experiments.suggesting import STATEFUL, Suggester, grid_values, suggester_of

Experiment = Callable[..., dict[str, Any]]
SAMPLING = ("random", "tpe", "multivariate-tpe", "cmaes", "sobol", "bayesianoptimization")


def made(experiment: Experiment, name: str, parameters: list[dict[str, Any]] | None = None, **settings: str) -> Search:
    listed = [{"name": key, "value": value} for key, value in settings.items()]
    spec: dict[str, Any] = {"algorithm": {"algorithmName": name, "algorithmSettings": listed}}
    if parameters is not None:
        spec["parameters"] = parameters
    return from_experiment(experiment(**spec))


def double(name: str, low: str, high: str, **more: str) -> dict[str, Any]:
    return {"name": name, "parameterType": "double", "feasibleSpace": {"min": low, "max": high, **more}}


def bowl(given: dict[str, str]) -> float:
    return (float(given["lr"]) - 0.03) ** 2 + (float(given["momentum"]) - 0.7) ** 2


def play(suggester: Suggester, rounds: int, value: Callable[[dict[str, str]], float | None]) -> list[dict[str, str]]:
    found = []
    for number in range(rounds):
        given = suggester.ask()
        assert given is not None
        found.append(given)
        suggester.tell(number, value(given))
    return found


@pytest.mark.parametrize("name", SAMPLING)
def test_same_seed_same_trials_and_all_in_the_space(experiment: Experiment, name: str) -> None:
    # A Gaussian process takes half a second a point, so it gets fewer.
    few = {"n_initial_points": "4"} if name == "bayesianoptimization" else {}
    search, rounds = made(experiment, name, None, **few), 6 if few else 14
    one, other = (play(suggester_of(search, 3), rounds, bowl) for _ in range(2))
    assert one == other
    if name != "sobol":
        assert play(suggester_of(search, 4), 3, bowl) != one[:3]
    steps = {parameter.name: set(grid_values(parameter)) for parameter in search.parameters}
    for given in one:
        assert 0.01 <= float(given["lr"]) <= 0.05
        assert given["layers"] in steps["layers"]
        assert given["optimizer"] in ("sgd", "adam")
        near = (float(given["lr"]) - 0.01) / 0.01
        assert abs(near - round(near)) < 1e-6


@pytest.mark.parametrize("name", SAMPLING)
def test_failed_trials_and_trials_at_once_are_taken(experiment: Experiment, name: str) -> None:
    suggester = suggester_of(made(experiment, name), 3)
    asked = [suggester.ask() for _ in range(4)]
    assert all(asked)
    suggester.tell(2, None)
    suggester.tell(0, 0.5)
    assert suggester.ask()


@pytest.mark.parametrize("name", SAMPLING)
def test_what_shall_come_first_comes_first(experiment: Experiment, name: str) -> None:
    champion = {"lr": "0.02", "momentum": "0.6", "layers": "3", "optimizer": "adam"}
    given = suggester_of(made(experiment, name), 3, [champion]).ask()
    assert given is not None
    assert {key: given[key] for key in ("layers", "optimizer")} == {"layers": "3", "optimizer": "adam"}
    assert float(given["lr"]) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "name", ["tpe", "multivariate-tpe", "cmaes", pytest.param("bayesianoptimization", marks=pytest.mark.slow)]
)
def test_learning_algorithms_come_nearer_than_chance(experiment: Experiment, name: str) -> None:
    space = [double("lr", "0.001", "1"), double("momentum", "0.001", "1")]
    learnt = [bowl(given) for given in play(suggester_of(made(experiment, name, space), 5), 30, bowl)]
    chance = [bowl(given) for given in play(suggester_of(made(experiment, "random", space), 5), 30, bowl)]
    assert np.mean(learnt[-10:]) < np.mean(chance) / 2


@pytest.mark.parametrize(("scale", "transform"), [("uniform", float), ("logUniform", lambda v: np.log(float(v)))])
def test_random_is_spread_as_asked(experiment: Experiment, scale: str, transform: Callable[[str], float]) -> None:
    search = made(experiment, "random", [double("lr", "0.001", "1", distribution=scale)])
    drawn = [transform(given["lr"]) for given in play(suggester_of(search, 1), 400, lambda _: 0.0)]
    low, high = transform("0.001"), transform("1")
    assert kstest(drawn, "uniform", (low, high - low)).pvalue > 0.01


def test_grid_is_katibs_set_of_points_in_the_order_of_the_file(experiment: Experiment) -> None:
    search = made(experiment, "grid")
    suggester = suggester_of(search, 0)
    found = []
    while not suggester.exhausted:
        found.append(suggester.ask())
    rates = [float(value) for value in np.arange(0.01, 0.05 + 0.01, 0.01) if value <= 0.05]
    momenta = [float(value) for value in np.arange(0.5, 0.9 + 0.1, 0.1) if value <= 0.9]
    expected = list(itertools.product(rates, momenta, [1, 2, 3, 4], ["sgd", "adam"]))
    points = [(float(g["lr"]), float(g["momentum"]), int(g["layers"]), g["optimizer"]) for g in found if g]
    assert points == expected
    assert suggester.ask() is None


def test_grid_gives_the_first_one_once(experiment: Experiment) -> None:
    champion = {"lr": "0.01", "momentum": "0.5", "layers": "2", "optimizer": "adam"}
    suggester = suggester_of(made(experiment, "grid"), 0, [champion])
    found = []
    while not suggester.exhausted:
        found.append(suggester.ask())
    assert found[0] == champion
    assert found.count(champion) == 1


def test_grid_without_a_step_is_refused(experiment: Experiment) -> None:
    search = made(experiment, "grid", [double("lr", "0", "1")])
    with pytest.raises(InputError, match="'lr' is a double without a step"):
        suggester_of(search, 0)


def test_hyperband_gives_the_best_of_each_round_more(experiment: Experiment) -> None:
    space = [
        double("lr", "0", "1"),
        {"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
    ]
    search = made(experiment, "hyperband", space, r_l="9", eta="3", resource_name="epochs")
    suggester = suggester_of(search, 0)
    asked: list[dict[str, str]] = []
    while not suggester.exhausted:
        given = suggester.ask()
        if given is None:
            break
        asked.append(given)
        suggester.tell(len(asked) - 1, float(given["lr"]))
    # The table of the paper for R = 9, eta = 3: 9 at 1, 3 at 3, 1 at 9; 5 at 3, 2 at 9; 3 at 9.
    assert [given["epochs"] for given in asked] == ["1"] * 9 + ["3"] * 3 + ["9"] + ["3"] * 5 + ["9"] * 2 + ["9"] * 3
    first = sorted(float(given["lr"]) for given in asked[:9])
    assert sorted(float(given["lr"]) for given in asked[9:12]) == first[:3]
    assert float(asked[12]["lr"]) == first[0]


def test_hyperband_waits_for_its_round_and_drops_failures(experiment: Experiment) -> None:
    space = [
        double("lr", "0", "1"),
        {"name": "epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "3"}},
    ]
    suggester = suggester_of(made(experiment, "hyperband", space, r_l="3", resource_name="epochs"), 0)
    given = [suggester.ask() for _ in range(3)]
    assert suggester.ask() is None
    assert not suggester.exhausted
    for number in range(2):
        suggester.tell(number, None)
    suggester.tell(2, 0.4)
    kept = suggester.ask()
    assert kept is not None
    assert given[2] is not None
    assert kept["lr"] == given[2]["lr"]


@pytest.mark.parametrize("name", STATEFUL)
def test_what_does_not_run_here_says_why(experiment: Experiment, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} does not run on this machine: .*"):
        suggester_of(made(experiment, name), 0)
