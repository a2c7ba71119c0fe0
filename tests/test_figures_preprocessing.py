"""Figures of preprocessing: versions can be told apart, scales are said."""

import numpy as np

from eegfmri.figures import preprocessing as draw


def test_versions_never_share_a_colour_and_before_and_after_keep_theirs():
    x = np.arange(5.0)
    names = (
        "before, at the recorder's rate",
        "every so-many-th sample",
        "after a polyphase filter",
        "after that",
        "truth",
    )
    figure = draw.curves(x, dict.fromkeys(names, x), "s", "µV", {"here": 2.0})
    colours = {trace.name: trace.line.color for trace in figure.data}
    assert len(set(colours.values())) == len(names)
    assert colours[names[0]] == draw.COLOURS["before"]
    assert colours[names[2]] == draw.COLOURS["after"]
    assert colours["truth"] == draw.COLOURS["truth"]


def test_traces_say_how_far_apart_channels_are_drawn():
    figure = draw.traces(np.arange(4.0), {"before": np.zeros((2, 4)), "after": np.ones((2, 4))}, ["O1", "Oz"], 80)
    assert "80 µV" in figure.layout.yaxis.title.text
    assert list(figure.layout.yaxis.ticktext) == ["O1", "Oz"]
