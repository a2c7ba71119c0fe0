"""Figures of synthesis draw what they are given."""

import numpy as np
import pandas as pd
import pytest

from eegfmri.figures import synthesis as draw


def test_skill_against_gap_has_a_line_per_method():
    table = pd.DataFrame(
        {
            "method": ["a", "a", "b"],
            "gap": [8.0, 2.0, 2.0],
            "value": [0.1, 0.3, 0.0],
            "low": [0.0, 0.2, -0.1],
            "high": [0.2, 0.4, 0.1],
        }
    )
    figure = draw.skill_against_gap(table, 30.0)
    assert [trace.name for trace in figure.data] == ["a", "b"]
    assert list(figure.data[0].x) == [2.0, 8.0]
    assert list(figure.data[0].y) == [0.3, 0.1]
    assert figure.data[0].error_y.array[0] == pytest.approx(0.1)


def test_encodings_show_every_pair_and_every_electrode():
    rng = np.random.default_rng(0)
    figure = draw.encodings(rng.normal(size=(5, 3)), rng.normal(size=(5, 8)), list("ABCDE"))
    left, right = figure.axes
    assert len(left.collections[0].get_offsets()) == 10
    assert {text.get_text() for text in right.texts} == set("ABCDE")
