"""Figures of preprocessing: each step before and after.

Functions take arrays. Curves are live (plotly), images of the brain static (matplotlib).
"""

from collections.abc import Mapping

import numpy as np

from eegfmri.figures import use_theme
from eegfmri.figures.style import INK, PALETTE, named_colour


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
            line={"color": named_colour(name, number), "width": 1.6},
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
