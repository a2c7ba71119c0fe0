"""Figures of an evaluation: what they draw is what was scored."""

import numpy as np
import pandas as pd

from eegfmri.figures import evaluation


def test_a_forest_holds_every_subject_the_interval_and_the_published_value():
    rows = pd.DataFrame(
        {
            "value": [0.5, 0.7],
            "low": [0.4, 0.6],
            "high": [0.65, 0.75],
            "subjects": [pd.Series({"01": 0.3, "02": 0.7}), pd.Series({"01": 0.7, "02": np.nan})],
            "published": [0.58, np.nan],
        },
        index=["a", "b"],
    )
    figure = evaluation.forest(rows, "score", 1 / 3, "chance")
    first, second, estimate, published = figure.data
    assert list(first.x) == [0.3, 0.7]
    assert list(second.x) == [0.7]
    assert list(estimate.x) == [0.5, 0.7]
    np.testing.assert_allclose(estimate.error_x.array, [0.15, 0.05])
    np.testing.assert_allclose(estimate.error_x.arrayminus, [0.1, 0.1])
    assert published.x[0] == 0.58
    assert list(figure.layout.yaxis.ticktext) == ["a", "b"]

    # The scale holds all that is drawn, on any width of page.
    low, high = figure.layout.xaxis.range
    assert low < 0.3
    assert high > 0.75
    bare = evaluation.forest(rows[["value", "low", "high"]], "score", None)
    assert len(bare.data) == 1
    low, high = bare.layout.xaxis.range
    assert low < 0.4
    assert high > 0.75
