"""Figures of what things cost."""

import pandas as pd

from eegfmri.figures import costs


def test_steps_are_stacked_in_their_order_and_lacking_ones_are_nothing():
    steps = pd.DataFrame(
        [("sleep", "EEG", "resample", 4.0), ("sleep", "BOLD", "motion", 80.0), ("rest", "EEG", "resample", 5.0)],
        columns=["dataset", "signal", "step", "value"],
    )
    figure = costs.stacked_steps(steps)
    assert [trace.name for trace in figure.data] == ["resample", "motion"]
    assert list(figure.data[0].y) == ["sleep, EEG", "sleep, BOLD", "rest, EEG"]
    assert list(figure.data[0].x) == [4.0, 0.0, 5.0] and list(figure.data[1].x) == [0.0, 80.0, 0.0]
    assert figure.layout.barmode == "stack"


def test_growth_names_its_power_where_one_was_fitted():
    lines = {"time": ([1.0, 2.0], "s"), "memory": ([0.0, 0.1], "GiB")}
    figure = costs.growth([2, 4], lines, {"time": (1.02, 0.9, 1.1)})
    assert [trace.name for trace in figure.data] == ["time (s), power 1.02", "memory (GiB)"]
    assert figure.layout.xaxis.type == "log" and figure.layout.yaxis.type == "log"
