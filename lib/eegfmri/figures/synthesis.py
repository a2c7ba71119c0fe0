"""Figures of synthesis: skill against the gap in time, and where learned encodings put the electrodes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eegfmri.figures import use_theme
from eegfmri.figures.style import INK, PALETTE, label


def skill_against_gap(table: pd.DataFrame, window: float):
    """Draw skill over the distance in time between what was tested and what was trained on.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``method``, ``gap`` (s), ``value``, ``low``, ``high``.
    window : float
        Length of the EEG in s: beyond it, neighbours share none.

    Returns
    -------
    plotly.graph_objects.Figure
        One line per method.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
        rows = rows.sort_values("gap")
        figure.add_scatter(
            x=rows["gap"] + 0.25 * number,
            y=rows["value"],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rows["high"] - rows["value"],
                "arrayminus": rows["value"] - rows["low"],
                "thickness": 1.5,
                "width": 4,
            },
            mode="lines+markers",
            name=label(method),
            marker={"size": 8, "symbol": ("circle", "diamond", "square", "x")[number % 4]},
            line={"color": PALETTE[number % len(PALETTE)], "width": 2},
            hovertemplate="%{x:.0f} s: %{y:.4f}<extra>" + label(method) + "</extra>",
        )
    figure.add_hline(y=0, line={"dash": "dot", "color": INK, "width": 1})
    figure.add_vline(
        x=window, line={"dash": "dash", "color": INK, "width": 1},
        annotation_text="no shared EEG beyond", annotation_font_size=11, annotation_position="top left",
    )  # fmt: skip
    figure.update_xaxes(title="gap to the nearest training window (s)", rangemode="tozero")
    figure.update_yaxes(title="skill")
    figure.update_layout(height=400)
    return figure


def encodings(positions: np.ndarray, learned: np.ndarray, names: Sequence[str]):
    """Draw distances between encodings against distances between electrodes, and electrodes as the encodings place them.

    Parameters
    ----------
    positions : numpy.ndarray
        Where electrodes are, shape (n_channels, 3), m.
    learned : numpy.ndarray
        Their encodings, shape (n_channels, width).
    names : sequence of str
        Names of the electrodes.

    Returns
    -------
    matplotlib.figure.Figure
        To the right the encodings' first two principal components; front electrodes are dark.
    """
    import matplotlib.pyplot as plt
    from scipy.spatial.distance import pdist

    use_theme()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.8))
    left.scatter(100 * pdist(positions), pdist(learned), s=9, alpha=0.5, color=PALETTE[0], linewidths=0)
    left.set(xlabel="distance of electrodes (cm)", ylabel="distance of encodings")
    centred = learned - learned.mean(axis=0)
    components = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    right.scatter(*components.T, s=34, c=positions[:, 1], cmap="cividis_r")
    for name, (x, y) in zip(names, components, strict=True):
        right.annotate(name, (x, y), fontsize=7, xytext=(3, 3), textcoords="offset points")
    right.set(xlabel="first component of the encodings", ylabel="second component")
    return figure
