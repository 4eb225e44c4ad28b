"""The figures of a page, each as a picture that stands alone, for places that keep files: MLflow."""

import re
from pathlib import Path

from kubeloop.reports.look import style_sheet

_FIGURE = re.compile(r'<svg class="plot-svg".*?</svg>', re.DOTALL)
_NAME = re.compile(r'\bid="([a-z]+)-')
_ROOT = re.compile(r":root\s*\{[^}]*\}")


def files_of(page: Path) -> dict[str, str]:
    """A page and the figures in it, by file name: `report.html`, `figures/roc.svg`."""
    text = page.read_text(encoding="utf-8")
    return {"report.html": text} | {f"figures/{name}.svg": svg for name, svg in figures_of(text).items()}


def figures_of(html: str) -> dict[str, str]:
    """The figures of a page by name; the colours that a page gives them are put into each."""
    colours = _ROOT.search(style_sheet())
    head = f'<svg xmlns="http://www.w3.org/2000/svg"><style>{colours.group() if colours else ""}</style>'
    found = {}
    for figure in _FIGURE.findall(html):
        name = _NAME.search(figure)
        if name is not None:
            opening, _, inside = figure.partition(">")
            found[name[1]] = head.replace("<svg ", f"{opening} ", 1) + inside
    return found
