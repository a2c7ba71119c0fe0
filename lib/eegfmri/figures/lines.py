"""Lines over one axis: curves, traces one above the other, correlation against lag, training curves. Live, whatever the chapter."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from eegfmri.figures.style import GRID, INK, PALETTE, TRAINING_COLOURS, UNKNOWN_COLOUR, named_colour, short

#: Before in a warm colour, after in a cool one, the truth dark and dashed.
VERSION_COLOURS = {"before": PALETTE[1], "after": PALETTE[0], "truth": INK}


def _colours(names: Iterable[str]) -> dict[str, str]:
    """Give names their own colour where a table has one, names that begin with before, after or truth those, the others what is left."""
    names, given = list(names), {}
    for name in names:
        known = named_colour(name, -1)
        own = VERSION_COLOURS.get(re.match(r"\w*", name)[0]) or (known if known != PALETTE[-1] else None)
        if own is not None and own not in given.values():
            given[name] = own
    left = cycle([colour for colour in PALETTE if colour not in given.values()] or PALETTE)
    return {name: given[name] if name in given else next(left) for name in names}


def curves(
    x: np.ndarray,
    lines: Mapping[str, np.ndarray],
    x_title: str,
    y_title: str,
    *,
    marks: Mapping[str, float] | None = None,
    spans: Mapping[str, tuple[float, float]] | None = None,
    log_y: bool = False,
    height: int = 380,
):
    """Draw lines over one axis.

    Parameters
    ----------
    x : numpy.ndarray
        Shape (n,).
    lines : mapping of str to numpy.ndarray
        Name to values of shape (n,); NaN leaves a gap. Stages, bands, modalities and datasets have their own colours, and so have
        names that begin with before, after or truth.
    x_title, y_title : str
        What the axes show, with units.
    marks : mapping of str to float or None
        Places on the horizontal axis to be marked.
    spans : mapping of str to (float, float) or None
        Stretches of the horizontal axis to be shaded, such as bands.
    log_y : bool, default=False
        Logarithmic vertical axis.
    height : int, default=380
        In pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Live.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (name, (low, high)) in enumerate((spans or {}).items()):
        figure.add_vrect(
            x0=low, x1=high, fillcolor=UNKNOWN_COLOUR, opacity=0.25 if number % 2 else 0.08, line_width=0,
            annotation_text=name, annotation_position="top",
        )  # fmt: skip
    for name, place in (marks or {}).items():
        # inside the axes: above them stands the legend
        figure.add_vline(
            x=place, line={"color": UNKNOWN_COLOUR, "width": 1.5}, annotation_text=name, annotation_position="bottom right"
        )  # fmt: skip
    colours = _colours(lines)
    for name, values in lines.items():
        figure.add_scatter(
            x=np.asarray(x, dtype=np.float32), y=np.asarray(values, dtype=np.float32), name=name, mode="lines",
            line={"width": 2, "color": colours[name], "dash": "dash" if name.startswith("truth") else "solid"},
            hovertemplate=f"{name}: %{{y:.3g}}<br>%{{x:.3g}}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title, type="log" if log_y else "linear")
    figure.update_layout(height=height)
    return figure


def traces(
    times: np.ndarray,
    versions: Mapping[str, np.ndarray],
    names: Sequence[str],
    spacing: float,
    unit: str = "µV",
    *,
    triggers: np.ndarray | None = None,
):
    """Draw channels one above the other, in one or several versions on top of each other.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_times,), s from the first volume.
    versions : mapping of str to numpy.ndarray
        Name to array of shape (n_channels, n_times), in ``unit``; names that begin with before, after or truth get those colours.
    names : sequence of str
        Channels.
    spacing : float
        Distance between baselines, in ``unit``; the title of the axis says it.
    unit : str, default="µV"
        Of the values.
    triggers : numpy.ndarray or None
        Times of volume triggers in s. If given, the lead-in is shaded, and a channel that is too large for its row *in the lead-in* is
        drawn smaller, its label saying by which factor: what the scanner does to the traces afterwards is meant to be seen.

    Returns
    -------
    plotly.graph_objects.Figure
        A click on the legend hides a version.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    colours, labels = _colours(versions), list(names)
    before = times < 0 if (times < 0).any() else np.ones(len(times), dtype=bool)
    for version, values in versions.items():
        for row, name in enumerate(names):
            trace = np.asarray(values[row], dtype=float)
            trace = trace - np.nanmedian(trace)
            factor = 1
            if triggers is not None:
                largest = np.nanmax(np.abs(trace[before]), initial=1e-12)
                factor = 2 ** max(0, int(np.ceil(np.log2(largest / (0.9 * spacing)))))
                labels[row] = name if factor == 1 else f"{name} ÷ {factor}"
            alone = len(versions) == 1
            figure.add_scattergl(
                x=times.astype(np.float32),
                y=(trace / factor - row * spacing).astype(np.float32),
                customdata=trace.astype(np.float32),
                hovertemplate=f"{name if alone else f'{name}, {version}'}: %{{customdata:.1f}} {unit}<br>%{{x:.2f}} s<extra></extra>",
                line={
                    "width": 1.6 if version.startswith("truth") else 1.1,
                    "color": (INK if name not in ("EOG", "ECG") else PALETTE[1]) if alone else colours[version],
                    "dash": "dot" if version.startswith("truth") else "solid",
                },
                name=version,
                legendgroup=version,
                showlegend=row == 0 and not alone,
            )
    if triggers is not None:
        _mark_triggers(figure, times, triggers[(triggers >= times[0]) & (triggers <= times[-1])], 0.9 * spacing)
    figure.update_yaxes(
        title=f"channels, {spacing:g} {unit} apart",
        tickvals=[-row * spacing for row in range(len(names))], ticktext=labels, showgrid=False, fixedrange=True,
        range=[-(len(names) - 0.2) * spacing, (1.3 if triggers is not None else 0.95) * spacing],
    )  # fmt: skip
    figure.update_xaxes(title="time from the first volume (s)", range=[float(times[0]), float(times[-1])])
    figure.update_layout(height=150 + (42 if len(names) > 5 else 70) * len(names))
    return figure


def _mark_triggers(figure, times: np.ndarray, inside: np.ndarray, height: float) -> None:
    for time in inside:
        figure.add_vline(x=time, line={"color": PALETTE[0], "width": 1.2, "dash": "dot"})
    if times[0] < 0:
        figure.add_vrect(
            x0=times[0], x1=0, fillcolor=UNKNOWN_COLOUR, opacity=0.25, line_width=0,
            annotation_text="lead-in: no volume yet", annotation_position="top left",
        )  # fmt: skip
    if len(inside):
        figure.add_annotation(
            x=inside[0],
            y=height,
            text="R128, first volume",
            showarrow=False,
            xanchor="left",
            font={"color": PALETTE[0]},
        )


@dataclass(frozen=True, eq=False)
class LagCurve:
    """Correlation against lag, and what is drawn with it.

    Attributes
    ----------
    values : numpy.ndarray
        Shape (n_lags,).
    low, high : numpy.ndarray or None
        Ends of a band around it, shape (n_lags,).
    subjects : numpy.ndarray or None
        Curves of single subjects, shape (n_subjects, n_lags).
    marked : numpy.ndarray of bool or None
        Lags that are drawn as dots, shape (n_lags,).
    lags : numpy.ndarray or None
        Lags of its own, shape (n_lags,).
    dashed : bool
        For what was planted.
    """

    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    subjects: np.ndarray | None = None
    marked: np.ndarray | None = None
    lags: np.ndarray | None = None
    dashed: bool = False


def lag_curves(
    lags: np.ndarray,
    groups: Mapping[str, Mapping[str, LagCurve]] | Mapping[str, LagCurve],
    y_title: str = "correlation",
    *,
    unit: str = "s",
    chance: tuple[np.ndarray, np.ndarray] | None = None,
    truth: float | None = None,
):
    """Draw correlation against lag.

    Parameters
    ----------
    lags : numpy.ndarray
        Shape (n_lags,), positive where BOLD follows EEG.
    groups : mapping
        Name to `LagCurve`; or title to such a mapping, of which a menu shows one at a time.
    y_title : str
        Of the vertical axis.
    unit : str, default="s"
        Of the lags.
    chance : (numpy.ndarray, numpy.ndarray) or None
        Between which values a curve could be chance, shapes (n_lags,).
    truth : float or None
        A lag to mark.

    Returns
    -------
    plotly.graph_objects.Figure
        Right of zero, BOLD follows EEG.
    """
    import plotly.graph_objects as go

    if not isinstance(next(iter(groups.values())), Mapping):
        groups = {"": groups}
    figure, owner = go.Figure(), []
    if chance is not None:
        _band(figure, lags, *chance, "rgba(184,190,198,0.45)", "chance (95 %)", True)
    fixed = len(figure.data)
    for title, lines in groups.items():
        colours, shown = _colours(lines), title == next(iter(groups))
        for name, curve in lines.items():
            at, line_colour = lags if curve.lags is None else curve.lags, colours[name]
            if curve.low is not None:
                _band(figure, at, curve.low, curve.high, faint(line_colour), name, False, shown)
            for number, one in enumerate(() if curve.subjects is None else curve.subjects):
                figure.add_scatter(
                    x=at, y=short(one), line={"color": PALETTE[6], "width": 0.7}, opacity=0.55, name="single subjects", mode="lines",
                    legendgroup="subjects", showlegend=number == 0, hoverinfo="skip", visible=shown,
                )  # fmt: skip
            marked = np.zeros(len(at), dtype=bool) if curve.marked is None else curve.marked
            figure.add_scatter(
                x=at, y=short(curve.values), name=name, visible=shown, legendgroup=name,
                mode="lines+markers" if curve.marked is not None else "lines",
                line={"color": line_colour, "width": 3 if curve.subjects is not None else 2, "dash": "dash" if curve.dashed else "solid"},
                marker={"color": line_colour, "size": np.where(marked, 8, 0.1)},
                hovertemplate=f"{name}: %{{y:.3f}} at %{{x:.1f}} {unit}<extra></extra>",
            )  # fmt: skip
        owner += [title] * (len(figure.data) - fixed - len(owner))
    figure.add_hline(y=0, line={"color": INK, "width": 0.8})
    figure.add_vline(x=0, line={"color": GRID if len(groups) > 1 else INK, "width": 0.8})
    if truth is not None:
        figure.add_vline(x=truth, line={"color": INK, "width": 1, "dash": "dot"})
    figure.update_xaxes(title=f"lag in {unit}: BOLD after EEG")
    figure.update_yaxes(title=y_title)
    figure.update_layout(height=440)
    if len(groups) > 1:
        limit = 1.15 * max(np.abs(curve.values).max() for lines in groups.values() for curve in lines.values())
        figure.update_yaxes(range=[-limit, limit])
        flags = [[True] * fixed + [name == title for name in owner] for title in groups]
        figure.update_layout(
            updatemenus=[{**menu(list(groups), flags), "y": 1.14}], margin={"t": 96}, legend={"y": 1.0}
        )
    return figure


def _band(figure, x: np.ndarray, low, high, colour: str, name: str, in_legend: bool, visible: bool = True) -> None:
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=short(np.concatenate([high, np.asarray(low)[::-1]])), fill="toself", fillcolor=colour,
        line={"width": 0}, mode="lines", name=name, legendgroup=name, showlegend=in_legend, hoverinfo="skip", visible=visible,
    )  # fmt: skip


def faint(colour: str) -> str:
    """Return a hexadecimal colour with a fifth of its strength, for what lies behind a line."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def menu(labels: Sequence[str], visible: Sequence[Sequence[bool]], active: int = 0) -> dict:
    """Return a drop-down that shows one set of traces at a time; ``visible`` has one flag per trace for each label."""
    return {
        "buttons": [
            {"label": label, "method": "restyle", "args": [{"visible": list(flags)}]}
            for label, flags in zip(labels, visible, strict=True)
        ],
        "active": active,
        # to the left, since plotly's own buttons are on the right
        "x": 0,
        "xanchor": "left",
        "y": 1.0,
        "yanchor": "bottom",
        "pad": {"b": 6},
    }


def training_curves(
    panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    y_title: str = "",
    reference: float | None = None,
    columns: int = 3,
):
    """Draw losses or scores against training epochs, a panel for each network or score.

    Parameters
    ----------
    panels : mapping of str to mapping
        Title to lines: name (``training``, ``validation``, ``validation, past given``) to one curve per fold.
    y_title : str
        Of the first panel's vertical axis.
    reference : float or None
        A value to mark, such as the loss of a mean volume.
    columns : int, default=3
        Panels in a row, at most.

    Returns
    -------
    plotly.graph_objects.Figure
        Thin lines are folds. The thick line is their mean, over the training epochs that all folds made: beyond these it would be a mean of
        those that went on.
    """
    from plotly.subplots import make_subplots

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=list(panels), horizontal_spacing=0.09, vertical_spacing=0.3 / rows
    )
    drawn: set[str] = set()
    for number, lines in enumerate(panels.values()):
        place = {"row": 1 + number // columns, "col": 1 + number % columns}
        for name, folds in lines.items():
            part, _, given = name.partition(", ")
            colour = PALETTE[3] if part == "validation" and given else TRAINING_COLOURS[part]
            folds = [np.asarray(fold, dtype=float) for fold in folds]
            for fold in folds if len(folds) > 1 else ():
                figure.add_scatter(
                    x=np.arange(1, len(fold) + 1), y=short(fold), mode="lines", line={"color": colour, "width": 1}, opacity=0.35,
                    showlegend=False, hoverinfo="skip", **place,
                )  # fmt: skip
            shared = min((len(fold) for fold in folds), default=0)
            if shared:
                figure.add_scatter(
                    x=np.arange(1, shared + 1), y=short(np.mean([fold[:shared] for fold in folds], axis=0)), name=name,
                    mode="lines+markers", marker={"size": 4}, legendgroup=name, showlegend=name not in drawn,
                    line={"color": colour, "width": 2.5, "dash": "dot" if colour == PALETTE[3] else "solid"},
                    hovertemplate=f"{name}: %{{y:.4g}} after %{{x}}<extra></extra>", **place,
                )  # fmt: skip
                drawn.add(name)
        if reference is not None:
            figure.add_hline(y=reference, line={"dash": "dot", "color": INK, "width": 1}, **place)
    figure.update_xaxes(title="training epoch", row=rows, col=1 + (columns - 1) // 2)
    figure.update_yaxes(title=y_title, row=1, col=1)
    figure.update_annotations(font={"size": 12})
    figure.update_layout(height=160 + 200 * rows, margin={"t": 70}, legend={"y": 1 + 0.12 / rows})
    return figure
