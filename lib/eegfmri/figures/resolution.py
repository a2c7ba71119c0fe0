"""Figures of what numbers can tell: half-widths, coverage, readings, and alignment by chance. Live."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures.style import INK, PALETTE, UNKNOWN_COLOUR, short


def half_widths(
    spreads: Sequence[float],
    curves: Mapping[float, Mapping[str, np.ndarray]],
    published: Mapping[str, float],
    start: float | None = None,
):
    """Draw how far apart two scores must be against how much subjects differ; a slider sets how alike the methods are.

    Parameters
    ----------
    spreads : sequence of float
        Standard deviations between subjects, in points.
    curves : mapping of float to mapping of str to numpy.ndarray
        By pairing of the methods: name of the curve to values in points, shape (n_spreads,).
    published : mapping of str to float
        Published differences in points, drawn as horizontal lines.
    start : float or None
        Pairing shown first; None the first of them.

    Returns
    -------
    plotly.graph_objects.Figure
        Both axes in points of balanced accuracy.
    """
    import plotly.graph_objects as go

    figure, pairings = go.Figure(), list(curves)
    first = pairings.index(start) if start in curves else 0
    for number, (name, values) in enumerate(curves[pairings[first]].items()):
        figure.add_scatter(
            x=short(spreads), y=short(values), mode="lines", name=name,
            line={"width": 2.5, "color": PALETTE[number], "dash": "solid" if number == 0 else "dash"},
            hovertemplate=f"{name}: %{{y:.1f}} points<br>spread %{{x:.0f}} points<extra></extra>",
        )  # fmt: skip
    for name, value in published.items():
        figure.add_scatter(
            x=[spreads[0], spreads[-1]], y=[value, value], mode="lines+text", text=["", name], textposition="top left",
            line={"color": INK, "width": 1, "dash": "dot"}, showlegend=False, hovertemplate=f"{name}: {value:.2f} points<extra></extra>",
            textfont={"size": 11},
        )  # fmt: skip
    changing = list(range(len(curves[pairings[first]])))
    steps = [
        {
            "label": f"{pairing:g}",
            "method": "restyle",
            "args": [{"y": [short(values) for values in curves[pairing].values()]}, changing],
        }
        for pairing in pairings
    ]
    highest = max(float(np.max(values)) for named in curves.values() for values in named.values())
    figure.update_xaxes(title="standard deviation between subjects (points)")
    figure.update_yaxes(title="difference of two scores (points)", range=[0, 1.05 * max(highest, *published.values())])
    figure.update_layout(
        height=500,
        sliders=[
            {
                "active": first,
                "steps": steps,
                "currentvalue": {"prefix": "correlation of the methods: "},
                "pad": {"t": 46},
            }
        ],
    )
    return figure


def coverage(table: pd.DataFrame, promised: float = 0.95):
    """Draw how often intervals held the truth, against the number of subjects, a panel for each population.

    Parameters
    ----------
    table : pandas.DataFrame
        ``population``, ``method`` (as to be named), ``n_subjects``, ``value``, ``low``, ``high``.
    promised : float, default=0.95
        What the intervals promise.

    Returns
    -------
    plotly.graph_objects.Figure
        Bars are Monte-Carlo limits.
    """
    from plotly.subplots import make_subplots

    populations, methods = list(dict.fromkeys(table["population"])), list(dict.fromkeys(table["method"]))
    figure = make_subplots(1, len(populations), subplot_titles=populations, shared_yaxes=True, horizontal_spacing=0.05)
    for column, population in enumerate(populations, 1):
        for number, method in enumerate(methods):
            rows = table[(table["population"] == population) & (table["method"] == method)]
            figure.add_scatter(
                x=rows["n_subjects"] + 0.35 * (number - (len(methods) - 1) / 2), y=short(rows["value"]), name=method, legendgroup=method,
                showlegend=column == 1, mode="lines+markers", line={"color": PALETTE[number], "width": 1.5}, row=1, col=column,
                error_y={
                    "type": "data", "symmetric": False, "array": short(rows["high"] - rows["value"]),
                    "arrayminus": short(rows["value"] - rows["low"]), "thickness": 1.2, "width": 3,
                },
                hovertemplate=f"{method}: %{{y:.3f}}<extra>{population}</extra>",
            )  # fmt: skip
        figure.add_hline(y=promised, line={"color": INK, "width": 1, "dash": "dot"}, row=1, col=column)
        figure.update_xaxes(title="subjects", tickvals=sorted(set(table["n_subjects"])), row=1, col=column)
    figure.update_yaxes(title="share of intervals that hold the truth", col=1)
    figure.update_layout(height=430, legend={"y": 1.12}, margin={"t": 96})
    return figure


def specification_curve(table: pd.DataFrame, choices: Sequence[str], chance: float, marked: int | None = None):
    """Draw the scores of all readings in order, with what each of them chose beneath; a menu colours them by one choice.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per reading: choices, and ``score``.
    choices : sequence of str
        Columns with choices, the most important first.
    chance : float
        Level to be marked.
    marked : int or None
        Row of the table with the reading that the book takes.

    Returns
    -------
    plotly.graph_objects.Figure
        Hovering tells a reading's choices.
    """
    from plotly.subplots import make_subplots

    order = np.argsort(table["score"].to_numpy(), kind="stable")
    ranked = table.iloc[order].reset_index(drop=True)
    place = np.arange(1, len(ranked) + 1)
    lines = [(choice, level) for choice in choices for level in dict.fromkeys(table[choice])]
    figure = make_subplots(
        2, 1, shared_xaxes=True, vertical_spacing=0.03, row_heights=[0.45, 0.55],
    )  # fmt: skip
    colours = {
        choice: [PALETTE[list(dict.fromkeys(table[choice])).index(level) % len(PALETTE)] for level in ranked[choice]]
        for choice in choices
    }
    told = ["<br>".join(f"{choice}: {row[choice]}" for choice in choices) for _, row in ranked.iterrows()]
    figure.add_scatter(
        x=place, y=short(ranked["score"]), mode="markers", marker={"size": 5, "color": colours[choices[0]]}, text=told,
        hovertemplate="%{y:.3f}<br>%{text}<extra></extra>", showlegend=False, row=1, col=1,
    )  # fmt: skip
    for height, (choice, level) in enumerate(lines):
        taken = (ranked[choice] == level).to_numpy()
        figure.add_scatter(
            x=place[taken], y=np.full(taken.sum(), -height), mode="markers", showlegend=False, hoverinfo="skip",
            marker={"symbol": "line-ns-open", "size": 6, "color": PALETTE[list(dict.fromkeys(table[choice])).index(level) % len(PALETTE)]},
            row=2, col=1,
        )  # fmt: skip
    if marked is not None:
        at = int(np.flatnonzero(order == marked)[0])
        figure.add_scatter(
            x=[place[at]], y=short([ranked["score"][at]]), mode="markers", name="the book's reading",
            marker={"symbol": "diamond-open", "size": 13, "color": INK, "line": {"width": 2}}, hoverinfo="skip", row=1, col=1,
        )  # fmt: skip
    figure.add_hline(
        y=chance, line={"color": INK, "width": 1, "dash": "dot"}, annotation_text="chance", annotation_font_size=11, row=1, col=1
    )  # fmt: skip
    buttons = [
        {"label": f"colour by {choice}", "method": "restyle", "args": [{"marker.color": [colours[choice]]}, [0]]}
        for choice in choices
    ]
    figure.update_xaxes(title="readings, in the order of their scores", row=2, col=1)
    figure.update_yaxes(title="balanced accuracy", row=1, col=1)
    figure.update_yaxes(
        tickvals=[-height for height in range(len(lines))], ticktext=[f"{choice}: {level}" for choice, level in lines],
        tickfont={"size": 10}, showgrid=False, ticks="", range=[-len(lines) + 0.4, 0.6], row=2, col=1,
    )  # fmt: skip
    figure.update_layout(
        height=360 + 19 * len(lines), margin={"t": 64}, legend={"y": 1.0, "x": 0.7},
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}],
    )  # fmt: skip
    return figure


def shares(table: pd.DataFrame, columns: Mapping[str, str]):
    """Draw the share of variance that each choice explains.

    Parameters
    ----------
    table : pandas.DataFrame
        Indexed by choice.
    columns : mapping of str to str
        Column with shares to how it is named.

    Returns
    -------
    plotly.graph_objects.Figure
        Bars, one group per choice.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (column, name) in enumerate(columns.items()):
        figure.add_bar(
            y=list(table.index)[::-1], x=short(100 * table[column])[::-1], name=name, orientation="h", marker_color=PALETTE[number],
            hovertemplate=f"%{{y}}: %{{x:.1f}} %<extra>{name}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title="share of the variance of scores (%)")
    figure.update_yaxes(showgrid=False, ticks="")
    figure.update_layout(height=140 + 40 * len(table), barmode="group", legend={"traceorder": "reversed"})
    return figure


def chance_alignment(
    n_windows: np.ndarray,
    expected: Mapping[int, np.ndarray],
    drawn: pd.DataFrame,
    published: float,
    marks: Mapping[str, float],
):
    """Draw the biased alignment of independent embeddings against the number of windows, a line for each number of features.

    Parameters
    ----------
    n_windows : numpy.ndarray
        Shape (n,).
    expected : mapping of int to numpy.ndarray
        Features to expectations, shape (n,).
    drawn : pandas.DataFrame
        Simulated: ``n_windows``, ``n_features``, ``biased``, ``debiased``, ``low``, ``high`` (of the debiased).
    published : float
        A published alignment, as a horizontal line.
    marks : mapping of str to float
        Numbers of windows to be marked.

    Returns
    -------
    plotly.graph_objects.Figure
        Lines are the closed form, dots simulated; debiased values, which lie around zero, are hidden until asked for.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (features, values) in enumerate(expected.items()):
        colour = PALETTE[number % len(PALETTE)]
        figure.add_scatter(
            x=short(n_windows), y=short(values), mode="lines", name=f"{features} features", legendgroup=str(features),
            line={"color": colour, "width": 2}, hovertemplate=f"{features} features, %{{x:.0f}} windows: %{{y:.3f}}<extra></extra>",
        )  # fmt: skip
        own = drawn[drawn["n_features"] == features]
        figure.add_scatter(
            x=own["n_windows"], y=short(own["biased"]), mode="markers", legendgroup=str(features), showlegend=False,
            marker={"color": colour, "size": 8}, hovertemplate="simulated, biased: %{y:.3f}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=own["n_windows"], y=short(own["debiased"]), mode="markers", name=f"debiased, {features}",
            marker={"color": colour, "size": 8, "symbol": "circle-open"}, visible="legendonly",
            error_y={
                "type": "data", "symmetric": False, "array": short(own["high"] - own["debiased"]),
                "arrayminus": short(own["debiased"] - own["low"]), "thickness": 1.2, "width": 3,
            },
            hovertemplate="simulated, debiased: %{y:.4f}<extra></extra>",
        )  # fmt: skip
    highest = max(float(np.max(values)) for values in expected.values())
    for name, place in marks.items():  # as traces: shapes and their names disagree on what a logarithmic axis means
        figure.add_scatter(
            x=[place, place], y=[0, highest], mode="lines+text", text=["", name], textposition="middle left", showlegend=False,
            line={"color": UNKNOWN_COLOUR, "width": 1.5, "dash": "dash"}, hovertemplate=f"{name}: {place:.0f}<extra></extra>",
            textfont={"size": 11},
        )  # fmt: skip
    figure.add_scatter(
        x=short([n_windows[0], n_windows[-1]]), y=[published, published], mode="lines", name="published", hoverinfo="skip",
        line={"color": INK, "width": 1.2, "dash": "dot"},
    )  # fmt: skip
    figure.update_xaxes(title="windows", type="log")
    figure.update_yaxes(title="linear CKA of independent embeddings")
    figure.update_layout(height=480, legend={"y": 1.02})
    return figure
