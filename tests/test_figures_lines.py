"""Lines, traces, lags and training curves: what they draw is what they were given, and versions can be told apart."""

import numpy as np
import pytest

from eegfmri.figures import lines
from eegfmri.figures.style import BAND_COLOURS, STAGE_COLOURS


def test_versions_never_share_a_colour_and_before_and_after_keep_theirs():
    x = np.arange(5.0)
    names = (
        "before, at the recorder's rate",
        "every so-many-th sample",
        "after a polyphase filter",
        "after that",
        "truth",
    )
    figure = lines.curves(x, dict.fromkeys(names, x), "s", "µV", marks={"here": 2.0})
    colours = {trace.name: trace.line.color for trace in figure.data}
    assert len(set(colours.values())) == len(names)
    assert colours[names[0]] == lines.VERSION_COLOURS["before"]
    assert colours[names[2]] == lines.VERSION_COLOURS["after"]
    assert colours["truth"] == lines.VERSION_COLOURS["truth"]


def test_stages_and_bands_have_the_same_colours_everywhere():
    figure = lines.curves(np.arange(3.0), {"W": np.zeros(3), "N2": np.ones(3), "real": np.ones(3)}, "Hz", "dB")
    assert [trace.line.color for trace in figure.data[:2]] == [STAGE_COLOURS["W"], STAGE_COLOURS["N2"]]
    assert [trace.name for trace in figure.data] == ["W", "N2", "real"]
    bands = lines.lag_curves(np.arange(3.0), {band: lines.LagCurve(np.zeros(3)) for band in ("theta", "alpha")})
    assert [trace.line.color for trace in bands.data] == [BAND_COLOURS["theta"], BAND_COLOURS["alpha"]]


def test_spans_are_shaded_and_named():
    figure = lines.curves(np.arange(3.0), {"W": np.zeros(3)}, "Hz", "dB", spans={"alpha": (8.0, 13.0)})
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (8.0, 13.0)
    assert figure.layout.annotations[0].text == "alpha"


def test_traces_say_how_far_apart_channels_are_drawn():
    figure = lines.traces(np.arange(4.0), {"before": np.zeros((2, 4)), "after": np.ones((2, 4))}, ["O1", "Oz"], 80)
    assert "80 µV" in figure.layout.yaxis.title.text
    assert list(figure.layout.yaxis.ticktext) == ["O1", "Oz"]
    assert [trace.showlegend for trace in figure.data] == [True, False, True, False]


def test_large_channels_are_drawn_smaller_and_say_so():
    times = np.arange(-2, 2, 0.01)
    small, large = 20 * np.sin(9 * times), 900 * np.sin(9 * times)
    triggers = np.array([0.0, 2.1])
    figure = lines.traces(times, {"raw": np.stack([small, large])}, ["O1", "ECG"], 120.0, triggers=triggers)
    assert figure.layout.yaxis.ticktext[0] == "O1"
    factor = int(figure.layout.yaxis.ticktext[1].removeprefix("ECG ÷ "))
    drawn = np.asarray(figure.data[1].y) + 120
    assert np.abs(drawn).max() == pytest.approx(900 / factor, rel=0.01)
    assert np.abs(drawn).max() <= 120
    np.testing.assert_allclose(np.asarray(figure.data[1].customdata), large - np.median(large), rtol=1e-4, atol=0.01)


def test_what_happens_after_the_trigger_does_not_shrink_the_traces():
    times = np.arange(-2, 2, 0.01)
    trace = np.where(times < 0, 20, 5e3) * np.sin(9 * times)
    figure = lines.traces(times, {"raw": trace[None]}, ["O1"], 120.0, triggers=np.array([0.0]))
    assert figure.layout.yaxis.ticktext == ("O1",)
    assert "lead-in: no volume yet" in {note.text for note in figure.layout.annotations}


def test_a_lag_curve_lies_inside_its_band_and_planted_ones_are_dashed():
    rng = np.random.default_rng(0)
    runs, lags = rng.normal(size=(9, 5)), np.arange(5) * 2.1
    curve = lines.LagCurve(runs.mean(axis=0), *np.percentile(runs, [25, 75], axis=0), subjects=runs)
    planted = lines.LagCurve(np.ones(5), dashed=True)
    figure = lines.lag_curves(lags, {"sleep": curve, "planted": planted}, chance=(-np.ones(5), np.ones(5)))
    chance, band, *subjects, mean, dashed = figure.data
    assert chance.name == "chance (95 %)"
    assert len(subjects) == 9
    np.testing.assert_allclose(mean.y, runs.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(band.y, np.concatenate([curve.high, curve.low[::-1]]), rtol=1e-3, atol=1e-4)
    assert dashed.line.dash == "dash"


def test_a_menu_shows_the_curves_of_one_title_and_always_the_band_of_chance():
    lags = np.arange(3.0)
    groups = {
        title: {
            band: lines.LagCurve(np.full(3, k), marked=np.array([True, False, False])) for band in ("theta", "alpha")
        }
        for k, title in enumerate(("here", "there"), 1)
    }
    figure = lines.lag_curves(lags, groups, chance=(-lags, lags), truth=1.5)
    assert [trace.visible for trace in figure.data] == [True, True, True, False, False]
    second = figure.layout.updatemenus[0].buttons[1]
    assert second.label == "there"
    assert list(second.args[0]["visible"]) == [True, False, False, True, True]
    assert list(figure.data[1].marker.size) == [8, 0.1, 0.1]
    assert 1.5 in {shape.x0 for shape in figure.layout.shapes}


def test_training_curves_average_folds_over_the_epochs_that_all_of_them_made():
    panels = {"Siamese": {"training": [[1.0, 0.5], [0.8]], "validation": [[1.0, 1.2], [1.1]]}}
    figure = lines.training_curves(panels, "loss", 1.0)
    named = {trace.name: trace for trace in figure.data if trace.name}
    np.testing.assert_allclose(named["training"].y, [0.9])
    np.testing.assert_allclose(named["validation"].y, [1.05])
    thin = [list(trace.y) for trace in figure.data if not trace.name]
    assert thin == [[1.0, 0.5], [0.8], [1.0, 1.2], [1.1]]
    assert figure.layout.shapes[0].y0 == 1.0


def test_training_curves_name_each_line_once_over_all_panels():
    one = {"training": [[3.0, 2.0]], "validation": [[4.0, 3.0]]}
    figure = lines.training_curves({"loss": one | {"validation, past given": [[2.0, 1.0]]}, "PSNR": one})
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3
    forced = next(trace for trace in figure.data if trace.name == "validation, past given")
    assert forced.line.dash == "dot"
    assert len({trace.line.color for trace in figure.data}) == 3
