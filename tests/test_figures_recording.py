"""Figures of a recording: what they mark is what the numbers say."""

import numpy as np
import pytest

from eegfmri.figures import recording as draw


def test_two_clocks_mark_the_volumes_that_cross_an_epoch_border():
    figure = draw.two_clocks(7, 30.0, 2.1)
    crossing = next(trace for trace in figure.data if trace.name == "in two epochs")
    # 7 epochs are exactly 100 volumes; counted in tenths of a second to stay with whole numbers
    expected = [k for k in range(100) if (21 * k) // 300 != (21 * (k + 1) - 1) // 300]
    assert list(crossing.customdata) == expected
    within = next(trace for trace in figure.data if trace.name == "within one epoch")
    assert len(crossing.x) + len(within.x) == 100


def test_clocks_that_agree_share_no_volume():
    figure = draw.two_clocks(3, 30.0, 2.0)
    assert len(next(trace for trace in figure.data if trace.name == "in two epochs").x) == 0


def test_every_position_of_the_slider_shows_one_slice_of_one_map():
    rng = np.random.default_rng(0)
    maps = {"mean": rng.random((4, 5, 3)) * 1000, "deviation": rng.random((4, 5, 3))}
    figure = draw.slice_viewer(maps, (2.0, 3.0, 4.0), "a.u.")
    assert sum(bool(trace.visible) for trace in figure.data) == 1
    sliders = [figure.layout.sliders[0], *(b.args[1]["sliders"][0] for b in figure.layout.updatemenus[0].buttons)]
    for slider, name in zip(sliders, ("mean", "mean", "deviation"), strict=True):
        for z, step in enumerate(slider["steps"]):
            shown = np.flatnonzero(step["args"][0]["visible"])
            assert len(shown) == 1
            trace = figure.data[shown[0]]
            assert trace.name == name
            np.testing.assert_allclose(trace.z, maps[name][:, :, z].T, atol=0.5)


def test_large_channels_are_drawn_smaller_and_say_so():
    times = np.arange(-2, 2, 0.01)
    small, large = 20e-6 * np.sin(9 * times), 900e-6 * np.sin(9 * times)
    figure = draw.eeg_traces(times, np.stack([small, large]), ["O1", "ECG"], np.array([0.0, 2.1]), spacing=120.0)
    assert figure.layout.yaxis.ticktext[0] == "O1"
    factor = int(figure.layout.yaxis.ticktext[1].removeprefix("ECG ÷ "))
    drawn = np.asarray(figure.data[1].y) + 120
    assert np.abs(drawn).max() == pytest.approx(900 / factor, rel=0.01)
    assert np.abs(drawn).max() <= 120
    np.testing.assert_allclose(
        np.asarray(figure.data[1].customdata), 1e6 * (large - np.median(large)), rtol=1e-4, atol=0.01
    )


def test_what_happens_after_the_trigger_does_not_shrink_the_traces():
    times = np.arange(-2, 2, 0.01)
    trace = np.where(times < 0, 20e-6, 5e-3) * np.sin(9 * times)
    figure = draw.eeg_traces(times, trace[None], ["O1"], np.array([0.0]))
    assert figure.layout.yaxis.ticktext == ("O1",)


def test_panels_of_a_run_share_their_time_axis():
    times = 2.1 * np.arange(30)
    figure = draw.run_overview(
        (times, np.arange(1.0, 20.0), np.ones((19, 30)) * times),
        (np.array([0.0, 30.0]), ["W", None]),
        (times, times + 1, "alpha"),
        (times, np.sin(times)[None].repeat(4, axis=0)),
        (np.sin(times), "occipital"),
    )
    axes = [figure.layout[name] for name in ("xaxis", "xaxis2", "xaxis3", "xaxis4")]
    assert {axis.matches for axis in axes} == {"x5"}
    assert "doubtful" in {trace.name for trace in figure.data}
