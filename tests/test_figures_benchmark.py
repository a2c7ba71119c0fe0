"""Figures of the benchmark: they draw what was computed."""

import pandas as pd
import pytest

from eegfmri.figures import benchmark


def test_the_menu_changes_the_cost_of_every_kind():
    table = pd.DataFrame(
        {
            "kind": ["linear", "network"],
            "value": [0.2, 0.1],
            "low": [0.1, 0.0],
            "high": [0.3, 0.2],
            "weights": [10, 100],
            "ms": [1.0, 2.0],
        },
        index=["ridge", "U-Net"],
    )
    figure = benchmark.quality_against_cost(table, {"weights": "weights", "ms": "milliseconds"}, "correlation")
    assert [trace.name for trace in figure.data] == ["linear", "network"]
    assert list(figure.data[1].x) == [100]
    assert list(figure.data[1].error_y.array) == pytest.approx([0.1])
    change, layout = figure.layout.updatemenus[0].buttons[1].args
    assert change["x"] == [[1.0], [2.0]]
    assert layout == {"xaxis.title.text": "milliseconds"}
    assert figure.layout.xaxis.type == "log"


def test_a_split_that_leaks_is_marked_as_such():
    table = pd.DataFrame(
        [(s, m, 0.1, 0.0, 0.2, s == "shuffled") for s in ("loso", "shuffled") for m in ("ridge", "movement")],
        columns=["split", "method", "value", "low", "high", "leaks"],
    )
    figure = benchmark.by_split(table, "r")
    assert list(figure.data[0].marker.symbol) == ["circle", "diamond-open"]
    assert list(figure.layout.xaxis.ticktext) == ["loso", "shuffled<br>(leaks)"]
    assert figure.data[0].x[0] < 0 < figure.data[1].x[0]


def test_coherence_has_a_line_per_method_over_the_bins_in_order():
    table = pd.DataFrame(
        [(m, b, 0.1 * i, 0.0, 0.5) for m in ("one", "two") for i, b in enumerate(("slow", "fast"))],
        columns=["method", "bin", "value", "low", "high"],
    )
    figure = benchmark.coherence(table)
    assert len(figure.data) == 2
    assert list(figure.data[1].y) == [0.0, 0.1]
    assert list(figure.layout.xaxis.ticktext) == ["slow", "fast"]
