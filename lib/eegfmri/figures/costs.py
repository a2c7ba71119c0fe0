"""Figures of what things cost: steps of preparing a recording, and growth with the number of subjects. Live."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures.style import PALETTE, UNKNOWN_COLOUR, short


def stacked_steps(steps: pd.DataFrame):
    """Draw the seconds of every step of preparing a recording, one bar for each dataset and signal.

    Parameters
    ----------
    steps : pandas.DataFrame
        Columns ``dataset``, ``signal``, ``step``, ``value`` (s).

    Returns
    -------
    plotly.graph_objects.Figure
        Horizontal bars, stacked in the order of the steps.
    """
    import plotly.graph_objects as go

    steps = steps.assign(bar=steps["dataset"] + ", " + steps["signal"])
    bars = list(dict.fromkeys(steps["bar"]))
    names = list(dict.fromkeys(steps["step"]))
    colours = (*PALETTE, *(f"{colour}99" for colour in PALETTE), UNKNOWN_COLOUR)
    figure = go.Figure()
    for number, name in enumerate(names):
        own = steps[steps["step"] == name].set_index("bar")["value"]
        figure.add_bar(
            y=bars, x=short([float(own.get(bar, 0.0)) for bar in bars]), orientation="h", name=name,
            marker_color=colours[number % len(colours)], hovertemplate=f"{name}: %{{x:.3g}} s<extra>%{{y}}</extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack", height=120 + 45 * len(bars), legend={"traceorder": "normal"},
        xaxis_title="seconds on one core", yaxis={"autorange": "reversed"},
    )  # fmt: skip
    return figure


def growth(
    sizes: Sequence[int],
    lines: Mapping[str, tuple[Sequence[float], str]],
    power: Mapping[str, tuple[float, float, float]],
):
    """Draw costs against the number of subjects, both axes logarithmic.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of subjects.
    lines : mapping of str to (sequence of float, str)
        By measure: values at the sizes, and their unit.
    power : mapping of str to tuple of float
        By measure: the power of n that was fitted, and the ends of its interval; a measure without one is drawn all the same.

    Returns
    -------
    plotly.graph_objects.Figure
        Markers and a line per measure.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (measure, (values, unit)) in enumerate(lines.items()):
        told = f"{measure} ({unit})" + (f", power {power[measure][0]:.2f}" if measure in power else "")
        figure.add_scatter(
            x=list(sizes), y=short(np.asarray(values, dtype=float)), mode="lines+markers",
            name=told, line={"color": PALETTE[number], "width": 2.5},
            hovertemplate=f"%{{x}} subjects: %{{y:.3g}} {unit}<extra>{measure}</extra>",
        )  # fmt: skip
    figure.update_xaxes(type="log", title="subjects", tickvals=list(sizes))
    figure.update_yaxes(type="log", title="s, GB, GiB", exponentformat="power", dtick=1)
    figure.update_layout(height=420)
    return figure
