"""The one look: templates, style sheet and page shell of every page, now and later."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import kubeloop
from kubeloop.reports import facts, words

_TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        shown=facts.shown,
        bare=facts.bare,
        percent=facts.percent,
        plural=facts.plural,
        short=facts.short,
        moment=facts.moment,
        duration=facts.duration,
        sentence=facts.sentence,
        halves=facts.halves,
        ticked=ticked,
        breakable=breakable,
        metric=words.metric,
    )
    environment.globals.update(badges=words.BADGES)
    return environment


def ticked(words: str) -> Markup:
    """Plain text in which what stands between backticks is code."""
    pieces = words.split("`")
    if len(pieces) % 2 == 0:
        return escape(words)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(pieces))


def breakable(name: str) -> Markup:
    """Machine names that may go on in the next line after each `_`, `.` and `:`."""
    return Markup("<wbr>").join(re.split(r"(?<=[_.:])(?=\w)", name))


@cache
def style_sheet() -> str:
    """The CSS of every page."""
    return (_TEMPLATES / "look.css").read_text(encoding="utf-8")


def render(template: str, **view: Any) -> Markup:
    """A template filled in; whatever comes in as plain text is escaped.

    Args:
        template: File name below `templates`.
        view: What the template shows; only `Markup` values are taken as HTML.
    """
    return Markup(_environment().get_template(template).render(**view))  # noqa: S704 - autoescape is on


def shell(title: str, body: Markup, *, aside: str = "", kind: str = "") -> str:
    """A whole page: head with the inline style sheet, brand line, body, foot.

    Args:
        title: For the window; plain text.
        body: HTML of the page.
        aside: Plain text at the right of the brand line.
        kind: CSS class of the page.
    """
    return str(
        render(
            "shell.html.j2",
            title=title,
            body=body,
            aside=aside,
            kind=kind,
            css=Markup(style_sheet()),  # noqa: S704 - our own file
            version=kubeloop.__version__,
        )
    )


def page(title: str, fragments: Sequence[str], lede: str = "") -> str:
    """A page of fragments, for one KFP HTML artifact, or for a file of its own.

    Args:
        title: Plain text; the heading, which is shown where there is a lede.
        fragments: HTML from `kubeloop.reports.sections`; not escaped again.
        lede: Plain text below the heading.
    """
    parts = [Markup(fragment) for fragment in fragments]  # noqa: S704 - made by our own templates
    return shell(title, render("page.html.j2", title=title, parts=parts, lede=lede), kind="" if lede else "single")
