"""Figures of what can be found: the map, what one study can hope for, learning curves, and closed form beside simulated studies. Live."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures.style import INK, PALETTE, UNKNOWN_COLOUR, short


def _bars(rows: pd.DataFrame, name: str, scale: float = 1.0) -> dict:
    """Error bars from ``name_low`` to ``name_high``."""
    return {
        "type": "data",
        "symmetric": False,
        "array": short(scale * (rows[f"{name}_high"] - rows[name])),
        "arrayminus": short(scale * (rows[name] - rows[f"{name}_low"])),
        "thickness": 1.2,
        "width": 3,
    }


def power_map(table: pd.DataFrame, families: Mapping[str, str], targets: Mapping[str, str], start: tuple[str, str]):
    """Draw power over coupling and number of subjects, a panel for each length; a menu chooses method and target.

    Parameters
    ----------
    table : pandas.DataFrame
        As `eegfmri.evaluation.power_map.table_of` returns it.
    families, targets : mapping of str to str
        Keys to how they are called.
    start : (str, str)
        Family and target shown first.

    Returns
    -------
    plotly.graph_objects.Figure
        Each field says its power in percent; hovering tells the interval and the number of studies.
    """
    from plotly.subplots import make_subplots

    lengths = sorted(table["minutes"].unique())
    figure = make_subplots(
        1, len(lengths), subplot_titles=[f"{m:g} minutes" for m in lengths], shared_yaxes=True, horizontal_spacing=0.04
    )

    def fields(family: str, target: str, minutes: float) -> dict:
        rows = table[(table["family"] == family) & (table["target"] == target) & (table["minutes"] == minutes)]
        wide = {
            name: rows.pivot(index="coupling", columns="n_subjects", values=name)
            for name in ("power", "power_low", "power_high", "score", "n_studies")
        }
        percent = {name: 100 * wide[name].to_numpy() for name in ("power", "power_low", "power_high")}
        told = [
            [
                f"{percent['power'][i, j]:.0f} % [{percent['power_low'][i, j]:.0f}, {percent['power_high'][i, j]:.0f}] "
                f"of {wide['n_studies'].iloc[i, j]} studies<br>mean score {wide['score'].iloc[i, j]:.3f}"
                for j in range(wide["power"].shape[1])
            ]
            for i in range(len(wide["power"]))
        ]
        power = 100 * wide["power"]
        return {
            "x": [f"{n}" for n in power.columns], "y": [f"{c:g}" for c in power.index], "z": [short(row) for row in power.to_numpy()],
            "text": [[f"{value:.0f}" for value in row] for row in power.to_numpy()], "customdata": told,
        }  # fmt: skip

    for column, minutes in enumerate(lengths, 1):
        figure.add_heatmap(
            **fields(*start, minutes), zmin=0, zmax=100, colorscale="Viridis", texttemplate="%{text}", showscale=column == len(lengths),
            colorbar={"title": "power (%)", "thickness": 12},
            hovertemplate="%{x} subjects, coupling %{y}: %{customdata}<extra></extra>", row=1, col=column,
        )  # fmt: skip
        figure.update_xaxes(title="subjects", type="category", row=1, col=column)
    figure.update_yaxes(type="category")
    figure.update_yaxes(title="share of the calibrated coupling", col=1)
    present = set(zip(table["family"], table["target"], strict=True))
    choices = [(f, t) for f in families for t in targets if (f, t) in present]
    buttons = []
    for family, target in choices:
        parts = [fields(family, target, minutes) for minutes in lengths]
        buttons.append(
            {
                "label": f"{families[family]}: {targets[target]}",
                "method": "restyle",
                "args": [{name: [part[name] for part in parts] for name in parts[0]}],
            }
        )
    figure.update_layout(
        height=430, margin={"t": 96},
        updatemenus=[{"buttons": buttons, "active": choices.index(start), "x": 0, "xanchor": "left", "y": 1.14, "yanchor": "bottom"}],
    )  # fmt: skip
    return figure


def hopes(
    table: pd.DataFrame, families: Mapping[str, str], target: str, start: tuple[int, float], marks: Mapping[str, float]
):
    """Draw what a study of a size can hope for, against the coupling; a slider sets the size.

    Parameters
    ----------
    table : pandas.DataFrame
        As `eegfmri.evaluation.power_map.table_of` returns it.
    families : mapping of str to str
        Keys to how they are called.
    target : str
        What is scored.
    start : (int, float)
        Subjects and minutes shown first.
    marks : mapping of str to float
        Couplings to be marked.

    Returns
    -------
    plotly.graph_objects.Figure
        Power above, the score of left-out subjects below, with 95 % intervals over studies.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06)
    rows = table[table["target"] == target]
    sizes = sorted(
        {(int(n), float(m)) for n, m in zip(rows["n_subjects"], rows["minutes"], strict=True)},
        key=lambda s: (s[1], s[0]),
    )

    def traces(size: tuple[int, float]) -> list[dict]:
        here = rows[(rows["n_subjects"] == size[0]) & (rows["minutes"] == size[1])]
        drawn = []
        for family in families:
            own = here[here["family"] == family].sort_values("coupling")
            drawn.append(
                {"x": short(own["coupling"]), "y": short(100 * own["power"]), "error_y": _bars(own, "power", 100)}
            )
            drawn.append({"x": short(own["coupling"]), "y": short(own["score"]), "error_y": _bars(own, "score")})
        return drawn

    for number, one in enumerate(traces(start)):
        family, below = list(families)[number // 2], number % 2
        colour = PALETTE[number // 2]
        figure.add_scatter(
            **one, mode="lines+markers", name=families[family], legendgroup=family, showlegend=not below, line={"color": colour,
            "width": 2},
            hovertemplate=("score %{y:.3f}" if below else "%{y:.0f} %") + f"<extra>{families[family]}</extra>", row=1 + below, col=1,
        )  # fmt: skip
    figure.add_hline(
        y=80,
        line={"color": INK, "width": 1, "dash": "dot"},
        annotation_text="80 %",
        annotation_font_size=11,
        row=1,
        col=1,
    )
    figure.add_hline(
        y=5,
        line={"color": INK, "width": 1, "dash": "dot"},
        annotation_text="5 %",
        annotation_font_size=11,
        row=1,
        col=1,
    )
    for name, place in marks.items():
        for row in (1, 2):
            text = (
                {"annotation_text": name, "annotation_font_size": 11, "annotation_position": "bottom right"}
                if row == 2
                else {}
            )
            figure.add_vline(
                x=place, line={"color": UNKNOWN_COLOUR, "width": 1.5, "dash": "dash"}, row=row, col=1, **text
            )
    steps = []
    for size in sizes:
        parts = traces(size)
        steps.append(
            {
                "label": f"{size[0]}" if len({m for _, m in sizes}) == 1 else f"{size[0]} × {size[1]:g} min",
                "method": "restyle",
                "args": [{name: [part[name] for part in parts] for name in parts[0]}, list(range(len(parts)))],
            }
        )
    figure.update_xaxes(title="share of the calibrated coupling", row=2, col=1)
    figure.update_yaxes(title="power (%)", range=[-3, 104], row=1, col=1)
    figure.update_yaxes(title="score (r)", row=2, col=1)
    figure.update_layout(
        height=640, margin={"t": 110},
        sliders=[{"active": sizes.index(start), "steps": steps, "currentvalue": {"prefix": "subjects × minutes: "}, "pad": {"t": 46}}],
    )  # fmt: skip
    return figure


def learning_curves(
    by_subjects: pd.DataFrame, by_minutes: pd.DataFrame, families: Mapping[str, str], ceilings: Mapping[str, float]
):
    """Draw the score against how many subjects teach, and against how long each was recorded.

    Parameters
    ----------
    by_subjects : pandas.DataFrame
        ``family``, ``taught`` (subjects that teach), ``score``, ``score_low``, ``score_high``.
    by_minutes : pandas.DataFrame
        The same with ``minutes`` in place of ``taught``.
    families : mapping of str to str
        Keys to how they are called.
    ceilings : mapping of str to float
        Name of an oracle to its score, drawn as a line.

    Returns
    -------
    plotly.graph_objects.Figure
        Bars are 95 % intervals over studies.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, (rows, name, title) in enumerate(
        ((by_subjects, "taught", "subjects that teach"), (by_minutes, "minutes", "minutes of each")), 1
    ):
        for number, family in enumerate(families):
            own = rows[rows["family"] == family].sort_values(name)
            figure.add_scatter(
                x=short(own[name]), y=short(own["score"]), error_y=_bars(own, "score"), mode="lines+markers", name=families[family],
                legendgroup=family, showlegend=column == 1, line={"color": PALETTE[number], "width": 2},
                hovertemplate=f"%{{y:.3f}}<extra>{families[family]}</extra>", row=1, col=column,
            )  # fmt: skip
        ends = [float(rows[name].min()), float(rows[name].max())]
        for place, (oracle, value) in enumerate(ceilings.items()):
            figure.add_scatter(
                x=ends, y=short([value, value]), mode="lines", name=oracle, legendgroup=oracle, showlegend=column == 1,
                line={"color": INK, "width": 1.4, "dash": ("dash", "dot")[place % 2]},
                hovertemplate=f"%{{y:.3f}}<extra>{oracle}</extra>", row=1, col=column,
            )  # fmt: skip
        figure.update_xaxes(title=title, type="log", tickvals=sorted(rows[name].unique()), row=1, col=column)
    figure.update_yaxes(title="score of left-out subjects (r)", rangemode="tozero", col=1)
    figure.update_layout(height=470, margin={"t": 120})
    return figure


def closed_form(n_subjects: Sequence[int], curves: Mapping[str, np.ndarray], simulated: Mapping[str, pd.DataFrame]):
    """Draw the power of a t test in closed form against the number of subjects, with simulated studies.

    Parameters
    ----------
    n_subjects : sequence of int
        Shape (n,).
    curves : mapping of str to numpy.ndarray
        Name to power, shape (n,).
    simulated : mapping of str to pandas.DataFrame
        By the same names: ``n_subjects``, ``power``, ``power_low``, ``power_high``; may lack some.

    Returns
    -------
    plotly.graph_objects.Figure
        Lines are the closed form, dots simulated studies with 95 % limits.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (name, values) in enumerate(curves.items()):
        colour = PALETTE[number % len(PALETTE)]
        figure.add_scatter(
            x=list(n_subjects), y=short(100 * np.asarray(values)), mode="lines", name=name, legendgroup=name, line={"color": colour,
            "width": 2},
            hovertemplate="%{x} subjects: %{y:.0f} %<extra>" + name + "</extra>",
        )  # fmt: skip
        if name in simulated:
            rows = simulated[name]
            figure.add_scatter(
                x=list(rows["n_subjects"]), y=short(100 * rows["power"]), error_y=_bars(rows, "power", 100), mode="markers",
                legendgroup=name,
                showlegend=False, marker={"color": colour, "size": 8}, hovertemplate="simulated: %{y:.0f} %<extra>" + name + "</extra>",
            )  # fmt: skip
    figure.add_hline(
        y=80, line={"color": INK, "width": 1, "dash": "dot"}, annotation_text="80 %", annotation_font_size=11
    )
    figure.update_xaxes(title="subjects", type="log", tickvals=[2, 4, 8, 16, 32, 64, 128])
    figure.update_yaxes(title="power (%)", range=[0, 104])
    figure.update_layout(height=450, margin={"t": 96})
    return figure


def beside_files(table: pd.DataFrame):
    """Draw the score on files beside the range that studies of features promise.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per comparison, indexed by its name: ``file``, ``file_low``, ``file_high`` (interval over subjects), ``expected``,
        ``expected_low``, ``expected_high`` (range of studies).

    Returns
    -------
    plotly.graph_objects.Figure
        Bands are ranges of studies, diamonds the files.
    """
    import plotly.graph_objects as go

    figure, names = go.Figure(), list(table.index)[::-1]
    rows = table.loc[names]
    figure.add_bar(
        y=names, x=short(rows["expected_high"] - rows["expected_low"]), base=short(rows["expected_low"]), orientation="h",
        marker_color=PALETTE[5], opacity=0.45, width=0.5, name="95 % of studies of features", hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        y=names, x=short(rows["expected"]), mode="markers", marker={"symbol": "line-ns-open", "size": 14, "color": PALETTE[0],
        "line": {"width": 2}},
        name="their mean", hovertemplate="features: %{x:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        y=names, x=short(rows["file"]), mode="markers", marker={"symbol": "diamond", "size": 9, "color": PALETTE[1]}, name="files",
        error_x={
            "type": "data", "symmetric": False, "array": short(rows["file_high"] - rows["file"]),
            "arrayminus": short(rows["file"] - rows["file_low"]),
            "thickness": 1.2, "width": 3,
        },
        hovertemplate="files: %{x:.3f}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title="score of left-out subjects (r)")
    figure.update_yaxes(showgrid=False, ticks="")
    figure.update_layout(height=150 + 32 * len(table))
    return figure
