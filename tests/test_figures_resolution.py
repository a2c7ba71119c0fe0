"""Figures of what numbers can tell: they draw what was computed."""

import numpy as np
import pandas as pd
import pytest

from eegfmri.figures import resolution


def test_the_slider_moves_every_curve_and_no_published_line():
    curves = {
        r: {"half-width": np.array([1.0, 2.0]) * (1 - r), "found": np.array([2.0, 3.0]) * (1 - r)} for r in (0.0, 0.5)
    }
    figure = resolution.half_widths([1.0, 20.0], curves, {"fusion − EEG": 0.53}, start=0.5)
    assert list(figure.data[0].y) == [0.5, 1.0]
    slider = figure.layout.sliders[0]
    assert slider.active == 1
    moved, which = slider.steps[0].args
    assert moved["y"] == [[1.0, 2.0], [2.0, 3.0]]
    assert list(which) == [0, 1]
    assert list(figure.data[2].y) == [0.53, 0.53]
    assert figure.layout.yaxis.range[1] > 3


def test_coverage_has_a_panel_for_each_population_and_monte_carlo_limits():
    table = pd.DataFrame(
        [("p", m, n, 0.9, 0.88, 0.93) for m in ("one", "two") for n in (8, 23)] + [("q", "one", 8, 0.8, 0.7, 0.9)],
        columns=["population", "method", "n_subjects", "value", "low", "high"],
    )
    figure = resolution.coverage(table)
    assert list(figure.data[0].y) == [0.9, 0.9]
    assert figure.data[0].error_y.array == pytest.approx((0.03, 0.03))
    assert [a.text for a in figure.layout.annotations[:2]] == ["p", "q"]


def test_the_curve_is_in_order_and_every_reading_has_a_mark_in_every_choice():
    table = pd.DataFrame({"a": ["x", "y", "x", "y"], "b": [1, 1, 2, 2], "score": [0.5, 0.2, 0.9, 0.4]})
    figure = resolution.specification_curve(table, ["a", "b"], 1 / 3, marked=0)
    assert list(figure.data[0].y) == [0.2, 0.4, 0.5, 0.9]
    marks = figure.data[1:5]
    assert sum(len(mark.x) for mark in marks) == 2 * 4
    assert list(marks[0].x) == [3, 4], "a: x"
    assert (figure.data[5].x[0], figure.data[5].y[0]) == (3, 0.5)
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["colour by a", "colour by b"]
    assert list(figure.layout.yaxis2.ticktext) == ["a: x", "a: y", "b: 1", "b: 2"]


def test_shares_are_drawn_in_percent():
    table = pd.DataFrame({"share": [0.6, 0.4], "other": [0.1, 0.9]}, index=["split", "lag"])
    figure = resolution.shares(table, {"share": "all", "other": "one question"})
    assert dict(zip(figure.data[0].y, figure.data[0].x, strict=True)) == {"split": 60, "lag": 40}
    assert len(figure.data) == 2


def test_alignment_has_a_line_and_dots_for_each_size_and_hides_the_debiased():
    n = np.array([10.0, 1000.0])
    drawn = pd.DataFrame(
        {"n_windows": [100], "n_features": [8], "biased": [0.07], "debiased": [0.0], "low": [-0.01], "high": [0.02]}
    )
    figure = resolution.chance_alignment(n, {8: 8 / (8 + n)}, drawn, 0.05, {"all epochs": 500})
    line, dots, debiased, mark, published = figure.data
    assert dots.y[0] == 0.07
    assert debiased.visible == "legendonly"
    assert list(mark.x) == [500, 500]
    assert list(published.y) == [0.05, 0.05]
    assert line.y[0] == pytest.approx(8 / 18, abs=1e-3)
