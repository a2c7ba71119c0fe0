"""Figures of preprocessing: each step before and after.

Functions take arrays. Curves are live (plotly), images of the brain static (matplotlib).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np

from eegfmri.figures import INK, PALETTE, UNKNOWN_COLOUR, use_theme

#: Before in a warm colour, after in a cool one, the truth dark and dashed.
COLOURS = {"before": PALETTE[1], "after": PALETTE[0], "truth": INK}


def _colours(names: Iterable[str]) -> dict[str, str]:
    """Give names that begin with before, after or truth those colours once each, and the others what is left."""
    names, given = list(names), {}
    for name in names:
        colour = COLOURS.get(re.match(r"\w*", name)[0])
        if colour is not None and colour not in given.values():
            given[name] = colour
    left = cycle([colour for colour in PALETTE if colour not in given.values()])
    return {name: given[name] if name in given else next(left) for name in names}


def traces(
    times: np.ndarray, versions: Mapping[str, np.ndarray], names: Sequence[str], spacing: float, unit: str = "µV"
):
    """Draw channels one above the other, in several versions on top of each other.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_times,), s.
    versions : mapping of str to numpy.ndarray
        Name to array of shape (n_channels, n_times), in ``unit``; names that begin with before, after or truth get those
        colours.
    names : sequence of str
        Channels.
    spacing : float
        Distance between channels, in ``unit``.
    unit : str, default="µV"
        For the hover text.

    Returns
    -------
    plotly.graph_objects.Figure
        A click on the legend hides a version.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    colours = _colours(versions)
    for version, values in versions.items():
        for row, name in enumerate(names):
            trace = np.asarray(values[row], dtype=float)
            figure.add_scattergl(
                x=times.astype(np.float32),
                y=(trace - np.nanmedian(trace) - row * spacing).astype(np.float32),
                customdata=trace.astype(np.float32),
                hovertemplate=f"{name}, {version}: %{{customdata:.1f}} {unit}<br>%{{x:.2f}} s<extra></extra>",
                line={
                    "width": 1.6 if version.startswith("truth") else 1.1,
                    "color": colours[version],
                    "dash": "dot" if version.startswith("truth") else "solid",
                },
                name=version,
                legendgroup=version,
                showlegend=row == 0,
            )
    figure.update_yaxes(
        title=f"channels, {spacing:g} {unit} apart",
        tickvals=[-row * spacing for row in range(len(names))], ticktext=list(names), showgrid=False, fixedrange=True,
        range=[-(len(names) - 0.2) * spacing, 0.95 * spacing],
    )  # fmt: skip
    figure.update_xaxes(title="time from the first volume (s)", range=[float(times[0]), float(times[-1])])
    figure.update_layout(height=150 + 70 * len(names))
    return figure


def curves(
    x: np.ndarray,
    lines: Mapping[str, np.ndarray],
    x_title: str,
    y_title: str,
    marks: Mapping[str, float] | None = None,
    log_y: bool = False,
    height: int = 380,
):
    """Draw lines over one axis.

    Parameters
    ----------
    x : numpy.ndarray
        Shape (n,).
    lines : mapping of str to numpy.ndarray
        Name to values of shape (n,); NaN leaves a gap.
    x_title, y_title : str
        What the axes show, with units.
    marks : mapping of str to float or None
        Places on the horizontal axis to be marked.
    log_y : bool, default=False
        Logarithmic vertical axis.
    height : int, default=380
        In pixels.

    Returns
    -------
    plotly.graph_objects.Figure
        Names that begin with before, after or truth get those colours.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, place in (marks or {}).items():
        # inside the axes: above them stands the legend
        figure.add_vline(
            x=place,
            line={"color": UNKNOWN_COLOUR, "width": 1.5},
            annotation_text=name,
            annotation_position="bottom right",
        )
    colours = _colours(lines)
    for name, values in lines.items():
        figure.add_scatter(
            x=np.asarray(x, dtype=np.float32),
            y=np.asarray(values, dtype=np.float32),
            name=name,
            mode="lines",
            line={
                "width": 2,
                "color": colours[name],
                "dash": "dash" if name.startswith("truth") else "solid",
            },
            hovertemplate=f"{name}: %{{y:.3g}}<br>%{{x:.3g}}<extra></extra>",
        )
    figure.update_xaxes(title=x_title)
    figure.update_yaxes(title=y_title, type="log" if log_y else "linear")
    figure.update_layout(height=height)
    return figure


def matrices(
    panels: Mapping[str, np.ndarray], limit: float | None = None, label: str = "", centre: bool = True, columns: int = 3
):
    """Draw square matrices side by side on one colour scale.

    Parameters
    ----------
    panels : mapping of str to numpy.ndarray
        Title to matrix.
    limit : float or None
        End of the colour scale; the largest 99th percentile if None.
    label : str
        What the colours show, with its unit.
    centre : bool, default=True
        Colours around 0, else from 0 up.
    columns : int, default=3
        Panels in a row.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per matrix.
    """
    import matplotlib.pyplot as plt

    use_theme()
    limit = max(np.nanpercentile(np.abs(m), 99) for m in panels.values()) if limit is None else limit
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.6 * columns + 0.8, 2.6 * rows + 0.3), squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for axis, (title, matrix) in zip(axes.ravel(), panels.items(), strict=False):
        shown = axis.imshow(matrix, cmap="RdBu_r" if centre else "viridis", vmin=-limit if centre else 0, vmax=limit)
        axis.set_title(title, fontsize=10, fontweight="normal")
    figure.colorbar(shown, ax=axes, shrink=0.8, label=label)
    return figure


def power_over_time(
    times: np.ndarray, frequencies: np.ndarray, decibels: np.ndarray, bands: Mapping[str, np.ndarray], t_r: float
):
    """Draw the spectrum of every volume, and the power of some bands under it.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_volumes,), s: middle of each volume.
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    decibels : numpy.ndarray
        Shape (n_frequencies, n_volumes).
    bands : mapping of str to numpy.ndarray
        Band to its power, shape (n_volumes,), relative to its mean.
    t_r : float
        Repetition time in s.

    Returns
    -------
    plotly.graph_objects.Figure
        Two panels with one time axis; volumes that hold a gap are empty.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.58, 0.42])
    low, high = np.nanpercentile(decibels, [2, 99])
    figure.add_heatmap(
        x=times, y=frequencies, z=np.where(np.isfinite(decibels), np.round(decibels, 1), np.nan).tolist(),
        zmin=low, zmax=high, colorscale="Viridis",
        colorbar={"title": {"text": "dB"}, "len": 0.55, "y": 1, "yanchor": "top", "thickness": 10},
        hovertemplate="%{x:.0f} s, %{y:.1f} Hz: %{z} dB<extra></extra>", row=1, col=1,
    )  # fmt: skip
    for number, (name, values) in enumerate(bands.items()):
        figure.add_scatter(
            x=times, y=np.round(np.asarray(values, dtype=float), 3), name=name, mode="lines", connectgaps=False,
            line={"color": PALETTE[number % len(PALETTE)], "width": 1.6},
            hovertemplate=f"{name}: %{{y:.2f}} of its mean<extra></extra>", row=2, col=1,
        )  # fmt: skip
    figure.update_yaxes(title="frequency (Hz)", row=1, col=1)
    figure.update_yaxes(title="power / mean", row=2, col=1)
    figure.update_xaxes(title=f"time (s), one volume every {t_r:g} s", row=2, col=1)
    figure.update_layout(height=540, legend={"y": 0.36})
    return figure


def motion_curves(
    times: np.ndarray,
    parameters: np.ndarray,
    displacement: np.ndarray,
    planted: np.ndarray | None = None,
    threshold: float | None = None,
):
    """Draw the head's motion: shifts, turns, displacement from volume to volume.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_volumes,), s.
    parameters : numpy.ndarray
        Shape (n_volumes, 6): mm, then radians (drawn in degrees).
    displacement : numpy.ndarray
        Framewise displacement in mm, shape (n_volumes,).
    planted : numpy.ndarray or None
        The true parameters, drawn dotted.
    threshold : float or None
        Displacement above which volumes would be censored.

    Returns
    -------
    plotly.graph_objects.Figure
        Three panels with one time axis.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=3, shared_xaxes=True, vertical_spacing=0.06)
    for row, (first, factor) in enumerate(((0, 1.0), (3, 180 / np.pi)), start=1):
        for number, axis in enumerate("xyz"):
            kinds = [("solid", parameters, "found")] + ([("dot", planted, "planted")] if planted is not None else [])
            for dash, values, kind in kinds:
                figure.add_scatter(
                    x=times, y=np.round(factor * values[:, first + number], 4), name=f"{axis}, {kind}",
                    legendgroup=f"{axis}{kind}", showlegend=row == 1, mode="lines",
                    line={"color": PALETTE[number], "dash": dash, "width": 1.4}, row=row, col=1,
                )  # fmt: skip
    figure.add_scatter(
        x=times, y=np.round(displacement, 4), name="displacement", showlegend=False, mode="lines",
        line={"color": INK, "width": 1.2}, row=3, col=1,
    )  # fmt: skip
    if threshold is not None:
        figure.add_hline(y=threshold, line={"color": PALETTE[1], "dash": "dash", "width": 1}, row=3, col=1)
    figure.update_yaxes(title="shift (mm)", row=1, col=1)
    figure.update_yaxes(title="turn (°)", row=2, col=1)
    figure.update_yaxes(title="displaced (mm)", row=3, col=1)
    figure.update_xaxes(title="time from the first volume (s)", row=3, col=1)
    figure.update_layout(height=560)
    return figure


def brain_slices(
    background: np.ndarray,
    affine: np.ndarray,
    outlines: Mapping[str, np.ndarray] | None = None,
    overlay: np.ndarray | None = None,
    threshold: float = 0.0,
    heights: Sequence[float] = (-24, -8, 8, 24, 40, 56),
    label: str = "",
    point: Sequence[float] | None = None,
):
    """Draw axial slices of an image in MNI152 space, with outlines of tissues or a statistical map over it.

    Parameters
    ----------
    background : numpy.ndarray
        Shape (x, y, z).
    affine : numpy.ndarray
        4 × 4, without rotation: axes of the grid are axes of the space.
    outlines : mapping of str to numpy.ndarray or None
        Name to share or mask on the same grid, drawn as its contour at one half.
    overlay : numpy.ndarray or None
        Statistic on the same grid.
    threshold : float
        Values of the overlay below this are not shown.
    heights : sequence of float
        z of the slices in mm.
    label : str
        What the overlay shows.
    point : sequence of float or None
        A place in mm; sagittal, coronal and axial slices through it are drawn instead.

    Returns
    -------
    matplotlib.figure.Figure
        Left is left.
    """
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    use_theme()
    origin, step = affine[:3, 3], np.diag(affine)[:3]
    axes_mm = [origin[axis] + step[axis] * np.arange(background.shape[axis]) for axis in range(3)]
    if point is None:
        cuts = [(2, height) for height in heights]
        shape = (2, -(-len(cuts) // 2)) if len(cuts) > 3 else (1, len(cuts))
    else:
        cuts, shape = list(enumerate(point)), (1, 3)
    figure, panels = plt.subplots(*shape, figsize=(2.35 * shape[1], 2.8 * shape[0]), squeeze=False)
    high = np.percentile(background[background > 0], 99.5) if (background > 0).any() else 1.0
    colours = [PALETTE[1], PALETTE[5], PALETTE[2], PALETTE[3]]
    names = "xyz"
    shown = None
    for panel in panels.ravel():
        panel.set_axis_off()
    for panel, (axis, place) in zip(panels.ravel(), cuts, strict=False):
        index = int(np.clip(np.round((place - origin[axis]) / step[axis]), 0, background.shape[axis] - 1))
        across, up = [other for other in range(3) if other != axis]
        extent = [axes_mm[across][0], axes_mm[across][-1], axes_mm[up][0], axes_mm[up][-1]]
        cut = np.take(background, index, axis).T
        panel.imshow(cut, cmap="gray", vmin=0, vmax=high, origin="lower", extent=extent, interpolation="nearest")
        for number, mask in enumerate((outlines or {}).values()):
            part = np.take(mask, index, axis).T.astype(float)
            if part.max() > 0.5 > part.min():
                panel.contour(axes_mm[across], axes_mm[up], part, levels=[0.5], colors=colours[number], linewidths=0.9)
        if overlay is not None:
            part = np.take(overlay, index, axis).T
            top = np.nanmax(overlay)
            shown = panel.imshow(
                np.ma.masked_less(part, threshold), cmap="hot", vmin=0.6 * threshold, vmax=top, origin="lower",
                extent=extent, interpolation="nearest",
            )  # fmt: skip
        if point is not None:
            panel.plot(point[across], point[up], "+", color=PALETTE[5], markersize=12, markeredgewidth=1.5)
        panel.set_title(f"{names[axis]} = {axes_mm[axis][index]:.0f} mm", fontsize=9, fontweight="normal")
    if outlines:
        figure.legend(
            handles=[Line2D([], [], color=c, label=name) for c, name in zip(colours, outlines, strict=False)],
            loc="outside lower center",
            ncols=len(outlines),
            fontsize=9,
        )
    if shown is not None:
        figure.colorbar(shown, ax=panels, shrink=0.7, label=label)
    return figure


def carpets(panels: Mapping[str, np.ndarray], t_r: float, limit: float, displacement: np.ndarray | None = None):
    """Draw all regions over time, one carpet per version.

    Parameters
    ----------
    panels : mapping of str to numpy.ndarray
        Title to array of shape (n_regions, n_volumes), percent.
    t_r : float
        Repetition time in s.
    limit : float
        End of the colour scale in percent.
    displacement : numpy.ndarray or None
        Framewise displacement in mm, drawn on top.

    Returns
    -------
    matplotlib.figure.Figure
        Time runs to the right; censored volumes are white.
    """
    import matplotlib.pyplot as plt

    use_theme()
    extra = int(displacement is not None)
    figure, axes = plt.subplots(
        len(panels) + extra, 1, figsize=(7.2, 1.9 * len(panels) + 1.0 * extra), sharex=True, squeeze=False,
        gridspec_kw={"height_ratios": [0.5] * extra + [1] * len(panels)},
    )  # fmt: skip
    axes = axes[:, 0]
    n_volumes = next(iter(panels.values())).shape[1]
    if extra:
        axes[0].plot(t_r * (np.arange(n_volumes) + 0.5), displacement, color=INK, linewidth=0.8)
        axes[0].set_ylabel("displ.\n(mm)", fontsize=9)
    for axis, (title, series) in zip(axes[extra:], panels.items(), strict=True):
        shown = axis.imshow(
            series, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest",
            extent=[0, t_r * n_volumes, len(series), 0],
        )  # fmt: skip
        axis.set_title(title, fontsize=10, fontweight="normal")
        axis.set_ylabel("region", fontsize=9)
    axes[-1].set_xlabel("time from the first volume (s)")
    figure.colorbar(shown, ax=axes[extra:], label="% change", shrink=0.8)
    return figure
