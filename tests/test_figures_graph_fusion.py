"""Figures of graph_fusion: what they draw is what was computed."""

import numpy as np
import pandas as pd
import pytest

from eegfmri.estimators.graph_fusion import GraphFusionClassifier
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.figures import graph_fusion as draw
from windows_made import cut, informative


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    windows = cut(informative(folder, n_subjects=2, n_epochs=16), eeg_epochs=3, bold_volumes=14)
    network = GraphFusionClassifier("both", conv_features=2, graph_features=4, embedding=4, n_training_epochs=1)
    return windows, evaluate({"fusion": network}, windows, LeaveOneSubjectOut(), folder=folder / "folds")


def test_a_night_shows_the_scorer_the_probabilities_and_the_gate_epoch_by_epoch(evaluated):
    windows, evaluation = evaluated
    own = windows.table[windows.groups == "02"]
    figure = draw.night(windows, evaluation, "02", ["fusion"], gate_of="fusion")
    scorer = [trace for trace in figure.data if trace.yaxis == "y"]
    assert sorted(np.concatenate([trace.x for trace in scorer])) == sorted(own["order"])
    for trace in scorer:
        stage = windows.classes.index(trace.name)
        assert sorted(trace.x) == sorted(own["order"][windows.y[own.index] == stage])
    stacked = sum(np.asarray(trace.y) for trace in figure.data if trace.yaxis == "y2")
    np.testing.assert_allclose(stacked, 1, atol=2e-3)
    (gate,) = (trace for trace in figure.data if trace.yaxis == "y3")
    of_subject = (evaluation.predictions["subject"] == "02").to_numpy()
    np.testing.assert_allclose(gate.y, evaluation.extra("fusion", "gate")[of_subject], atol=1e-4)


def test_a_head_draws_the_strongest_edges_between_the_right_electrodes():
    names = ["Fz", "Oz", "C3", "C4"]
    adjacency = np.zeros((4, 4))
    adjacency[0, 1] = adjacency[1, 0] = 0.9
    adjacency[2, 3] = adjacency[3, 2] = -0.8
    adjacency[0, 2] = adjacency[2, 0] = 0.01
    figure = draw.scalp_graphs({"graph": adjacency}, names, n_edges=2)
    electrodes = next(trace for trace in figure.data if trace.mode == "markers+text")
    at = dict(zip(electrodes.text, zip(electrodes.x, electrodes.y, strict=True), strict=True))
    # Nose up, left ear left.
    assert at["Fz"][1] > 0 > at["Oz"][1]
    assert at["C3"][0] < 0 < at["C4"][0]
    lines = {trace.line.color: trace for trace in figure.data if trace.mode == "lines" and None not in trace.x}
    ends = {colour: sorted(zip(line.x[:2], line.y[:2], strict=True)) for colour, line in lines.items()}
    assert ends == {"#B2182B": sorted([at["Fz"], at["Oz"]]), "#2166AC": sorted([at["C3"], at["C4"]])}


def test_a_brain_draws_the_strongest_edges_inside_its_surface():
    rng = np.random.default_rng(0)
    centres = rng.uniform(-40, 40, (10, 3))
    use = np.zeros((10, 10))
    use[1, 2] = use[2, 1] = 1.0
    use[3, 4] = use[4, 3] = -0.5
    use[5, 6] = use[6, 5] = 0.1
    figure = draw.brain_edges(use, centres, [f"region {k}" for k in range(10)], n_edges=2)
    surface, *lines, nodes = figure.data
    assert min(surface.y) < -95
    assert max(surface.y) > 65
    assert sorted(nodes.text) == ["region 1", "region 2", "region 3", "region 4"]
    assert [line.name for line in lines] == ["for the chosen stage", "against it"]
    np.testing.assert_allclose([lines[0].x[0], lines[0].y[0], lines[0].z[0]], centres[1], atol=0.06)


def test_the_gate_of_each_subject_and_their_mean_are_drawn():
    table = pd.DataFrame({"W": [0.4, 0.6], "N1": [0.5, np.nan]}, index=["01", "02"])
    figure = draw.gate_by_stage(table)
    mean = figure.axes[0].lines[-1]
    np.testing.assert_allclose(mean.get_ydata(), [0.5, 0.5])


def test_alignments_of_encoders_are_drawn_per_subject_and_estimate():
    table = pd.DataFrame(
        {
            "encoders": ["inside"] * 4,
            "estimate": ["biased", "biased", "debiased", "debiased"],
            "value": [0.3, 0.5, 0.0, 0.2],
        }
    )
    figure = draw.alignment_of_encoders(table)
    drawn = np.concatenate([c.get_offsets()[:, 0] for c in figure.axes[0].collections if len(c.get_offsets())])
    assert {0.3, 0.5, 0.0, 0.2} <= set(np.round(drawn, 6))
