"""Figures of a watched window, in the look of all figures: no text of a user goes into them."""

from collections.abc import Sequence

from kubeloop.reports.figures import MODEL, OTHER, _new, _plain_numbers, _svg


def curves(name: str, at: Sequence[float], training: Sequence[float], window: Sequence[float]) -> str:
    """How a number is distributed: share of rows at or below each value.

    Args:
        name: Of the figure, unique on its page: letters, digits and hyphens.
        at: (k,) values, rising, in the unit of the column.
        training: (k,) shares of the training rows, 0 to 1.
        window: (k,) shares of the window's rows.

    Returns:
        An `<svg>` element; empty text for fewer than two values or unequal lengths.
    """
    if len(at) < 2 or not len(at) == len(training) == len(window):
        return ""
    figure, axes = _new("Value (unit of the column)", "Share of rows at or below it")
    axes.step(at, training, where="post", color=OTHER, linewidth=1.75, zorder=2)
    axes.step(at, window, where="post", color=MODEL, linewidth=2, zorder=3)
    axes.text(0.02, 1.02, "training", color=OTHER, transform=axes.transAxes)
    axes.text(0.98, 1.02, "this window", color=MODEL, ha="right", transform=axes.transAxes)
    _plain_numbers(axes)
    axes.set_ylim(-0.02, 1.02)
    apart = max(abs(one - other) for one, other in zip(training, window, strict=True))
    return _svg(figure, name, f"Cumulative shares of training and window; at most {apart:.2f} apart")


def bars(name: str, training: Sequence[float], window: Sequence[float]) -> str:
    """How categories are distributed.

    Args:
        name: As of `curves`.
        training: (k,) share of the training rows of each category, 0 to 1.
        window: (k,) share of the window's rows.

    Returns:
        An `<svg>` element; empty text for none or unequal lengths.
    """
    if not training or len(training) != len(window):
        return ""
    figure, axes = _new("Share of rows", "Category")
    places = list(range(1, len(training) + 1))
    axes.barh([place - 0.2 for place in places], training, height=0.38, color=OTHER, linewidth=0)
    axes.barh([place + 0.2 for place in places], window, height=0.38, color=MODEL, linewidth=0)
    axes.text(0.02, 1.02, "training", color=OTHER, transform=axes.transAxes)
    axes.text(0.98, 1.02, "this window", color=MODEL, ha="right", transform=axes.transAxes)
    axes.grid(visible=False, axis="y")
    _plain_numbers(axes)
    axes.set_yticks(places, [str(place) for place in places])
    axes.invert_yaxis()
    return _svg(figure, name, f"Shares of {len(training)} categories in training and in the window")
