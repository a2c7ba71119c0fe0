"""Figures of coupling: what they draw is what they were given, at every place of the slider."""

import numpy as np
import pytest

from eegfmri.figures import coupling as draw
from eegfmri.figures.style import DATASET_COLOURS, INK

LAGS, FREQUENCIES = np.arange(20.0), np.arange(1.0, 41.0)
MEAN = np.outer(np.exp(-LAGS / 5), np.cos(FREQUENCIES / 6)) * -0.1
MAP = draw.CouplingMap(MEAN, 0.05 + 0 * MEAN)


def test_maps_share_one_scale_around_zero():
    figure = draw.coupling_maps({"DAN": MEAN, "DMN": -MEAN, "DAN, rest": MEAN}, LAGS, FREQUENCIES)
    assert {(panel.zmin, panel.zmax) for panel in figure.data} == {(-0.2, 0.2)}
    assert sum(panel.showscale for panel in figure.data) == 1
    np.testing.assert_allclose(figure.data[1].z, -MEAN, atol=6e-4)


def test_every_step_of_the_slider_shows_its_own_frequency():
    figure = draw.frequency_viewer({"DAN": {"real": MAP, "rest": MAP}, "DMN": {"real": MAP}}, LAGS, FREQUENCIES)
    (slider,) = figure.layout.sliders
    assert slider.active == 9
    assert [step.label for step in slider.steps] == [f"{f:g}" for f in FREQUENCIES]
    for number in (0, 9, 39):
        values = slider.steps[number].args[0]["y"]
        assert len(values) == len(figure.data) == 6
        np.testing.assert_allclose(values[1], MEAN[:, number], atol=6e-4)
        np.testing.assert_allclose(values[0][: len(LAGS)], MEAN[:, number] + 0.05, atol=6e-4)
        np.testing.assert_allclose(values[0][len(LAGS) :], MEAN[::-1, number] - 0.05, atol=6e-4)
    np.testing.assert_allclose(figure.data[1].y, MEAN[:, 9], rtol=1e-3)


def test_real_is_ink_and_simulated_datasets_have_their_colours():
    assert draw.source_colour("real") == INK
    assert draw.source_colour("rest") == DATASET_COLOURS["rest"]
    assert draw.source_colour("rest, uncoupled") not in (INK, DATASET_COLOURS["rest"])


def test_subjects_stand_in_the_order_of_their_correlation():
    entries = [
        {"subject": str(number), "r": r, "limit": 0.15, "transfer_r_squared": r**2 - 0.1}
        for number, r in enumerate((0.1, 0.6, 0.3))
    ]
    chance, r, explained = draw.subjects_agreement({"real": entries}).data
    assert list(r.x) == ["1", "2", "0"]
    np.testing.assert_allclose(r.y, [0.6, 0.3, 0.1])
    np.testing.assert_allclose(explained.y, [0.26, -0.01, -0.09], atol=1e-6)
    np.testing.assert_allclose(np.array(chance.base) + np.array(chance.y), 0.15)


def test_courses_are_in_units_of_their_own_spread():
    times = np.arange(50.0)
    figure = draw.two_courses(times, {"one": (np.sin(times), 100 + 5 * np.cos(times))})
    for trace in figure.data:
        assert np.std(trace.y) == pytest.approx(1, abs=0.01)


def test_responses_peak_at_one_and_falling_ones_are_turned_over():
    times = np.arange(10.0)
    kernel = np.exp(-((times - 4) ** 2))
    figure = draw.responses({"a": (times, -3 * kernel)}, {"a": np.array([0.5, 0.7]), "guess": np.array([0.4])})
    assert max(figure.data[0].y) == pytest.approx(1)
    assert figure.data[0].x[np.argmax(figure.data[0].y)] == 4
    assert [len(trace.y) for trace in figure.data[1:]] == [2, 1, 1, 1]
    assert figure.data[2].y[0] == pytest.approx(0.6)
