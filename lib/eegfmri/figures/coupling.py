"""Figures of how EEG and BOLD move together: maps by lag and frequency, one frequency at a time, subjects, responses. Live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eegfmri.figures.lines import faint
from eegfmri.figures.style import DATASET_COLOURS, GRID, INK, MODALITY_COLOURS, PALETTE, UNKNOWN_COLOUR, short


@dataclass(frozen=True, eq=False)
class CouplingMap:
    """Correlation of EEG power with the BOLD of a network, over subjects.

    Attributes
    ----------
    mean, sd : numpy.ndarray
        Shape (n_lags, n_frequencies): mean and standard deviation over subjects.
    """

    mean: np.ndarray
    sd: np.ndarray


def source_colour(name: str) -> str:
    """Give what is measured the colour of ink, and a simulated dataset its own; another preset of it is paler.

    Parameters
    ----------
    name : str
        Of a source: a dataset, which may be followed by a comma and a preset, or anything else for what is measured.

    Returns
    -------
    str
        Hexadecimal.
    """
    dataset, _, preset = name.partition(", ")
    return PALETTE[3] if preset and dataset in DATASET_COLOURS else DATASET_COLOURS.get(dataset, INK)


def coupling_maps(
    panels: Mapping[str, np.ndarray], lags: np.ndarray, frequencies: np.ndarray, columns: int = 2, limit: float = 0.2
):
    """Draw maps of correlation by frequency and lag, side by side on one scale.

    Parameters
    ----------
    panels : mapping of str to numpy.ndarray
        Title to correlations, shape (n_lags, n_frequencies).
    lags : numpy.ndarray
        Shape (n_lags,), s: power so long before the volume.
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    columns : int, default=2
        Panels in a row.
    limit : float, default=0.2
        Colours go from −limit to limit.

    Returns
    -------
    plotly.graph_objects.Figure
        Zooming in one panel zooms all.
    """
    from plotly.subplots import make_subplots

    rows = -(-len(panels) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=list(panels), shared_xaxes="all", shared_yaxes="all",
        horizontal_spacing=0.05, vertical_spacing=0.16 / rows,
    )  # fmt: skip
    for number, (title, values) in enumerate(panels.items()):
        figure.add_heatmap(
            x=frequencies, y=lags, z=np.round(values, 3), zmin=-limit, zmax=limit, colorscale="RdBu_r",
            showscale=number == 0, colorbar={"title": {"text": "correlation", "side": "right"}, "thickness": 12},
            hovertemplate=f"{title}<br>%{{x}} Hz, power %{{y}} s before: %{{z}}<extra></extra>",
            row=1 + number // columns, col=1 + number % columns,
        )  # fmt: skip
    figure.update_yaxes(title="lag (s)", col=1)
    figure.update_xaxes(title="frequency (Hz)", row=rows)
    figure.update_annotations(font={"size": 12})
    figure.update_layout(height=90 + 240 * rows, margin={"t": 44})
    return figure


def frequency_viewer(
    networks: Mapping[str, Mapping[str, CouplingMap]], lags: np.ndarray, frequencies: np.ndarray, start: float = 10.0
):
    """Draw correlation against lag, a panel for each network, with a slider over frequency.

    Parameters
    ----------
    networks : mapping of str to mapping of str to CouplingMap
        Network to sources: those of `source_colour`.
    lags : numpy.ndarray
        Shape (n_lags,), s.
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    start : float, default=10.0
        Frequency that is shown first.

    Returns
    -------
    plotly.graph_objects.Figure
        Lines are means over subjects, bands one standard deviation between subjects.
    """
    from plotly.subplots import make_subplots

    lags = np.asarray(lags, dtype=float)
    figure = make_subplots(1, len(networks), subplot_titles=list(networks), shared_yaxes=True, horizontal_spacing=0.04)
    first = int(np.abs(np.asarray(frequencies) - start).argmin())
    courses = []  # of every trace: its values for each frequency
    for column, (network, sources) in enumerate(networks.items(), 1):
        for source, found in sources.items():
            mean, sd = np.asarray(found.mean, dtype=float).T, np.asarray(found.sd, dtype=float).T
            ring = np.concatenate([mean + sd, (mean - sd)[:, ::-1]], axis=1)
            colour = source_colour(source)
            figure.add_scatter(
                x=np.concatenate([lags, lags[::-1]]), y=short(ring[first]), fill="toself", fillcolor=faint(colour),
                line={"width": 0}, mode="lines", legendgroup=source, showlegend=False, hoverinfo="skip", row=1, col=column,
            )  # fmt: skip
            figure.add_scatter(
                x=lags, y=short(mean[first]), mode="lines", name=source, legendgroup=source, showlegend=column == 1,
                line={"color": colour, "width": 3 if colour == INK else 2},
                hovertemplate=f"{network}, {source}: %{{y:.3f}} at %{{x}} s<extra></extra>", row=1, col=column,
            )  # fmt: skip
            courses += [ring, mean]
        figure.add_hline(y=0, line={"color": INK, "width": 0.8}, row=1, col=column)
    steps = [
        {
            "label": f"{frequency:g}",
            "method": "restyle",
            "args": [{"y": [[round(float(v), 3) for v in course[number]] for course in courses]}],
        }
        for number, frequency in enumerate(frequencies)
    ]
    slider = {
        "active": first,
        "steps": steps,
        "currentvalue": {"prefix": "frequency: ", "suffix": " Hz"},
        "pad": {"t": 46},
    }
    limit = 1.05 * max(float(np.abs(course).max()) for course in courses)
    figure.update_xaxes(title="lag in s: power before BOLD")
    figure.update_yaxes(range=[-limit, limit])
    figure.update_yaxes(title="correlation", col=1)
    figure.update_layout(sliders=[slider], height=500, legend={"y": 1.08}, margin={"t": 76})
    return figure


def subjects_agreement(sources: Mapping[str, Sequence[Mapping]]):
    """Draw per subject the correlation of two readings of alertness, and what a regression made of the others explains.

    Parameters
    ----------
    sources : mapping of str to sequence of mapping
        Title to subjects: ``subject``, ``r``, ``limit`` (what chance reaches in one of twenty) and ``transfer_r_squared``.

    Returns
    -------
    plotly.graph_objects.Figure
        A panel a source, subjects in the order of their correlation. A grey bar is what chance reaches.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        1, len(sources), subplot_titles=list(sources), shared_yaxes=True, horizontal_spacing=0.03,
        column_widths=[len(entries) for entries in sources.values()],
    )  # fmt: skip
    for column, entries in enumerate(sources.values(), 1):
        ordered = sorted(entries, key=lambda entry: -entry["r"])
        names = [str(entry["subject"]) for entry in ordered]
        shown = {"row": 1, "col": column, "showlegend": column == 1}
        figure.add_bar(
            x=names, y=[2 * entry["limit"] for entry in ordered], base=[-entry["limit"] for entry in ordered],
            marker={"color": UNKNOWN_COLOUR, "opacity": 0.55}, name="chance (95 %)", legendgroup="chance", hoverinfo="skip", **shown,
        )  # fmt: skip
        for key, name, colour, symbol in (
            ("r", "correlation r", MODALITY_COLOURS["both"], "circle"),
            ("transfer_r_squared", "R² of the others' regression", PALETTE[0], "diamond"),
        ):
            figure.add_scatter(
                x=names, y=short([entry[key] for entry in ordered]), mode="markers", name=name, legendgroup=key,
                marker={"color": colour, "size": 10, "symbol": symbol},
                hovertemplate=f"subject %{{x}}, {name}: %{{y:.2f}}<extra></extra>", **shown,
            )  # fmt: skip
        figure.add_hline(y=0, line={"color": INK, "width": 0.8}, row=1, col=column)
    figure.update_xaxes(type="category", title="subject", showgrid=False)
    figure.update_layout(height=400, barmode="overlay", legend={"y": 1.08}, margin={"t": 76})
    return figure


def two_courses(times: np.ndarray, subjects: Mapping[str, tuple[np.ndarray, np.ndarray]]):
    """Draw alertness as EEG and as BOLD show it, a row for each subject.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_volumes,), s.
    subjects : mapping of str to (numpy.ndarray, numpy.ndarray)
        Title to EEG and BOLD, shape (n_volumes,) each; drawn in units of their standard deviation.

    Returns
    -------
    plotly.graph_objects.Figure
        Zooming in one row zooms all.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(len(subjects), 1, subplot_titles=list(subjects), shared_xaxes=True, vertical_spacing=0.12)
    for row, pair in enumerate(subjects.values(), 1):
        for name, values in zip(("EEG", "BOLD"), pair, strict=True):
            figure.add_scatter(
                x=np.asarray(times, dtype=np.float32), y=short((values - values.mean()) / values.std()), mode="lines", name=name,
                legendgroup=name, showlegend=row == 1, line={"color": MODALITY_COLOURS[name], "width": 1.4},
                hovertemplate=f"{name}: %{{y:.1f}} SD at %{{x:.0f}} s<extra></extra>", row=row, col=1,
            )  # fmt: skip
    figure.update_yaxes(title="SD", gridcolor=GRID)
    figure.update_xaxes(title="time (s)", row=len(subjects), col=1)
    figure.update_layout(height=110 + 170 * len(subjects), legend={"y": 1.06}, margin={"t": 70})
    return figure


def responses(kernels: Mapping[str, tuple[np.ndarray, np.ndarray]], scores: Mapping[str, np.ndarray]):
    """Draw responses in units of their peak, and beside them how well each predicts blocks of time that were held out.

    Parameters
    ----------
    kernels : mapping of str to (numpy.ndarray, numpy.ndarray)
        Name to times (s) and response, any unit; a response that is strongest below zero is turned over.
    scores : mapping of str to numpy.ndarray
        Name to the correlation in each block, shape (n_blocks,).

    Returns
    -------
    plotly.graph_objects.Figure
        Two panels; a name that is in both has one colour.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        1, 2, subplot_titles=["response, relative to its peak", "correlation in held-out blocks"], horizontal_spacing=0.1,
        column_widths=[0.6, 0.4],
    )  # fmt: skip
    names = list(dict.fromkeys([*kernels, *scores]))
    colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}
    for name, (times, kernel) in kernels.items():
        kernel = np.asarray(kernel, dtype=float)
        figure.add_scatter(
            x=np.asarray(times, dtype=np.float32), y=short(kernel / kernel[np.abs(kernel).argmax()]), name=name, mode="lines",
            line={"color": colours[name], "width": 2.5}, legendgroup=name,
            hovertemplate=f"{name}: %{{y:.2f}} after %{{x:.1f}} s<extra></extra>", row=1, col=1,
        )  # fmt: skip
    for name, values in scores.items():
        figure.add_scatter(
            x=[name] * len(values), y=short(values), mode="markers", legendgroup=name, showlegend=name not in kernels, name=name,
            marker={"color": colours[name], "size": 10, "opacity": 0.7}, hovertemplate="%{x}: %{y:.2f}<extra></extra>", row=1, col=2,
        )  # fmt: skip
        figure.add_scatter(
            x=[name], y=[float(np.mean(values))], mode="markers", legendgroup=name, showlegend=False, hoverinfo="skip",
            marker={"color": INK, "size": 26, "symbol": "line-ew", "line": {"width": 2.5, "color": INK}}, row=1, col=2,
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 0.8}, row=1, col=1)
    figure.update_xaxes(title="time after the neural signal (s)", row=1, col=1)
    figure.update_xaxes(showticklabels=False, row=1, col=2)
    figure.update_layout(height=440, legend={"y": -0.2, "yanchor": "top"}, margin={"t": 56, "b": 96})
    return figure
