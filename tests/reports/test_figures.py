import datetime as dt
import re
from html.parser import HTMLParser

import pytest

from kubeloop.reports import figures


def all_figures():
    many = [float(i) for i in range(9000)]
    days = [dt.datetime(2027, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3, 4)]
    return {
        "split over time": figures.split_over_time(days, [5, 3, 0], [0, 1, 4]),
        "split parts": figures.split_parts([0.5, 0.4, 0.6], [0.4, 0.3, 0.5], [0.6, 0.5, 0.7]),
        "roc": figures.roc([0, 0.1, 1], [0, 0.9, 1], 0.9),
        "calibration": figures.calibration([0.1, 0.9], [0.0, 1.0], [10, 12]),
        "residuals": figures.residuals(many, many),
        "histogram": figures.histogram([-2.0, 0.0, 1.0, 3.0]),
    }


@pytest.fixture(scope="module")
def drawn():
    return all_figures()


def test_figures_are_inline_svg_with_words_and_real_text(drawn):
    for svg in drawn.values():
        assert svg.startswith('<svg class="plot-svg" viewBox="0 0 ')
        assert svg.rstrip().endswith("</svg>")
        assert 'role="img" aria-label="' in svg
        assert "<text" in svg
        HTMLParser().feed(svg)


def test_figures_carry_no_prolog_date_address_or_style_of_their_own(drawn):
    for svg in drawn.values():
        for unwanted in ("<?xml", "<!DOCTYPE", "<!--", "http", "<metadata", "<style", "Matplotlib", "DejaVu"):
            assert unwanted not in svg


def test_colours_follow_the_page(drawn):
    for svg in drawn.values():
        assert re.findall(r"#[0-9a-fA-F]{6}\b", svg) == []
        assert "var(--model)" in svg
        assert "var(--soft)" in svg


def test_ids_do_not_clash_between_figures(drawn):
    ids = [found for svg in drawn.values() for found in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
    for svg in drawn.values():
        for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg):
            assert f'id="{target[0] or target[1]}"' in svg


def test_same_numbers_same_bytes(drawn):
    assert all_figures() == drawn


def test_large_clouds_are_thinned(drawn):
    assert len(drawn["residuals"]) < 450_000
    assert "Residuals of 9000 test rows" not in drawn["residuals"]


@pytest.mark.parametrize(
    "svg",
    [
        lambda: figures.roc([], []),
        lambda: figures.roc([0, 1], [0, 0.5, 1]),
        lambda: figures.calibration([], [], []),
        lambda: figures.calibration([0.1], [0.1], []),
        lambda: figures.residuals([], []),
        lambda: figures.residuals([1.0], []),
        lambda: figures.histogram([]),
    ],
)
def test_nothing_to_draw_is_no_figure(svg):
    assert svg() == ""


def test_degenerate_numbers_are_drawn():
    assert figures.residuals([5.0], [0.0])
    assert figures.histogram([3.0, 3.0])
    assert figures.calibration([0.5], [0.5], [0])
