"""Figures of the chapter on saliency_fusion: modes and filters of graphs, salient nodes, attention, fusion weights, lags."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures import use_theme
from eegfmri.figures.brain import brain_surface, flat_cap, head_outline
from eegfmri.figures.lines import menu
from eegfmri.figures.style import INK, PALETTE, UNKNOWN_COLOUR, named_colour

_HIDDEN = {"visible": False, "showspikes": False}
_SCENE = {
    "xaxis": _HIDDEN,
    "yaxis": _HIDDEN,
    "zaxis": _HIDDEN,
    "aspectmode": "data",
    "camera": {"eye": {"x": 0.2, "y": 0.5, "z": 1.9}, "up": {"x": 0, "y": 1, "z": 0}},
}


def _surface(**place):
    import plotly.graph_objects as go

    vertices, faces = brain_surface()
    return go.Mesh3d(
        x=vertices[:, 0], y=vertices[:, 1], z=vertices[:, 2], i=faces[:, 0], j=faces[:, 1], k=faces[:, 2],
        color="#AEB7C2", opacity=0.12, hoverinfo="skip", **place,
    )  # fmt: skip


def graph_modes(
    scalp: tuple[np.ndarray, np.ndarray],
    ch_names: Sequence[str],
    brain: tuple[np.ndarray, np.ndarray],
    centres: np.ndarray,
    names: Sequence[str],
    modes: Sequence[int] = (0, 1, 2, 3, 8, -1),
):
    """Draw graph Fourier modes on the cap and in the brain, one at a time.

    Parameters
    ----------
    scalp, brain : (numpy.ndarray, numpy.ndarray)
        Eigenvalues (n,) and modes in columns (n, n) of each graph's Laplacian.
    ch_names : sequence of str
        Electrodes.
    centres : numpy.ndarray
        Centres of the regions, mm, shape (n_regions, 3).
    names : sequence of str
        Of the regions.
    modes : sequence of int
        Which modes can be chosen; negative ones count from the end.

    Returns
    -------
    plotly.graph_objects.Figure
        Cap to the left, brain to the right; red is positive, blue negative.
    """
    from plotly.subplots import make_subplots

    x, y, radius = flat_cap(ch_names)
    figure = make_subplots(
        rows=1, cols=2, specs=[[{"type": "xy"}, {"type": "scene"}]], column_widths=[0.45, 0.55], horizontal_spacing=0.02
    )
    outline = head_outline(radius)
    figure.add_scatter(
        x=outline[0], y=outline[1], mode="lines", line={"color": UNKNOWN_COLOUR}, hoverinfo="skip", showlegend=False,
        row=1, col=1,
    )  # fmt: skip
    figure.add_trace(_surface(), row=1, col=2)
    labels, visible = [], []
    for number, mode in enumerate(modes):
        labels.append(
            f"mode {mode % len(ch_names) + 1} of {len(ch_names)}, λ = {scalp[0][mode]:.2f} | "
            f"mode {mode % len(centres) + 1} of {len(centres)}, λ = {brain[0][mode]:.2f}"
        )
        for (_, basis), column in ((scalp, 1), (brain, 2)):
            values = basis[:, mode]
            limit = float(np.abs(values).max())
            marker = {"color": np.round(values, 3), "colorscale": "RdBu_r", "cmin": -limit, "cmax": limit,
                      "line": {"color": INK, "width": 0.5}}  # fmt: skip
            if column == 1:
                figure.add_scatter(
                    x=x, y=y, mode="markers", text=list(ch_names), marker={**marker, "size": 15}, visible=number == 1,
                    hovertemplate="%{text}: %{marker.color:.2f}<extra></extra>", showlegend=False, row=1, col=1,
                )  # fmt: skip
            else:
                figure.add_scatter3d(
                    x=np.round(centres[:, 0], 1), y=np.round(centres[:, 1], 1), z=np.round(centres[:, 2], 1),
                    mode="markers", text=list(names), marker={**marker, "size": 7}, visible=number == 1,
                    hovertemplate="%{text}: %{marker.color:.2f}<extra></extra>", showlegend=False, row=1, col=2,
                )  # fmt: skip
        visible.append([True, True] + [which // 2 == number for which in range(2 * len(modes))])
    figure.update_xaxes(visible=False, range=[-1.2 * radius, 1.2 * radius], row=1, col=1)
    figure.update_yaxes(visible=False, range=[-1.15 * radius, 1.25 * radius], scaleanchor="x", row=1, col=1)
    figure.update_layout(
        height=420, scene=_SCENE, margin={"l": 4, "r": 4, "b": 4, "t": 56}, updatemenus=[menu(labels, visible, 1)]
    )
    return figure


def filters(
    eigenvalues: np.ndarray,
    graph_gains: Mapping[str, np.ndarray],
    frequencies: np.ndarray,
    temporal: Mapping[str, np.ndarray],
):
    """Draw what a network's filters let through: over graph frequency, and over temporal frequency.

    Parameters
    ----------
    eigenvalues : numpy.ndarray
        Graph frequencies λ, shape (n,).
    graph_gains : mapping of str to numpy.ndarray
        Gain of each Chebyshev filter at the eigenvalues, shape (n_filters, n).
    frequencies : numpy.ndarray
        Hz, shape (n_bins,).
    temporal : mapping of str to numpy.ndarray
        Squared responses per scale, shape (n_filters, n_bins).

    Returns
    -------
    plotly.graph_objects.Figure
        Two panels; a click in the legend hides a group.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=1, cols=2, horizontal_spacing=0.12, subplot_titles=("graph filters", "temporal filters")
    )
    for column, (grid, groups) in enumerate(((eigenvalues, graph_gains), (frequencies, temporal)), 1):
        offset = 0 if column == 1 else len(graph_gains)
        for number, (name, rows) in enumerate(groups.items()):
            rows = rows if column == 1 else rows / np.maximum(rows.max(axis=1, keepdims=True), 1e-12)
            flat = np.full((len(rows), len(grid) + 1), np.nan)
            flat[:, :-1] = rows
            figure.add_scatter(
                x=np.round(np.tile(np.append(grid, np.nan), len(rows)), 3), y=np.round(flat.ravel(), 3), mode="lines",
                name=name, line={"color": PALETTE[(offset + number) % len(PALETTE)], "width": 1.5}, opacity=0.75,
                hoverinfo="skip", row=1, col=column,
            )  # fmt: skip
    figure.update_xaxes(title="graph frequency λ", row=1, col=1)
    figure.update_xaxes(title="frequency in Hz", row=1, col=2)
    figure.update_yaxes(title="gain", row=1, col=1)
    figure.update_layout(height=380, legend={"y": -0.25, "yanchor": "top"}, margin={"b": 90})
    return figure


def salient_brain(maps: Mapping[str, np.ndarray], centres: np.ndarray, names: Sequence[str], n_named: int = 12):
    """Draw maps over regions in a brain that can be turned, one class at a time.

    Parameters
    ----------
    maps : mapping of str to numpy.ndarray
        By title (a modality and a class), shape (n_regions,).
    centres : numpy.ndarray
        mm in MNI152 space, shape (n_regions, 3).
    names : sequence of str
        Of the regions.
    n_named : int, default=12
        So many of the largest are drawn with a dark rim.

    Returns
    -------
    plotly.graph_objects.Figure
        Size and colour grow with the value; a menu chooses.
    """
    import plotly.graph_objects as go

    figure = go.Figure(_surface())
    for number, values in enumerate(maps.values()):
        order = np.argsort(-values)
        rank = np.empty(len(values), dtype=int)
        rank[order] = np.arange(len(values))
        span = values.max() - values.min()
        share = (values - values.min()) / (span if span > 0 else 1)
        figure.add_scatter3d(
            x=np.round(centres[:, 0], 1), y=np.round(centres[:, 1], 1), z=np.round(centres[:, 2], 1), mode="markers",
            marker={
                "size": np.round(3 + 11 * share, 1), "color": np.round(values, 4), "colorscale": "Viridis",
                "line": {"color": [INK if r < n_named else "white" for r in rank], "width": 1},
                "colorbar": {"thickness": 12, "len": 0.6, "x": 1.0},
            },
            text=[f"{name} (number {r + 1})" for name, r in zip(names, rank, strict=True)], visible=number == 0,
            hovertemplate="%{text}<br>%{marker.color:.3f}<extra></extra>", showlegend=False,
        )  # fmt: skip
    visible = [[True] + [which == number for which in range(len(maps))] for number in range(len(maps))]
    figure.update_layout(
        height=470, scene=_SCENE, margin={"l": 0, "r": 0, "b": 0, "t": 56}, updatemenus=[menu(list(maps), visible)]
    )
    return figure


def attention_graphs(
    attention: np.ndarray, views: Sequence[str], centres: np.ndarray, names: Sequence[str], n_edges: int = 30
):
    """Draw where each view's nodes look, in the brain, one view at a time.

    Parameters
    ----------
    attention : numpy.ndarray
        Row i holds node i's attention to all nodes; shape (n_views, n_nodes, n_nodes).
    views : sequence of str
        Names.
    centres : numpy.ndarray
        Of the salient nodes, mm, shape (n_nodes, 3).
    names : sequence of str
        Of the salient nodes.
    n_edges : int, default=30
        The strongest pairs of different nodes.

    Returns
    -------
    plotly.graph_objects.Figure
        A line's width grows with attention in both directions together, a node's size with what it receives.
    """
    import plotly.graph_objects as go

    figure = go.Figure(_surface())
    n_nodes = attention.shape[1]
    rows, columns = np.triu_indices(n_nodes, 1)
    per_view = 4
    for number, (view, alpha) in enumerate(zip(views, attention, strict=True)):
        colour, shown = named_colour(view), number == 0
        both = (alpha + alpha.T)[rows, columns]
        strongest = np.argsort(-both)[:n_edges]
        level = np.ceil(3 * both[strongest] / max(both[strongest].max(), 1e-12)).clip(1, 3)
        for step in (1, 2, 3):
            chosen = strongest[level == step]
            lines = np.full((len(chosen), 3, 3), np.nan)
            lines[:, 0], lines[:, 1] = centres[rows[chosen]], centres[columns[chosen]]
            flat = np.round(lines.reshape(-1, 3), 1) if len(chosen) else np.full((1, 3), np.nan)
            figure.add_scatter3d(
                x=flat[:, 0], y=flat[:, 1], z=flat[:, 2], mode="lines", line={"color": colour, "width": 2 * step},
                hoverinfo="skip", showlegend=False, visible=shown,
            )  # fmt: skip
        received = alpha.sum(axis=0)
        figure.add_scatter3d(
            x=np.round(centres[:, 0], 1), y=np.round(centres[:, 1], 1), z=np.round(centres[:, 2], 1), mode="markers",
            marker={"color": INK, "size": np.round(4 + 8 * received / received.max(), 1)}, text=list(names),
            customdata=np.round(received, 2), showlegend=False, visible=shown,
            hovertemplate="%{text}<br>receives %{customdata} (1 is an equal share)<extra></extra>",
        )  # fmt: skip
    flags = [
        [True] + [which // per_view == number for which in range(per_view * len(views))] for number in range(len(views))
    ]
    figure.update_layout(
        height=450, scene=_SCENE, margin={"l": 0, "r": 0, "b": 0, "t": 56}, updatemenus=[menu(list(views), flags)]
    )
    return figure


def fusion_weights(table: pd.DataFrame):
    """Draw the weight of every view in the fusion, one group per condition.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``condition``, ``view``, ``weight``, ``low``, ``high``.

    Returns
    -------
    plotly.graph_objects.Figure
        Bars with 95 % intervals over subjects; the dotted line is an equal share.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for view in dict.fromkeys(table["view"]):
        own = table[table["view"] == view]
        figure.add_bar(
            x=own["condition"], y=own["weight"].round(4), name=view, marker={"color": named_colour(view)},
            error_y={"array": (own["high"] - own["weight"]).round(4), "arrayminus": (own["weight"] - own["low"]).round(4),
                     "thickness": 1, "width": 3},
            hovertemplate=f"{view}: %{{y:.3f}}<extra>%{{x}}</extra>",
        )  # fmt: skip
    figure.add_hline(y=1 / table["view"].nunique(), line={"dash": "dot", "color": INK, "width": 1})
    figure.update_yaxes(title="weight in the fusion", rangemode="tozero")
    figure.update_layout(height=380, barmode="group", bargap=0.25)
    return figure


def recovery_curves(table: pd.DataFrame, chance: Mapping[str, float], unit: str):
    """Draw a score over the level of noise, a panel per question, a line per method.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``panel``, ``method``, ``level``, ``value``, ``low``, ``high``.
    chance : mapping of str to float
        Dotted line of each panel; NaN for none.
    unit : str
        Title of the vertical axis.

    Returns
    -------
    matplotlib.figure.Figure
        Bands are 95 % intervals over subjects.
    """
    import matplotlib.pyplot as plt

    use_theme()
    panels = list(dict.fromkeys(table["panel"]))
    figure, row = plt.subplots(1, len(panels), figsize=(3.9 * len(panels), 3.5), sharey=True, squeeze=False)
    methods = list(dict.fromkeys(table["method"]))
    for axes, panel in zip(row[0], panels, strict=True):
        for number, method in enumerate(methods):
            own = table[(table["panel"] == panel) & (table["method"] == method)].sort_values("level")
            if not len(own):
                continue
            colour = PALETTE[number % len(PALETTE)]
            place = np.arange(len(own))
            axes.plot(place, own["value"], color=colour, marker="o", label=method)
            axes.fill_between(place, own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
            axes.set_xticks(place, [f"{level:g}" for level in own["level"]])
        if np.isfinite(chance.get(panel, np.nan)):
            axes.axhline(chance[panel], color=INK, linestyle=":", linewidth=1)
        axes.set_title(panel, fontsize=11)
        axes.set_xlabel("noise (1: as planted)")
    row[0][0].set_ylabel(unit)
    handles, labels = row[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(labels)), fontsize=10)
    return figure
