"""Figures of the simulator: what is planted, what is found again, and tables of both.

Each function takes arrays and returns a live plotly figure, or a table for a notebook.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape

import numpy as np

from eegfmri.figures.style import INK, PALETTE, UNKNOWN_COLOUR, named_colour


def region_map(centroids: np.ndarray, values: np.ndarray, names: Sequence[str], unit: str):
    """Draw regions as balls in a glass brain that can be turned.

    Parameters
    ----------
    centroids : numpy.ndarray
        Shape (n_regions, 3), MNI mm.
    values : numpy.ndarray
        Shape (n_regions,): their colour, blue below zero and red above.
    names : sequence of str
        Shown at the pointer.
    unit : str
        Of the values.

    Returns
    -------
    plotly.graph_objects.Figure
        Three dimensions, seen from the upper left.
    """
    import plotly.graph_objects as go

    limit = float(np.abs(values).max()) or 1.0
    x, y, z = np.round(centroids, 1).T
    figure = go.Figure()
    figure.add_scatter3d(
        x=x, y=y, z=z, mode="markers", text=list(names), customdata=np.round(values, 3),
        marker={
            "size": 7, "color": values, "cmin": -limit, "cmax": limit, "colorscale": "RdBu_r", "opacity": 0.9,
            "line": {"width": 0.5, "color": INK}, "colorbar": {"title": {"text": unit}, "thickness": 12, "len": 0.7},
        },
        hovertemplate="%{text}: %{customdata} " + unit + "<extra></extra>",
    )  # fmt: skip
    axis = {"showbackground": False, "showticklabels": False, "zeroline": False, "showspikes": False}
    figure.update_layout(
        height=460,
        margin={"l": 10, "r": 10, "t": 10, "b": 30},
        scene={
            "xaxis": {**axis, "title": "left – right"},
            "yaxis": {**axis, "title": "back – front"},
            "zaxis": {**axis, "title": "down – up"},
            "aspectmode": "data",
            "camera": {"eye": {"x": -1.5, "y": -1.3, "z": 0.9}},
        },
    )
    return figure


def chain(times: np.ndarray, rows: Mapping[str, np.ndarray]):
    """Draw the steps from power to BOLD one above the other.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_times,), s.
    rows : mapping of str to numpy.ndarray
        Title → series of shape (n_times,).

    Returns
    -------
    plotly.graph_objects.Figure
        One panel per row on one axis of time.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=len(rows), cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=list(rows))
    for number, series in enumerate(rows.values(), start=1):
        figure.add_scatter(
            x=times.astype(np.float32), y=np.asarray(series, dtype=np.float32), showlegend=False,
            line={"width": 1.6, "color": PALETTE[(number - 1) % len(PALETTE)]},
            hovertemplate="%{x:.0f} s: %{y:.3f}<extra></extra>", row=number, col=1,
        )  # fmt: skip
    figure.update_xaxes(title="time from the first volume (s)", row=len(rows), col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_layout(height=130 * len(rows) + 60)
    return figure


def planted_and_found(panels: Mapping[str, tuple[np.ndarray, np.ndarray, Sequence[str]]], unit: Mapping[str, str]):
    """Draw what was found against what was planted, one point per subject, with the line on which they agree.

    Parameters
    ----------
    panels : mapping
        Title → (planted, found, names), each of shape (n_subjects,); NaN where nothing was found.
    unit : mapping of str to str
        Title → unit.

    Returns
    -------
    plotly.graph_objects.Figure
        One panel each, two in a row.
    """
    from plotly.subplots import make_subplots

    # two side by side are wide enough for a telephone
    rows = -(-len(panels) // 2)
    figure = make_subplots(
        rows=rows,
        cols=min(2, len(panels)),
        subplot_titles=list(panels),
        horizontal_spacing=0.14,
        vertical_spacing=0.34 / rows,
    )
    for number, (title, (planted, found, names)) in enumerate(panels.items()):
        place = {"row": 1 + number // 2, "col": 1 + number % 2}
        both = np.concatenate([planted, found])
        low, high = np.nanmin(both), np.nanmax(both)
        margin = 0.08 * (high - low)
        figure.add_scatter(
            x=[low - margin, high + margin], y=[low - margin, high + margin], mode="lines", showlegend=False,
            line={"color": UNKNOWN_COLOUR, "width": 1.5, "dash": "dash"}, hoverinfo="skip", **place,
        )  # fmt: skip
        figure.add_scatter(
            x=planted, y=found, mode="markers", text=list(names), showlegend=False,
            marker={"size": 9, "color": PALETTE[number], "line": {"width": 1, "color": "white"}},
            hovertemplate="%{text}: planted %{x:.2f}, found %{y:.2f}<extra></extra>", **place,
        )  # fmt: skip
        figure.update_xaxes(title=f"planted ({unit[title]})" if unit[title] else "planted", **place)
        figure.update_yaxes(title="found" if number % 2 == 0 else None, **place)
    figure.update_annotations(font={"size": 13})
    figure.update_layout(height=40 + 310 * rows)
    return figure


def two_tables(
    planted: np.ndarray, found: np.ndarray, certain: np.ndarray, rows: Sequence[str], columns: Sequence[str], unit: str
):
    """Draw planted and found coefficients as two coloured tables.

    Parameters
    ----------
    planted, found : numpy.ndarray
        Shape (n_rows, n_columns).
    certain : numpy.ndarray of bool
        Same shape: what was found has an interval without zero; the others are printed in brackets.
    rows, columns : sequence of str
        Names.
    unit : str
        Of the values.

    Returns
    -------
    plotly.graph_objects.Figure
        Colours are scaled for each table by itself.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, subplot_titles=["planted", "found"], vertical_spacing=0.1)
    for place, values in enumerate((planted, found), start=1):
        limit = float(np.abs(values).max()) or 1.0  # nothing planted anywhere: white, not a scale without extent
        text = [
            [_cell(value, place == 1, sure) for value, sure in zip(line, kept, strict=True)]
            for line, kept in zip(values, certain, strict=True)
        ]
        figure.add_heatmap(
            z=values, x=list(columns), y=list(rows), zmin=-limit, zmax=limit, colorscale="RdBu_r", text=text,
            texttemplate="%{text}", textfont={"size": 9}, xgap=1, ygap=1, showscale=False,
            hovertemplate="%{y}, %{x}: %{z:.3f} " + unit + "<extra></extra>", row=place, col=1,
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showline=False, ticks="")
    figure.update_xaxes(showline=False, ticks="")
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_layout(height=44 * 2 * len(rows) // 2 + 140, margin={"l": 90})
    return figure


def _cell(value: float, is_planted: bool, sure: bool) -> str:
    """Print a coefficient without its leading zero, to fit a narrow cell; nothing for what was not planted."""
    if is_planted and value == 0:
        return ""
    text = re.sub(r"^([+-])0\.", r"\1.", f"{value:+.2f}")
    return text if is_planted or sure else f"({text})"


def intervals(names: Sequence[str], found: Mapping[str, tuple[np.ndarray, ...]], y_title: str):
    """Draw what was found, with its interval, beside what was planted.

    Parameters
    ----------
    names : sequence of str
        Places along the axis.
    found : mapping
        Condition → (planted, value, low, high), each of shape (n_names,).
    y_title : str
        Of the axis.

    Returns
    -------
    plotly.graph_objects.Figure
        Per place and condition a dash for the planted value and a dot with an error bar for the found one.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    places = np.arange(len(names))
    offsets = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else [0.0]
    for number, (offset, (condition, (planted, value, low, high))) in enumerate(
        zip(offsets, found.items(), strict=True)
    ):
        colour = named_colour(condition, number)
        figure.add_scatter(
            x=places + offset, y=planted, mode="markers", showlegend=False, legendgroup=condition,
            marker={"symbol": "line-ew-open", "size": 15, "line": {"width": 2.5, "color": colour}, "color": colour},
            customdata=list(names), hovertemplate=condition + ", %{customdata}: planted %{y:.2f}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=places + offset, y=value, mode="markers", name=condition, legendgroup=condition,
            marker={"size": 8, "color": colour}, customdata=list(names),
            error_y={"type": "data", "array": np.subtract(high, value), "arrayminus": np.subtract(value, low),
                     "color": colour, "thickness": 1.6, "width": 3},
            hovertemplate=condition + ", %{customdata}: found %{y:.2f}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_xaxes(tickvals=places, ticktext=list(names), range=[-0.6, len(names) - 0.4])
    figure.update_yaxes(title=y_title)
    figure.update_layout(height=420)
    return figure


def ratios(names: Sequence[str], simulated: Mapping[str, np.ndarray]):
    """Draw how many times as large as the real value each simulated one is.

    Parameters
    ----------
    names : sequence of str
        Statistics, top to bottom.
    simulated : mapping of str to numpy.ndarray
        Dataset → shape (n_subjects, n_names): simulated over real, positive.

    Returns
    -------
    plotly.graph_objects.Figure
        A dot per subject on a logarithmic axis; the line at 1 is the real recording.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    rows = np.arange(len(names))
    offsets = np.linspace(-0.2, 0.2, len(simulated)) if len(simulated) > 1 else [0.0]
    for number, (offset, (dataset, values)) in enumerate(zip(offsets, simulated.items(), strict=True)):
        values = np.asarray(values)
        figure.add_scatter(
            x=values.ravel(), y=np.tile(rows + offset, len(values)), mode="markers", name=dataset,
            marker={"size": 7, "color": named_colour(dataset, number), "opacity": 0.75}, customdata=list(names) * len(values),
            hovertemplate=dataset + ", %{customdata}: %{x:.2f} times<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=1, line={"color": INK, "width": 1.5})
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10]
    figure.update_xaxes(type="log", title="simulated ÷ real", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(tickvals=rows, ticktext=list(names), range=[len(names) - 0.4, -0.6])
    figure.update_layout(height=36 * len(names) + 130)
    return figure


def parameter_list(preset: str = "realistic") -> str:
    """List a preset's parameters with their reasons and sources.

    Parameters
    ----------
    preset : str, default="realistic"
        Which.

    Returns
    -------
    str
        HTML: a table in a box that scrolls, with ``parameter``, ``value``, and ``why`` with authors and years as in the
        bibliography.
    """
    from eegfmri.simulation.parameters import parameter_table

    rows = [
        (_code(row["name"]), _spelled(row["value"]), _why(row["reason"], row["sources"]))
        for row in parameter_table(preset)
    ]
    return _scrolling(("parameter", "value", "why"), rows, "Parameters of the simulator")


def calibration_list() -> str:
    """List what was changed since the first edition's preset, from what to what, and why.

    Returns
    -------
    str
        HTML: a table in a box that scrolls, with ``parameter``, ``first edition``, ``now`` and ``because``; what was set by calibration
        stands first.
    """
    from eegfmri.simulation.parameters import CALIBRATED, get_preset

    first = asdict(get_preset("weak"))
    changes = sorted(CALIBRATED.items(), key=lambda item: not item[1].reason.startswith("Calibrated"))
    rows = [
        (_code(name), _spelled(first[name]), _spelled(change.value), _why(change.reason, change.sources))
        for name, change in changes
    ]
    return _scrolling(("parameter", "first edition", "now", "because"), rows, "What calibration moved")


def _code(name: str) -> str:
    return f"<code>{name}</code>"


def _spelled(value) -> str:
    return escape(_value(value)).replace("\n", "<br>")


def _why(reason: str, sources: Sequence[str]) -> str:
    """A reason with the authors and years of its sources."""
    labels = source_labels()
    cited = "; ".join(labels[key] for key in sources)
    # The code is plain ASCII, and names what holds for the remaining groups by an empty key.
    told = re.sub(r"\buV\b", "µV", reason).replace(" (key '' for all other groups)", "")
    return escape(told) + (f" <em>{escape(cited)}.</em>" if cited else "")


def _scrolling(head: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """A table of HTML cells in a box that scrolls."""
    cells = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return (
        '<div style="max-height: 30em; overflow: auto; border: 1px solid #DDE2E8" tabindex="0" role="region" '
        f'aria-label="{label}">\n'
        '<table class="table"><thead><tr>'
        + "".join(f"<th>{name}</th>" for name in head)
        + "</tr></thead>\n<tbody>\n"
        + "\n".join(cells)
        + "\n</tbody></table>\n</div>"
    )


def _value(value) -> str:
    """Print a value; a table of tables takes one line per row."""
    if isinstance(value, Mapping):
        nested = any(isinstance(inner, Mapping) for inner in value.values())
        parts = [f"{name or 'others'}{':' if nested else ''} {_value(inner)}" for name, inner in value.items()]
        return ("\n" if nested else ", ").join(parts)
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(_value(inner) for inner in value) + ")"
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def source_labels() -> dict[str, str]:
    """Return key → first author and year of every entry of the bibliography."""
    from eegfmri.project import bibliography

    labels = {}
    text = bibliography().read_text(encoding="utf-8")
    for entry in re.split(r"\n@", text):
        key = re.match(r"@?\w+\{([^,\s]+),", entry)
        author = re.search(r"^\s*author\s*=\s*[{\"]+(.+?)[}\"]+,?\s*$", entry, re.MULTILINE)
        year = re.search(r"^\s*year\s*=\s*[{\"]*(\d{4})", entry, re.MULTILINE)
        if key and author and year:
            surname = author[1].split(" and ")[0].split(",")[0].replace("{", "").replace("}", "")
            more = " et al." if " and " in author[1] else ""
            labels[key[1]] = f"{surname}{more} {year[1]}"
    return labels
