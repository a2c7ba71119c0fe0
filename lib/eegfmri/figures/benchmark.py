"""Figures of the benchmark: quality against cost, scores under several splits, and coherence by frequency. Live."""

from collections.abc import Mapping

import pandas as pd

from eegfmri.figures.style import INK, PALETTE, UNKNOWN_COLOUR, short

#: Kinds of methods and their colours, from what learns nothing to what has seen the answer.
KINDS: Mapping[str, str] = {
    "no EEG": UNKNOWN_COLOUR,
    "linear": PALETTE[2],
    "trees": PALETTE[5],
    "network": PALETTE[0],
    "control": PALETTE[6],
    "oracle": PALETTE[3],
}


def quality_against_cost(table: pd.DataFrame, costs: Mapping[str, str], unit: str):
    """Draw a score against what it costs; a menu chooses which cost.

    Parameters
    ----------
    table : pandas.DataFrame
        Indexed by the methods' names; ``kind`` (a key of `KINDS`), ``value``, ``low``, ``high`` and the columns of ``costs``.
    costs : mapping of str to str
        Column to how it is named, the first shown at the beginning.
    unit : str
        Of the score.

    Returns
    -------
    plotly.graph_objects.Figure
        Costs on a logarithmic axis; hovering tells the numbers.
    """
    import plotly.graph_objects as go

    figure, first = go.Figure(), next(iter(costs))
    kinds = [kind for kind in KINDS if (table["kind"] == kind).any()]
    shown = {kind: table[table["kind"] == kind] for kind in kinds}
    for kind, own in shown.items():
        figure.add_scatter(
            x=short(own[first]), y=short(own["value"]), mode="markers", name=kind,
            marker={"size": 11, "color": KINDS[kind], "line": {"width": 1, "color": INK}},
            error_y={
                "type": "data", "symmetric": False, "array": short(own["high"] - own["value"]),
                "arrayminus": short(own["value"] - own["low"]), "thickness": 1, "width": 3, "color": KINDS[kind],
            },
            text=[f"{name}: {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for name, row in own.iterrows()],
            hovertemplate="%{text}<br>%{x:.3g}<extra></extra>",
        )  # fmt: skip
    buttons = [
        {
            "label": name,
            "method": "update",
            "args": [{"x": [short(own[column]) for own in shown.values()]}, {"xaxis.title.text": name}],
        }
        for column, name in costs.items()
    ]
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title=costs[first], type="log")
    figure.update_yaxes(title=unit)
    figure.update_layout(
        height=490, margin={"t": 110}, legend={"y": 1.0},
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.13, "yanchor": "bottom"}],
    )  # fmt: skip
    return figure


def by_split(table: pd.DataFrame, unit: str):
    """Draw a score of each method under each split.

    Parameters
    ----------
    table : pandas.DataFrame
        ``split``, ``method``, ``value``, ``low``, ``high``, ``leaks``.
    unit : str
        Of the score.

    Returns
    -------
    plotly.graph_objects.Figure
        Splits that leak have open marks.
    """
    import plotly.graph_objects as go

    figure, splits = go.Figure(), list(dict.fromkeys(table["split"]))
    methods = list(dict.fromkeys(table["method"]))
    for number, method in enumerate(methods):
        own = table[table["method"] == method]
        places = [splits.index(split) + 0.1 * (number - (len(methods) - 1) / 2) for split in own["split"]]
        colour = PALETTE[number % len(PALETTE)]
        figure.add_scatter(
            x=short(places), y=short(own["value"]), mode="markers", name=method,
            marker={"size": 10, "color": colour, "symbol": ["diamond-open" if leaks else "circle" for leaks in own["leaks"]]},
            error_y={
                "type": "data", "symmetric": False, "array": short(own["high"] - own["value"]),
                "arrayminus": short(own["value"] - own["low"]), "thickness": 1.5, "width": 4, "color": colour,
            },
            text=list(own["split"]), hovertemplate=f"{method}, %{{text}}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    names = [f"{split}<br>(leaks)" if table.loc[table["split"] == split, "leaks"].any() else split for split in splits]
    figure.update_xaxes(
        tickvals=list(range(len(splits))), ticktext=names, showgrid=False, range=[-0.5, len(splits) - 0.5]
    )
    figure.update_yaxes(title=unit)
    figure.update_layout(height=430, margin={"t": 80}, legend={"y": 1.12})
    return figure


def coherence(table: pd.DataFrame):
    """Draw coherence of truth and prediction by frequency, less what a moved prediction has.

    Parameters
    ----------
    table : pandas.DataFrame
        ``method``, ``bin``, ``value``, ``low``, ``high``.

    Returns
    -------
    plotly.graph_objects.Figure
        A line per method; zero is what chance gives with so few segments.
    """
    import plotly.graph_objects as go

    figure, bins = go.Figure(), list(dict.fromkeys(table["bin"]))
    methods = list(dict.fromkeys(table["method"]))
    for number, (method, own) in enumerate(table.groupby("method", sort=False)):
        colour = PALETTE[number % len(PALETTE)]
        figure.add_scatter(
            x=[bins.index(name) + 0.06 * (number - (len(methods) - 1) / 2) for name in own["bin"]], y=short(own["value"]),
            mode="lines+markers", name=method, line={"color": colour, "width": 1.5},
            error_y={
                "type": "data", "symmetric": False, "array": short(own["high"] - own["value"]),
                "arrayminus": short(own["value"] - own["low"]), "thickness": 1.2, "width": 3,
            },
            hovertemplate=f"{method}: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(tickvals=list(range(len(bins))), ticktext=bins, range=[-0.4, len(bins) - 0.6])
    figure.update_yaxes(title="coherence less chance")
    figure.update_layout(height=400, margin={"t": 80}, legend={"y": 1.12})
    return figure
