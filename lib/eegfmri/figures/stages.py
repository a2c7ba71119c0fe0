"""Figures of scored sleep: hypnograms of many nights, stage counts, and one night in detail."""

import numpy as np
import pandas as pd

from eegfmri.figures.style import STAGE_COLOURS, UNKNOWN_COLOUR
from eegfmri.recordings import STAGES, RecordingSet

#: What a hypnogram's cell can be, in the order of its colour scale.
CELLS = (*STAGES, "uncertain", "unscorable")
_COLOURS = (*(STAGE_COLOURS[stage] for stage in STAGES), UNKNOWN_COLOUR, "#6B7280")


def session_hypnograms(recordings: RecordingSet):
    """Draw every subject's session as a row of coloured epochs, runs one after the other.

    Parameters
    ----------
    recordings : RecordingSet
        Recordings with scored epochs.

    Returns
    -------
    plotly.graph_objects.Figure
        Rows: subjects; columns: scored epochs in order; white columns part the runs.
    """
    import plotly.graph_objects as go

    rows, texts = [], []
    for subject in recordings.subjects:
        cells, text = [], []
        for recording in recordings.select(subjects=[subject]):
            for epoch in recording.epochs.itertuples():
                cell = epoch.stage if epoch.certainty == "certain" else epoch.certainty
                cells.append(CELLS.index(cell))
                text.append(f"{recording.run}, {epoch.onset:.0f} s: {epoch.label}")
            cells.append(None)
            text.append("")
        rows.append(cells[:-1])
        texts.append(text[:-1])
    width = max(len(row) for row in rows)
    grid = [row + [None] * (width - len(row)) for row in rows]
    hover = [row + [""] * (width - len(row)) for row in texts]
    figure = go.Figure(
        go.Heatmap(
            z=grid,
            y=[f"sub-{subject}" for subject in recordings.subjects],
            text=hover,
            hovertemplate="%{y}, %{text}<extra></extra>",
            colorscale=_steps(_COLOURS),
            zmin=-0.5,
            zmax=len(CELLS) - 0.5,
            xgap=0,
            ygap=2,
            colorbar={"tickvals": list(range(len(CELLS))), "ticktext": list(CELLS), "thickness": 12, "title": ""},
        )
    )
    figure.update_yaxes(autorange="reversed", title=None)
    figure.update_xaxes(title="scored epoch of 30 s, rest runs first; gaps part the runs", showgrid=False)
    figure.update_layout(height=max(300, 60 + 18 * len(rows)))
    return figure


def _steps(colours) -> list[tuple[float, str]]:
    edges = np.linspace(0, 1, len(colours) + 1)
    return [(float(edge), colour) for i, colour in enumerate(colours) for edge in (edges[i], edges[i + 1])]


def stage_counts(table: pd.DataFrame):
    """Draw how many epochs of each stage every subject has.

    Parameters
    ----------
    table : pandas.DataFrame
        As `RecordingSet.stage_table` gives it.

    Returns
    -------
    matplotlib.figure.Figure
        One stacked bar per subject.
    """
    import matplotlib.pyplot as plt

    from eegfmri.figures import use_theme

    use_theme()
    counts = table.groupby("subject")[list(CELLS)].sum()
    figure, axes = plt.subplots(figsize=(7, max(2.4, 0.6 + 0.2 * len(counts))))
    left = np.zeros(len(counts))
    for cell, colour in zip(CELLS, _COLOURS, strict=True):
        axes.barh(
            [f"sub-{subject}" for subject in counts.index],
            counts[cell],
            left=left,
            color=colour,
            label=cell,
            height=0.78,
        )
        left += counts[cell].to_numpy()
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("scored epochs of 30 s")
    axes.tick_params(axis="y", labelsize=8, length=0)
    figure.legend(loc="outside upper left", ncols=len(CELLS), handlelength=1, columnspacing=1, fontsize=9)
    return figure


def predicted_hypnogram(windows, predictions: pd.DataFrame, subject: str, labels: dict[str, str]):
    """Draw a held-out subject's scored stages above what each method said, in order of the session.

    Parameters
    ----------
    windows : eegfmri.windows.Windows
        The windows that were evaluated.
    predictions : pandas.DataFrame
        `eegfmri.evaluation.evaluate.Evaluation.predictions`.
    subject : str
        Whose session.
    labels : dict of str to str
        Methods to draw and how to name them.

    Returns
    -------
    plotly.graph_objects.Figure
        Rows: the scorer, then the methods; hovering shows run, time and both stages.
    """
    import plotly.graph_objects as go

    used = [stage for stage in STAGES if stage in windows.classes]
    own = predictions[predictions["subject"] == subject]
    times = windows.table
    order = None
    rows, names, texts = [], [], []
    for method, label in labels.items():
        said = own[own["method"] == method].sort_values("window")
        at = times.loc[said["window"]]
        if order is None:
            order = at["order"].to_numpy()
            rows.append([used.index(windows.classes[k]) for k in said["true"]])
            names.append("scorer")
            texts.append([f"{r.run}, {r.onset:.0f} s" for r in at.itertuples()])
        rows.append([used.index(windows.classes[k]) for k in said["predicted"]])
        names.append(label)
        texts.append(texts[0])
    width = int(order.max()) + 1
    grid = np.full((len(rows), width), np.nan)
    hover = np.full((len(rows), width), "", dtype=object)
    for row, (values, text) in enumerate(zip(rows, texts, strict=True)):
        grid[row, order], hover[row, order] = values, text
    figure = go.Figure(
        go.Heatmap(
            z=grid,
            y=names,
            text=hover,
            customdata=np.where(np.isnan(grid), "", np.array([*used, ""])[np.nan_to_num(grid, nan=-1).astype(int)]),
            hovertemplate="%{y}: %{customdata} (%{text})<extra></extra>",
            colorscale=_steps([STAGE_COLOURS[stage] for stage in used]),
            zmin=-0.5,
            zmax=len(used) - 0.5,
            ygap=3,
            colorbar={"tickvals": list(range(len(used))), "ticktext": used, "thickness": 12},
        )
    )
    figure.update_yaxes(autorange="reversed", ticks="", showgrid=False)
    figure.update_xaxes(title="scored epoch of the session (blank: not evaluated)", showgrid=False)
    figure.update_layout(height=120 + 34 * len(rows))
    return figure
