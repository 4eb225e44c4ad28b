"""Figures as inline SVG, drawn by matplotlib: the same numbers give the same bytes, and colours follow the page.

matplotlib knows no CSS variables. Figures are therefore drawn in marker colours, which are replaced by the variables of
`look.css` in the SVG text: one figure serves light, dark and print. No text of a user goes into a figure.
"""

import datetime as dt
import io
import re
from collections.abc import Sequence
from typing import Any

from kubeloop.reports.facts import minus

INK, SOFT, GRID, MODEL, OTHER, PAPER = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_VARIABLES = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    GRID: "var(--grid)",
    MODEL: "var(--model)",
    OTHER: "var(--other)",
    PAPER: "var(--paper)",
}
_SIZE = (3.9, 3.6)
_MOST = 4000
"""Points drawn at most: more make a page heavy and a cloud no clearer."""


def roc(fpr: Sequence[float], tpr: Sequence[float], auc: float | None = None) -> str:
    """ROC curve.

    Args:
        fpr: (n,) false positive rates, 0 to 1, rising.
        tpr: (n,) true positive rates of the same thresholds.
        auc: Area under the curve, for the figure's description.

    Returns:
        An `<svg>` element; empty text for curves without points or of unequal length.
    """
    if len(fpr) != len(tpr) or len(fpr) < 2:
        return ""
    figure, axes = _new("Share of negatives called positive", "Share of positives found")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(fpr, tpr, color=MODEL, alpha=0.1, linewidth=0)
    axes.plot(fpr, tpr, color=MODEL, linewidth=2, solid_joinstyle="round", clip_on=False, zorder=3)
    _unit_square(axes)
    area = f", area {auc:.3f}" if auc is not None else ""
    return _svg(figure, "roc", f"ROC curve{area}: share of positives found against share of negatives called positive")


def calibration(predicted: Sequence[float], observed: Sequence[float], counts: Sequence[float]) -> str:
    """Reliability diagram: what share came true of what was given a probability.

    Args:
        predicted: (n,) mean predicted probability of each group, 0 to 1.
        observed: (n,) share of the positive class in it, 0 to 1.
        counts: (n,) rows in it; the area of a point.

    Returns:
        An `<svg>` element; empty text if there are no groups or the lengths differ.
    """
    if not predicted or not len(predicted) == len(observed) == len(counts):
        return ""
    figure, axes = _new("Predicted probability", "Share that came true")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(predicted, observed, color=MODEL, linewidth=1.25, alpha=0.6, zorder=2)
    largest = max(*counts, 1)
    sizes = [18 + 60 * max(count, 0) / largest for count in counts]
    axes.scatter(predicted, observed, s=sizes, color=MODEL, edgecolor=PAPER, linewidth=1, zorder=3, clip_on=False)
    _unit_square(axes)
    return _svg(
        figure, "calibration", f"Calibration in {len(predicted)} groups: share that came true by predicted probability"
    )


def residuals(predicted: Sequence[float], residual: Sequence[float]) -> str:
    """Residuals (truth minus prediction) against predictions.

    Args:
        predicted: (n,) in the unit of the target.
        residual: (n,) in the same unit.

    Returns:
        An `<svg>` element; empty text if there are none or the lengths differ.
    """
    if not predicted or len(predicted) != len(residual):
        return ""
    predicted, residual = _thin(predicted), _thin(residual)
    figure, axes = _new("Prediction (unit of the target)", "Truth minus prediction")
    axes.axhline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    small = 26 if len(predicted) <= 300 else 12
    axes.scatter(predicted, residual, s=small, color=MODEL, alpha=0.55, linewidth=0)
    _plain_numbers(axes)
    return _svg(figure, "residuals", f"Residuals of {len(predicted)} test rows against their predictions")


def histogram(residual: Sequence[float]) -> str:
    """How residuals (truth minus prediction) are spread.

    Args:
        residual: (n,) in the unit of the target.

    Returns:
        An `<svg>` element; empty text for none.
    """
    if not residual:
        return ""
    figure, axes = _new("Truth minus prediction (unit of the target)", "Rows")
    bins = min(30, max(6, round(len(residual) ** 0.5)))
    axes.hist(residual, bins=bins, color=MODEL, alpha=0.75, edgecolor=PAPER, linewidth=0.75)
    axes.axvline(0, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.grid(visible=False, axis="x")
    _plain_numbers(axes)
    return _svg(figure, "spread", f"Histogram of the residuals of {len(residual)} test rows")


def split_over_time(edges: Sequence[dt.datetime], development: Sequence[float], test: Sequence[float]) -> str:
    """Where in time development and test rows lie.

    Args:
        edges: (n + 1,) moments, UTC, rising, equally far apart.
        development: (n,) rows between them.
        test: (n,) rows between them.

    Returns:
        An `<svg>` element; empty text for none, or for unequal lengths.
    """
    if not development or not len(edges) - 1 == len(development) == len(test):
        return ""
    figure, axes = _new("Moment of the decision (UTC)", "Rows")
    places = range(len(development))
    axes.bar(places, development, width=1, color=MODEL, alpha=0.75, linewidth=0)
    axes.bar(places, test, bottom=list(development), width=1, color=OTHER, linewidth=0)
    axes.text(0.02, 1.02, "development", color=MODEL, transform=axes.transAxes)
    axes.text(0.98, 1.02, "test", color=OTHER, ha="right", transform=axes.transAxes)
    axes.grid(visible=False, axis="x")
    _plain_numbers(axes)
    ends = (0, len(development) / 2, len(development))
    axes.set_xticks([place - 0.5 for place in ends], [f"{edges[int(place)]:%Y-%m-%d}" for place in ends])
    return _svg(figure, "split-time", f"Development and test rows from {edges[0]:%Y-%m-%d} to {edges[-1]:%Y-%m-%d}")


def split_parts(means: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> str:
    """How alike the folds and the test are in the target.

    Args:
        means: (n,) mean of the target, or share of a class: per fold, then of the test.
        lows: (n,) lower ends of their intervals.
        highs: (n,) upper ends.

    Returns:
        An `<svg>` element; empty text for fewer than two parts, or for unequal lengths.
    """
    if len(means) < 2 or not len(means) == len(lows) == len(highs):
        return ""
    figure, axes = _new("Part", "Target: mean, or share of the class")
    places = list(range(1, len(means) + 1))
    for place, low, high in zip(places, lows, highs, strict=True):
        axes.plot([place, place], [low, high], color=SOFT, linewidth=1.25)
    axes.scatter(places[:-1], means[:-1], s=40, color=MODEL, edgecolor=PAPER, linewidth=1, zorder=3)
    axes.scatter(places[-1:], means[-1:], s=40, color=OTHER, edgecolor=PAPER, linewidth=1, zorder=3)
    axes.grid(visible=False, axis="x")
    _plain_numbers(axes)
    axes.set_xticks(places, [*(str(place) for place in places[:-1]), "test"])
    return _svg(figure, "split-parts", f"Target in {len(means) - 1} folds and in the test")


def _thin(values: Sequence[float]) -> Sequence[float]:
    step = -(-len(values) // _MOST)
    return values[::step]


def _new(across: str, up: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.set_xlabel(across)
        axes.set_ylabel(up)
    return figure, axes


def _style() -> Any:
    """Our look over matplotlib's own defaults, whatever matplotlibrc a machine has."""
    from matplotlib import style

    ours = {
        "svg.fonttype": "none",
        "svg.hashsalt": "kubeloop",
        "text.parse_math": False,
        "font.size": 10,
        "axes.labelsize": 10,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": GRID,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "figure.facecolor": "none",
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "text.color": INK,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": SOFT,
        "ytick.labelcolor": SOFT,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
    }
    return style.context(["default", ours])


def _unit_square(axes: Any) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1], yticks=[0, 0.25, 0.5, 0.75, 1])
    labels = ["0", "0.25", "0.50", "0.75", "1"]
    axes.set_xticklabels(labels)
    axes.set_yticklabels(labels)
    axes.set_box_aspect(1)


def _plain_numbers(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    formatter = FuncFormatter(lambda value, _: _tick(float(value)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(formatter)


def _tick(value: float) -> str:
    text = f"{value / 1000:,.0f}k" if abs(value) >= 10_000 else f"{value:,.6g}"
    return minus(text)


def _svg(figure: Any, name: str, label: str) -> str:
    stream = io.StringIO()
    with _style():
        figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    return _inline(stream.getvalue(), name, label)


def _inline(text: str, name: str, label: str) -> str:
    """What matplotlib wrote for a file, made fit for the inside of a page: no prolog, no metadata, ids of its own."""
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    inside = body[body.index(">") + 1 :]
    box = re.search(r'viewBox="([-0-9. ]+)"', body)
    assert box is not None
    inside = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', inside)
    inside = inside.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    inside = re.sub(r"font: ([0-9.]+px) [^;\"]+", r"font: \1 var(--sans)", inside)
    inside = re.sub(r"font-family: [^;\"]+", "font-family: var(--sans)", inside)
    for colour, variable in _VARIABLES.items():
        inside = inside.replace(colour, variable)
    return f'<svg class="plot-svg" viewBox="{box[1]}" role="img" aria-label="{label}">{inside.strip()}\n'
