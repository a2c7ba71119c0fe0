"""Figures of a recording: what they mark is what the numbers say."""

import numpy as np

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
