"""Figures of graph_fusion: a night as its decoders see it, the gate, and the graphs they learned."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures import use_theme
from eegfmri.figures.brain import brain_surface, flat_cap, head_outline
from eegfmri.figures.style import GRID, INK, NEGATIVE, PALETTE, POSITIVE, STAGE_COLOURS, UNKNOWN_COLOUR, label


def night(windows, evaluation, subject: str, methods: Sequence[str], gate_of: str | None = None):
    """Draw a held-out subject's scored stages, below them the probability that each decoder gives to each stage.

    Parameters
    ----------
    windows : eegfmri.windows.Windows
        The windows that were evaluated.
    evaluation : eegfmri.evaluation.evaluate.Evaluation
        Of methods that say ``probabilities``.
    subject : str
        Whose session.
    methods : sequence of str
        One row each.
    gate_of : str or None
        A fused method whose gate is drawn in a last row.

    Returns
    -------
    plotly.graph_objects.Figure
        Time runs to the right in scored epochs; gaps are epochs that were not evaluated.
    """
    from plotly.subplots import make_subplots

    titles = ["scorer", *(label(method) for method in methods), *(["weight of EEG in the gate"] if gate_of else [])]
    rows = len(titles)
    figure = make_subplots(
        rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.06, subplot_titles=titles,
        row_heights=[0.5, *[1.0] * (rows - 1)],
    )  # fmt: skip
    for row, method in enumerate(methods, 2):
        rank, stages, texts, probabilities = _said(windows, evaluation, method, subject, "probabilities")
        if row == 2:
            for index, stage in enumerate(windows.classes):
                own = stages == index
                figure.add_bar(
                    x=rank[own],
                    y=np.ones(own.sum()),
                    width=1,
                    marker={"color": STAGE_COLOURS[stage], "line": {"width": 0}},
                    name=stage,
                    text=texts[own],
                    textposition="none",
                    hovertemplate="%{text}: " + stage + "<extra>scorer</extra>",
                    row=1,
                    col=1,
                )
        for index, stage in enumerate(windows.classes):
            figure.add_bar(
                x=rank,
                y=np.round(probabilities[:, index], 3),
                width=1,
                marker={"color": STAGE_COLOURS[stage], "line": {"width": 0}},
                showlegend=False,
                text=texts,
                textposition="none",
                hovertemplate=f"%{{text}}: {stage} %{{y:.2f}}<extra>{label(method)}</extra>",
                row=row,
                col=1,
            )
        figure.update_yaxes(range=[0, 1], tickvals=[0, 0.5, 1], row=row, col=1)
    if gate_of:
        rank, stages, texts, gate = _said(windows, evaluation, gate_of, subject, "gate")
        figure.add_scatter(
            x=rank,
            y=np.round(gate, 4),
            mode="lines+markers",
            line={"color": GRID, "width": 1},
            marker={
                "color": [STAGE_COLOURS[windows.classes[s]] for s in stages],
                "size": 6,
                "line": {"color": INK, "width": 0.5},
            },
            text=texts,
            hovertemplate="%{text}: %{y:.3f}<extra>gate</extra>",
            showlegend=False,
            row=rows,
            col=1,
        )
    figure.update_yaxes(showticklabels=False, ticks="", row=1, col=1)
    figure.update_xaxes(title="scored epoch of the session", row=rows, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_layout(
        barmode="stack", bargap=0, height=140 + 115 * (rows - 1),
        legend={"y": 1 + 28 / (140 + 115 * (rows - 1)), "x": 0, "traceorder": "normal"}, margin={"t": 64},
    )  # fmt: skip
    return figure


def _said(windows, evaluation, method: str, subject: str, name: str):
    """Rank in the session, scored stage, where and when, and what a method said, in order of time."""
    own = evaluation.predictions[evaluation.predictions["method"] == method].reset_index(drop=True)
    values = evaluation.extra(method, name)
    of_subject = own[own["subject"] == subject]
    table = windows.table.loc[of_subject["window"]]
    order = np.argsort(table["order"].to_numpy())
    texts = np.array([f"{row.run}, {row.onset:.0f} s" for row in table.itertuples()])
    return (
        table["order"].to_numpy()[order],
        of_subject["true"].to_numpy()[order],
        texts[order],
        values[of_subject.index.to_numpy()][order],
    )


def trade_off(table: pd.DataFrame, chance: float):
    """Draw a score against the length of the context, a line per drift filter, a panel per kind of signal.

    Parameters
    ----------
    table : pandas.DataFrame
        ``signal``, ``filter``, ``context (s)``, ``score``, ``low``, ``high``.
    chance : float
        Score of guessing.

    Returns
    -------
    matplotlib.figure.Figure
        Bars are 95 % intervals over subjects.
    """
    import matplotlib.pyplot as plt

    use_theme()
    panels = list(dict.fromkeys(table["signal"]))
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels) + 0.6, 3.4), sharey=True, squeeze=False)
    for place, (panel, own) in enumerate(zip(panels, axes[0], strict=True)):
        lines = table[table["signal"] == panel].groupby("filter", sort=False)
        for number, (name, rows) in enumerate(lines):
            x = rows["context (s)"] * (1 + 0.03 * (number - (len(lines) - 1) / 2))  # side by side
            spread = [rows["score"] - rows["low"], rows["high"] - rows["score"]]
            own.errorbar(x, rows["score"], spread, marker="o", color=PALETTE[number], label=name, linewidth=1.5)
        own.axhline(chance, color=UNKNOWN_COLOUR, linestyle="--", linewidth=1.2)
        own.set(title=panel, xlabel="context (s)", ylabel="balanced accuracy" if not place else None)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, names, title="drift filter", loc="outside lower center", ncols=len(names), fontsize=8, title_fontsize=8
    )
    return figure


def gate_by_stage(table: pd.DataFrame):
    """Draw each subject's mean gate in each stage.

    Parameters
    ----------
    table : pandas.DataFrame
        Subjects by stages; NaN where a subject has no such epoch.

    Returns
    -------
    matplotlib.figure.Figure
        One line per subject, the mean over subjects in black.
    """
    import matplotlib.pyplot as plt
    import seaborn

    use_theme()
    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    long = table.rename_axis(index="subject", columns="stage").stack().rename("gate").reset_index()
    seaborn.lineplot(
        long, x="stage", y="gate", units="subject", estimator=None, color=UNKNOWN_COLOUR, marker="o", ax=axes, sort=False
    )  # fmt: skip
    axes.plot(range(table.shape[1]), table.mean(), color=INK, marker="D", linewidth=2)
    axes.set_ylabel("weight of EEG in the gate")
    axes.set_xlabel("scored stage")
    axes.margins(x=0.15)
    return figure


def scalp_graphs(graphs: Mapping[str, np.ndarray], ch_names: Sequence[str], n_edges: int = 60):
    """Draw the strongest edges between electrodes, seen from above, nose up.

    Parameters
    ----------
    graphs : mapping of str to numpy.ndarray
        Titles and adjacencies, shape (n_channels, n_channels).
    ch_names : sequence of str
        Electrodes of the extended 10–20 system.
    n_edges : int, default=60
        How many edges of each graph.

    Returns
    -------
    plotly.graph_objects.Figure
        One head per graph; red edges are positive, blue negative, width grows with strength.
    """
    from plotly.subplots import make_subplots

    x, y, radius = flat_cap(ch_names)
    figure = make_subplots(rows=1, cols=len(graphs), subplot_titles=list(graphs), horizontal_spacing=0.02)
    outline = head_outline(radius)
    for column, adjacency in enumerate(graphs.values(), 1):
        figure.add_scatter(x=outline[0], y=outline[1], mode="lines", line={"color": UNKNOWN_COLOUR}, hoverinfo="skip",
                           showlegend=False, row=1, col=column)  # fmt: skip
        rows, columns = np.triu_indices(len(adjacency), 1)
        weights = adjacency[rows, columns]
        strongest = np.argsort(-np.abs(weights))[:n_edges]
        top = max(np.abs(weights[strongest]).max(), 1e-12)
        # Edges of like width are one trace: hundreds of traces would be slow.
        level = np.ceil(4 * np.abs(weights[strongest]) / top).clip(1, 4)
        for sign, colour in ((1, POSITIVE), (-1, NEGATIVE)):
            for step in range(1, 5):
                chosen = strongest[(level == step) & (np.sign(weights[strongest]) == sign)]
                if len(chosen):
                    ends = np.stack([rows[chosen], columns[chosen]], axis=1)
                    gaps = np.full((len(chosen), 1), np.nan)
                    figure.add_scatter(
                        x=np.hstack([x[ends], gaps]).ravel(), y=np.hstack([y[ends], gaps]).ravel(), mode="lines",
                        line={"color": colour, "width": 0.8 * step}, opacity=0.3 + 0.15 * step, hoverinfo="skip",
                        showlegend=False, row=1, col=column,
                    )  # fmt: skip
        strength = np.abs(adjacency).sum(axis=1)
        figure.add_scatter(
            x=x, y=y, mode="markers+text", text=list(ch_names), textposition="top center", textfont={"size": 9},
            marker={"color": INK, "size": 6}, customdata=np.round(strength, 3),
            hovertemplate="%{text}: strength %{customdata}<extra></extra>", showlegend=False, row=1, col=column,
        )  # fmt: skip
        figure.update_xaxes(visible=False, range=[-1.2 * radius, 1.2 * radius], row=1, col=column)
        axis = "x" if column == 1 else f"x{column}"
        figure.update_yaxes(visible=False, range=[-1.15 * radius, 1.25 * radius], scaleanchor=axis, row=1, col=column)
    figure.update_layout(height=430, margin={"l": 8, "r": 8, "b": 8, "t": 64})
    return figure


def brain_edges(use: np.ndarray, centres: np.ndarray, names: Sequence[str], n_edges: int = 40):
    """Draw the strongest edges between regions in a transparent brain that can be turned.

    Parameters
    ----------
    use : numpy.ndarray
        Signed weights, shape (n_regions, n_regions).
    centres : numpy.ndarray
        Centres of the regions, mm in MNI space, shape (n_regions, 3).
    names : sequence of str
        Of the regions.
    n_edges : int, default=40
        How many edges, by absolute weight.

    Returns
    -------
    plotly.graph_objects.Figure
        Red edges speak for the stage that was chosen, blue ones against it.
    """
    import plotly.graph_objects as go

    vertices, faces = brain_surface()
    figure = go.Figure(
        go.Mesh3d(
            x=vertices[:, 0], y=vertices[:, 1], z=vertices[:, 2], i=faces[:, 0], j=faces[:, 1], k=faces[:, 2],
            color="#AEB7C2", opacity=0.12, hoverinfo="skip",
        )
    )  # fmt: skip
    rows, columns = np.triu_indices(len(use), 1)
    weights = use[rows, columns]
    strongest = np.argsort(-np.abs(weights))[:n_edges]
    top = max(np.abs(weights[strongest]).max(), 1e-12)
    level = np.ceil(3 * np.abs(weights[strongest]) / top).clip(1, 3)
    for sign, colour, name in ((1, POSITIVE, "for the chosen stage"), (-1, NEGATIVE, "against it")):
        first = True
        for step in (3, 2, 1):
            chosen = strongest[(level == step) & (np.sign(weights[strongest]) == sign)]
            if not len(chosen):
                continue
            lines = np.full((len(chosen), 3, 3), np.nan)
            lines[:, 0], lines[:, 1] = centres[rows[chosen]], centres[columns[chosen]]
            flat = np.round(lines.reshape(-1, 3), 1)
            figure.add_scatter3d(
                x=flat[:, 0], y=flat[:, 1], z=flat[:, 2], mode="lines", line={"color": colour, "width": 2 * step},
                name=name, legendgroup=name, showlegend=first, hoverinfo="skip",
            )  # fmt: skip
            first = False
    touched = np.unique(np.concatenate([rows[strongest], columns[strongest]]))
    total = np.zeros(len(use))
    np.add.at(total, rows[strongest], np.abs(weights[strongest]))
    np.add.at(total, columns[strongest], np.abs(weights[strongest]))
    figure.add_scatter3d(
        x=np.round(centres[touched, 0], 1), y=np.round(centres[touched, 1], 1), z=np.round(centres[touched, 2], 1),
        mode="markers", marker={"color": INK, "size": 3 + 7 * total[touched] / total.max()},
        text=[names[region] for region in touched], hovertemplate="%{text}<br>(%{x}, %{y}, %{z}) mm<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    hidden = {"visible": False, "showspikes": False}
    figure.update_layout(
        height=460,
        scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "data",
               "camera": {"eye": {"x": 0.2, "y": 0.5, "z": 1.9}, "up": {"x": 0, "y": 1, "z": 0}}},
        margin={"l": 0, "r": 0, "b": 0, "t": 40},
    )  # fmt: skip
    return figure


def alignment_of_encoders(table: pd.DataFrame):
    """Draw the alignment of two encoders per subject beside what chance gives.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``encoders``, ``estimate`` and ``value``: one row per subject, pair of encoders and estimate.

    Returns
    -------
    matplotlib.figure.Figure
        Dots are subjects, diamonds means over subjects.
    """
    import matplotlib.pyplot as plt
    import seaborn

    use_theme()
    figure, axes = plt.subplots(figsize=(7, 3.6))
    order = list(dict.fromkeys(table["encoders"]))
    common = {
        "x": "value",
        "y": "encoders",
        "hue": "estimate",
        "data": table,
        "order": order,
        "ax": axes,
        "dodge": True,
    }
    seaborn.stripplot(**common, alpha=0.55, jitter=False, palette=list(PALETTE[: table["estimate"].nunique()]))
    seaborn.pointplot(
        **common | {"dodge": 0.53}, linestyle="none", errorbar=None, markers="D", legend=False,
        palette=[INK] * table["estimate"].nunique(), markersize=6,
    )  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1, linestyle=":")
    axes.set_xlabel("linear CKA on a held-out subject's windows")
    axes.set_ylabel("")
    handles, names = axes.get_legend_handles_labels()
    axes.get_legend().remove()
    figure.legend(handles, names, loc="outside upper left", ncols=len(names), fontsize=10, handletextpad=0.2)
    return figure
