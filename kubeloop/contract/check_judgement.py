"""What the words about metrics, slices, gates and KPIs must mean together."""

from collections.abc import Iterator

from kubeloop.contract.findings import Path, Problem, near, unknown, wrong
from kubeloop.contract.judgement import DAY, HIGHER_IS_BETTER, METRICS_OF_TASK, RANGES, MetricName, Threshold
from kubeloop.contract.model import Contract
from kubeloop.contract.problems import expression_problem, ordered, repeated, visible


def check_judgement(c: Contract) -> Iterator[Problem]:
    """All that is wrong with `metrics`, `slices`, `gate` and the KPIs of `business`."""
    yield from _business(c)
    yield from _metrics(c)
    yield from _slices(c)
    yield from _gate(c)


def _business(c: Contract) -> Iterator[Problem]:
    if c.business is None:
        return
    slas = [sla.name for sla in c.business.slas]
    yield from repeated(slas, ("business", "slas"), "the SLA")
    yield from repeated((kpi.name for kpi in c.business.kpis), ("business", "kpis"), "the KPI")
    words = (*visible(c), *METRICS_OF_TASK[c.target.task], "prediction", "label")
    for place, kpi in enumerate(c.business.kpis):
        path: Path = ("business", "kpis", place)
        if kpi.sla is not None and kpi.sla not in slas:
            yield unknown((*path, "sla"), "an SLA of business.slas", kpi.sla, slas)
        yield from expression_problem(kpi.expression, words, (*path, "expression"))
        yield from ordered(kpi.at_least, kpi.at_most, path, ("at_least", "at_most"))
    # A misspelt SLA was found above.
    measured = {kpi.sla if kpi.sla in slas else near(kpi.sla, slas) for kpi in c.business.kpis if kpi.sla is not None}
    for place, name in enumerate(slas):
        if name not in measured:
            expected = f"a KPI with `sla: {name}`"
            yield Problem(
                ("business", "slas", place), f"no KPI measures the SLA {name!r}; add {expected}", expected, "none"
            )


def _metrics(c: Contract) -> Iterator[Problem]:
    fitting = METRICS_OF_TASK[c.target.task]
    named: list[tuple[Path, MetricName, bool]] = [(("metrics", "primary"), c.metrics.primary, False)]
    named += [(("metrics", "also", place), name, False) for place, name in enumerate(c.metrics.also)]
    named += [(("metrics", "thresholds", name), name, True) for name in c.metrics.thresholds]
    for path, name, at_key in named:
        if name not in fitting:
            message = f"{name} does not fit a {c.target.task} target; those that do: {', '.join(fitting)}"
            yield Problem(path, message, ", ".join(fitting), name, fitting[0], at_key)
    if c.metrics.primary == "calibration_error":
        said = "calibration_error cannot be primary: a dummy that knows only the class shares is calibrated best"
        yield Problem(("metrics", "primary"), said, "brier or log_loss", c.metrics.primary, "brier")
    yield from repeated(c.metrics.also, ("metrics", "also"), "the metric")
    if c.metrics.primary in c.metrics.also:
        place = c.metrics.also.index(c.metrics.primary)
        said = f"{c.metrics.primary} is the primary metric already"
        yield Problem(("metrics", "also", place), said, "others", c.metrics.primary)
    for name, bound in c.metrics.thresholds.items():
        path = ("metrics", "thresholds", name)
        yield from _bound(name, bound, path)
        if bound.at_least is None and bound.at_most is None:
            good = _good(name)
            yield Problem(path, f"the threshold of {name} says nothing; give `{good}`", good, "nothing", None, True)


def _good(name: MetricName) -> str:
    return "at_least" if HIGHER_IS_BETTER[name] else "at_most"


def _bound(name: MetricName, bound: Threshold, path: Path) -> Iterator[Problem]:
    """What is wrong with a bound on a metric: the wrong side, or a value that the metric cannot have."""
    good = _good(name)
    bad = "at_most" if good == "at_least" else "at_least"
    if getattr(bound, bad) is not None:
        better = "more" if HIGHER_IS_BETTER[name] else "less"
        said = f"{better} is better for {name}, so write `{good}`, not `{bad}`"
        yield Problem((*path, bad), said, good, bad, good, True)
    value = getattr(bound, good)
    low, high = RANGES[name]
    if value is None or ((low is None or value >= low) and (high is None or value <= high)):
        return
    ends = (low is not None, high is not None)
    span = {(True, True): f"{low} to {high}", (True, False): f"at least {low}", (False, True): f"at most {high}"}
    yield wrong((*path, good), f"{span[ends].replace('.0', '')} for {name}", f"{value:g}")


def _slices(c: Contract) -> Iterator[Problem]:
    yield from repeated((each.name for each in c.slices), ("slices",), "the slice")
    for place, each in enumerate(c.slices):
        path: Path = ("slices", place)
        yield from expression_problem(each.where, visible(c), (*path, "where"))
        yield from _bound(c.metrics.primary, each, path)


def _gate(c: Contract) -> Iterator[Problem]:
    path: Path = ("gate", "worst_slice")
    worst = c.gate.worst_slice
    if worst is not None:
        yield from _bound(c.metrics.primary, worst, path)
        good = _good(c.metrics.primary)
        if worst.at_least is None and worst.at_most is None:
            yield Problem(path, f"the bound on slices says nothing; give `{good}`", good, "nothing", None, True)
        if not c.slices:
            yield Problem(path, "there is no slice to keep this bound; add `slices`", "slices", "none", None, True)
    yield from _blocks(c)


def _blocks(c: Contract) -> Iterator[Problem]:
    path: Path = ("gate", "blocks")
    blocks, columns = c.gate.blocks, visible(c)
    if blocks is None or blocks in columns:
        return
    if blocks != DAY:
        yield unknown(path, f"a column that is read, or {DAY}", blocks, [*columns, DAY])
    elif c.data.time is None:
        yield wrong(path, "a time column in data.time, whose days are the blocks", "none")
