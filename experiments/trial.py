"""The trial of a contract's search: `python -m kubeloop.experiments.trial ORDER name=value ...`.

Cross-validates one choice on the development rows and prints `<metric>=<mean>` after every fold. ORDER is a file, or
`store:<name>@<digest>` of a search whose order and rows lie in the Site's store.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from kubeloop.errors import InputError, IntegrityError, KubeloopError
from kubeloop.experiments.contracted import SECONDS, choice_of


def order_of(tune: Any, train: Any, digest: str) -> dict[str, Any]:
    """What all trials of a search have in common.

    Args:
        tune: `TuneSection`.
        train: `TrainSection`.
        digest: Of the development table; a trial refuses another.
    """
    return {"tune": tune.model_dump(mode="json"), "train": train.model_dump(mode="json"), "digest": digest}


def write_order(file: Path, order: dict[str, Any], development: Path) -> None:
    """Write an order for trials on this machine.

    Args:
        file: Where.
        order: From `order_of`.
        development: Table folder; trials get no other rows.
    """
    document = order | {"development": str(development)}
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".tmp")
    fresh.write_text(json.dumps(document), encoding="utf-8")
    fresh.replace(file)


def run_trial(order: dict[str, Any], assignment: dict[str, str], say: Callable[[str], None]) -> float:
    """Cross-validate one choice.

    Args:
        order: From `order_of`, with the folder `development`.
        assignment: Parameter -> value as text.
        say: Takes the lines that the metrics collector reads.

    Returns:
        The mean of the primary metric over the folds in which it is defined.

    Raises:
        InputError: The choice cannot be fitted, or the metric is defined in no fold.
        IntegrityError: The rows are not those of the order.
    """
    from threadpoolctl import threadpool_limits

    from kubeloop.contract.sections import TrainSection, TuneSection
    from kubeloop.data.tables import read_facts, read_frame
    from kubeloop.learning.choice import chosen
    from kubeloop.learning.problem import answers, fit, metrics_of
    from kubeloop.learning.training import problem_of

    folder = Path(order["development"])
    digest = read_facts(folder).digest
    if digest != order["digest"]:
        raise IntegrityError(
            f"development rows {order['digest'][:19]} were expected, got {digest[:19]}", "run the pipeline again"
        )
    tune = TuneSection.model_validate_json(json.dumps(order["tune"]))
    train = TrainSection.model_validate_json(json.dumps(order["train"]))
    section, parameters = chosen(train, choice_of(tune, assignment))
    problem, _ = problem_of(section, {**section.estimator.parameters, **parameters}, read_frame(folder))
    primary, scores, seconds = section.metrics.primary, [], 0.0
    problem.unfitted()  # loads scikit-learn's OpenMP: a limit set before that would not hold
    with threadpool_limits(limits=1):
        for inside, outside in problem.parts:
            if not problem.teachable(outside):
                continue
            began = time.perf_counter()
            fitted = fit(problem, outside)
            seconds += time.perf_counter() - began
            found = answers(problem, fitted, problem.frame[inside])
            value = float(metrics_of(problem)[primary](problem.target[inside], found))
            if math.isfinite(value):
                scores.append(value)
                say(f"{primary}={sum(scores) / len(scores):.12g}")
    if not scores:
        raise InputError(f"{primary} is defined in none of the folds", "give more rows, or fewer folds")
    say(f"{SECONDS}={seconds:.6f}")
    return sum(scores) / len(scores)


def main(arguments: Sequence[str]) -> int:
    """Run a trial as a program; what stops it goes to standard error, and no metric that is no number is printed."""
    order, *pairs = arguments
    assignment = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        with _ordered(order) as document:
            run_trial(document, assignment, say)
    except KubeloopError as error:
        sys.stderr.write(f"{error.problem}\n")
        return error.exit_code
    return 0


def _ordered(order: str) -> AbstractContextManager[dict[str, Any]]:
    if not order.startswith("store:"):
        return nullcontext(json.loads(Path(order).read_text(encoding="utf-8")))
    from kubeloop.experiments.sending import received
    from kubeloop.site import load_site

    return received(load_site(), order)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
