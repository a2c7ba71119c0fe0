"""Figures of layouts: what they draw is what the recordings say."""

import numpy as np
import pytest

from eegfmri.datasets import oddball, rest
from eegfmri.figures import layouts
from oddball_layout import write_run
from rest_layout import T_R, write_eeg, write_images


def test_bars_begin_where_the_scan_does(tmp_path):
    for subject, lead_in in (("35", 20.0), ("36", 11.0)):
        write_eeg(tmp_path, subject, lead_in=lead_in, tail=8)
        write_images(tmp_path, subject)
    write_eeg(tmp_path, "37", markers=[])
    write_images(tmp_path, "37")
    figure = layouts.lead_ins(rest.read(tmp_path))
    whole, scan = figure.axes[0].containers
    # The third has no marker and is refused: nothing is drawn of it.
    assert [bar.get_x() for bar in scan] == [20.0, 11.0]
    assert [bar.get_width() for bar in scan] == pytest.approx([12 * T_R] * 2)
    assert [bar.get_width() for bar in whole] == pytest.approx([20 + 12 * T_R + 8, 11 + 12 * T_R + 8])


def test_every_stimulus_is_drawn_once_at_its_reaction_time(tmp_path):
    write_run(tmp_path)
    (recording,) = oddball.read(tmp_path)
    traces = {trace.name: trace for trace in layouts.trials(recording).data}
    assert {name: list(trace.x) for name, trace in traces.items()} == {
        "standard": [1.5, 6.5],
        "target": [4.0],
        "left out by the authors": [9.0],
    }
    np.testing.assert_allclose(traces["target"].y, [380])
