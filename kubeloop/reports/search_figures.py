"""Figures of a search, in the look of all figures: no text of a user goes into them."""

from collections.abc import Sequence
from typing import Any

from kubeloop.reports.figures import GRID, MODEL, OTHER, PAPER, SOFT, _new, _plain_numbers, _svg


def history(numbers: Sequence[int], values: Sequence[float], title: str, *, lower: bool) -> str:
    """The objective of each trial, and the best so far.

    Args:
        numbers: (n,) rising numbers of trials.
        values: (n,) objectives.
        title: Of the objective.
        lower: Whether less is better.

    Returns:
        An `<svg>` element; empty text for none.
    """
    if not values or len(values) != len(numbers):
        return ""
    best: list[float] = []
    for value in values:
        best.append(value if not best else (min if lower else max)(best[-1], value))
    figure, axes = _new("Trial", title)
    axes.step(numbers, best, where="post", color=MODEL, linewidth=2, zorder=2)
    axes.scatter(numbers, values, s=26, color=OTHER, edgecolor=PAPER, linewidth=0.75, zorder=3)
    _plain_numbers(axes)
    _whole_numbers(axes, numbers)
    return _svg(figure, "search-history", f"Objective of {len(values)} trials, and the best so far: {best[-1]:.6g}")


def _whole_numbers(axes: Any, numbers: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def parallel(lines: Sequence[Sequence[float | None]], values: Sequence[float], *, lower: bool) -> str:
    """A line a trial over all parameters and the objective.

    Args:
        lines: (n, k) place of each parameter on its range, 0 to 1; None where it did not matter.
        values: (n,) objectives.
        lower: Whether less is better.

    Returns:
        An `<svg>` element; empty text for fewer than two trials.
    """
    if len(values) < 2 or len(lines) != len(values) or not lines[0]:
        return ""
    low, high = min(values), max(values)
    figure, axes = _new("Parameter, then objective", "Share of the range")
    width = len(lines[0]) + 1
    order = sorted(range(len(values)), key=lambda place: -values[place] if lower else values[place])
    for rank, place in enumerate(order):
        height = 0.5 if high == low else (values[place] - low) / (high - low)
        points = [(x, y) for x, y in enumerate([*lines[place], height], start=1) if y is not None]
        good = rank >= len(order) - max(1, len(order) // 10)
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            color=MODEL if good else SOFT,
            alpha=0.95 if good else 0.3,
            linewidth=1.75 if good else 0.9,
        )
    for x in range(1, width + 1):
        axes.axvline(x, color=GRID, linewidth=1, zorder=0)
    axes.set(xlim=(1, width), ylim=(-0.02, 1.02))
    axes.set_xticks(range(1, width + 1), [*(str(x) for x in range(1, width)), "obj."])
    return _svg(figure, "search-parallel", f"Parallel coordinates of {len(values)} trials over {width - 1} parameters")


def quality(seconds: Sequence[float], values: Sequence[float], title: str, cost: str) -> str:
    """Objectives against what they cost.

    Args:
        seconds: (n,) seconds of each trial.
        values: (n,) objectives.
        title: Of the objective.
        cost: What took the seconds.

    Returns:
        An `<svg>` element; empty text for none.
    """
    if not values or len(values) != len(seconds):
        return ""
    figure, axes = _new(f"{cost}, seconds", title)
    axes.scatter(seconds, values, s=30, color=MODEL, alpha=0.7, edgecolor=PAPER, linewidth=0.75)
    _plain_numbers(axes)
    return _svg(figure, "search-quality", f"Objective of {len(values)} trials against their seconds")
