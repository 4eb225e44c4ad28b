"""Options that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kubeloop.errors import InputError
from kubeloop.site import Site

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ENDLESS = 10_000
"""Columns of text: wider than any table."""


def _in_its_folder(_context: click.Context, _parameter: click.Parameter, value: Path) -> Path:
    """A folder stands for the loop.yaml in it."""
    return value / "loop.yaml" if value.is_dir() else value


CONTRACT = click.argument("contract", type=click.Path(path_type=Path), default="loop.yaml", callback=_in_its_folder)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
HOME = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="KUBELOOP_HOME",
    help="State of all runs.  [default: .kubeloop beside loop.yaml]",
)
SITE = click.option(
    "--site",
    "site_name",
    default="laptop",
    envvar="KUBELOOP_SITE",
    show_default=True,
    help="Where models are served: this laptop, or a Site that <home>/sites/NAME/site.yaml describes.",
)


def existing_site(home: Path | None, site_name: str = "laptop") -> Site:
    """The site of a home that a run has made: what was asked for, else `.kubeloop` here.

    Args:
        home: State root.
        site_name: Which of the Sites that it knows.

    Raises:
        InputError: There is none.
    """
    from kubeloop.site.load import named_site

    place = (home or Path(".kubeloop")).resolve()
    if not place.is_dir():
        shown = os.path.relpath(place)
        raise InputError(
            f"a home with runs was expected at {shown}, but there is none",
            "go to the folder of your loop.yaml, name another with --home, or make one with `kubeloop run`",
            home=shown,
        )
    return named_site(place, site_name, place.parent)


def console(*, stderr: bool = False) -> "Console":
    """Where commands print: as wide as the terminal, or 110 columns where there is none."""
    from rich.console import Console

    wanted = Console(stderr=stderr, highlight=False)
    return wanted if wanted.is_terminal else Console(stderr=stderr, highlight=False, width=110)


def print_whole(out: "Console", table: "Table") -> None:
    """Print a table as wide as its cells need, on a narrower terminal too: a digest that is cut is of no use.

    Args:
        out: Of `console`; it is as wide afterwards.
        table: Without a column that wraps.
    """
    needed = out.measure(table, options=out.options.update(max_width=_ENDLESS)).maximum
    out.width = max(out.width, needed)
    out.print(table)


def shown_path(path: Path) -> str:
    """A path as a person would type it from here."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("../..") else str(path)
