"""Figures of saliency_fusion show the numbers they were given."""

import numpy as np
import pandas as pd
import pytest

from eegfmri.figures import figure_html
from eegfmri.figures import saliency_fusion as draw
from eegfmri.models import graph_signals, graphs
from eegfmri.preprocessing.sources import electrode_positions

NAMES = ["Fz", "Cz", "Oz", "C3", "C4"]
CENTRES = np.array([[0, 40, 20], [0, -20, 60], [0, -80, 10], [-50, -20, 40], [50, -20, 40], [20, 10, 50.0]])
REGIONS = [f"region {i}" for i in range(6)]


def shown(figure):
    return [trace for trace in figure.data if trace.visible in (None, True)]


def test_modes_are_drawn_on_cap_and_brain_and_the_menu_shows_one_at_a_time():
    scalp = graph_signals.fourier_basis(graph_signals.laplacian(graphs.scalp_adjacency(electrode_positions(NAMES))))
    weights = np.ones((6, 6)) - np.eye(6)
    brain = graph_signals.fourier_basis(graph_signals.laplacian(weights))
    figure = draw.graph_modes(scalp, NAMES, brain, CENTRES, REGIONS, modes=(0, 1, -1))
    cap = next(t for t in shown(figure) if t.type == "scatter" and t.text is not None)
    np.testing.assert_allclose(cap.marker.color, scalp[1][:, 1], atol=1e-3)
    regions = next(t for t in shown(figure) if t.type == "scatter3d")
    np.testing.assert_allclose(regions.marker.color, brain[1][:, 1], atol=1e-3)
    buttons = figure.layout.updatemenus[0].buttons
    assert len(buttons) == 3
    assert "mode 5 of 5" in buttons[2].label
    for button in buttons:
        flags = button.args[0]["visible"]
        assert len(flags) == len(figure.data)
        assert sum(flags) == 4


def test_filters_stand_in_both_domains():
    gains = {"alpha": np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]])}
    figure = draw.filters(np.array([0.0, 1.0, 2.0]), gains, np.array([1.0, 2.0]), {"0.5 s": np.array([[2.0, 4.0]])})
    graph, temporal = figure.data
    np.testing.assert_allclose(np.array(graph.y, dtype=float)[[0, 1, 2, 4, 5, 6]], [1, 0.5, 0, 0, 0.5, 1])
    np.testing.assert_allclose(np.array(temporal.y, dtype=float)[:2], [0.5, 1.0])


def test_a_brain_shows_the_chosen_map():
    maps = {"fMRI, W": np.arange(6.0), "fMRI, N1": -np.arange(6.0)}
    figure = draw.salient_brain(maps, CENTRES, REGIONS, n_named=2)
    assert [t.type for t in shown(figure)] == ["mesh3d", "scatter3d"]
    np.testing.assert_allclose(shown(figure)[1].marker.color, np.arange(6.0))
    assert shown(figure)[1].marker.size[5] == max(shown(figure)[1].marker.size)
    assert shown(figure)[1].text[5].endswith("(number 1)")
    assert [b.label for b in figure.layout.updatemenus[0].buttons] == list(maps)
    # constant maps divide by nothing
    draw.salient_brain({"x": np.ones(6)}, CENTRES, REGIONS)


def test_attention_joins_the_pairs_that_look_at_each_other():
    attention = np.full((2, 6, 6), 0.01)
    attention[0, 1, 4] = 0.9
    attention[1, 2, 3] = 0.9
    figure = draw.attention_graphs(attention, ("alpha", "fMRI"), CENTRES, REGIONS, n_edges=1)
    line = next(t for t in shown(figure) if t.type == "scatter3d" and t.mode == "lines" and np.isfinite(t.x[0]))
    assert sorted([line.x[0], line.x[1]]) == sorted(CENTRES[[1, 4], 0].tolist())
    markers = next(t for t in shown(figure) if t.type == "scatter3d" and t.mode == "markers")
    assert markers.customdata[4] == max(markers.customdata)
    for button in figure.layout.updatemenus[0].buttons:
        assert len(button.args[0]["visible"]) == len(figure.data)
        assert sum(button.args[0]["visible"]) == 5


def test_weights_hold_their_numbers():
    table = pd.DataFrame(
        {
            "condition": ["a", "a"],
            "view": ["alpha", "fMRI"],
            "weight": [0.2, 0.8],
            "low": [0.1, 0.7],
            "high": [0.3, 0.9],
        }
    )
    bars = draw.fusion_weights(table)
    assert [bar.y[0] for bar in bars.data] == [0.2, 0.8]


def test_recovery_has_a_panel_per_question():
    table = pd.DataFrame(
        [("a", "m", 0.0, 0.9, 0.8, 1.0), ("a", "m", 1.0, 0.5, 0.4, 0.6), ("b", "m", 0.0, 0.3, 0.2, 0.4)],
        columns=["panel", "method", "level", "value", "low", "high"],
    )
    figure = draw.recovery_curves(table, {"a": 0.2, "b": np.nan}, "area")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b"]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.9, 0.5])
    assert len(figure.axes[0].lines) == 2
    assert len(figure.axes[1].lines) == 1


@pytest.mark.parametrize("n_maps", [1, 3])
def test_live_figures_are_light(n_maps, monkeypatch):
    monkeypatch.setenv("EEGFMRI_RUNNER", "1")  # on a page, plotly's script is not part of the figure
    maps = {f"map {i}": np.random.default_rng(i).normal(size=6) for i in range(n_maps)}
    assert len(figure_html(draw.salient_brain(maps, CENTRES, REGIONS), "caption")) < 200_000
