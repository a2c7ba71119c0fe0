"""Figures of predicted volumes: slices over time, maps on the brain, regional time courses. Both synthesis chapters use them."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np

from eegfmri.figures import INK, PALETTE, use_theme
from eegfmri.preprocessing.volumes import Space

#: Millimetres of the axial slices that are shown.
SLICES = (-28.0, -12.0, 4.0, 20.0, 36.0, 52.0)


def slices_over_time(
    rows: Mapping[str, np.ndarray],
    space: Space,
    times: Sequence[float],
    limit: float,
    unit: str,
    slices: Sequence[float] = SLICES,
    every: int = 1,
):
    """Show axial slices of several series of volumes, one above the other, with a slider over time.

    Parameters
    ----------
    rows : mapping of str to numpy.ndarray
        Name to volumes of shape (n_volumes, n_voxels): the measured ones first.
    space : Space
        Where the voxels lie.
    times : sequence of float
        Time of each volume in s.
    limit : float
        Colours go from −limit to limit.
    unit : str
        For the colour bar.
    slices : sequence of float
        Heights in mm of MNI152.
    every : int, default=1
        Take every so many volumes.

    Returns
    -------
    plotly.graph_objects.Figure
        Live; each moment is one small image.
    """
    import plotly.graph_objects as go

    grid = space.grid
    levels = [int(np.clip(round((z - grid.affine[2, 3]) / grid.affine[2, 2]), 0, grid.shape[2] - 1)) for z in slices]
    chosen = list(range(0, len(times), every))
    sources = []
    for number in chosen:
        mosaics = [_mosaic(np.asarray(values[number]), space, levels, limit) for values in rows.values()]
        sources.append(_png(np.concatenate(mosaics, axis=0)))
    width = len(levels) * grid.shape[0] * abs(grid.affine[0, 0])
    height = len(rows) * grid.shape[1] * abs(grid.affine[1, 1])
    figure = go.Figure()
    # an invisible point carries the colour bar
    figure.add_scatter(
        x=[None], y=[None], mode="markers", showlegend=False, hoverinfo="skip",
        marker={"color": [0], "cmin": -limit, "cmax": limit, "colorscale": "RdBu_r", "showscale": True,
                "colorbar": {"title": {"text": unit}, "thickness": 12, "len": 0.9}},
    )  # fmt: skip
    figure.add_layout_image(
        source=sources[0], xref="x", yref="y", x=0, y=height, sizex=width, sizey=height, sizing="stretch", layer="below"
    )
    for place, name in enumerate(rows):
        figure.add_annotation(
            x=0, y=height - place * height / len(rows), text=name, showarrow=False, xanchor="left", yanchor="top",
            font={"size": 12, "color": INK}, bgcolor="rgba(255,255,255,0.75)",
        )  # fmt: skip
    steps = [
        {
            "label": f"{times[number]:.0f}",
            "method": "relayout",
            "args": [{"images[0].source": source}],
        }
        for number, source in zip(chosen, sources, strict=True)
    ]
    figure.update_layout(
        height=110 + 105 * len(rows),
        sliders=[{"active": 0, "steps": steps, "currentvalue": {"prefix": "time in the run: ", "suffix": " s"}, "pad": {"t": 10}}],
        margin={"l": 4, "r": 4, "t": 8, "b": 8},
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, width], constrain="domain", fixedrange=True)
    figure.update_yaxes(visible=False, range=[0, height], scaleanchor="x", constrain="domain", fixedrange=True)
    return figure


def _mosaic(values: np.ndarray, space: Space, levels: Sequence[int], limit: float) -> np.ndarray:
    """Colours of some axial slices side by side, front upwards; shape (y, n_slices · x, 4), uint8; white outside."""
    import matplotlib

    colours = matplotlib.colormaps["RdBu_r"]
    volume = space.fill(np.asarray(values, dtype=np.float32))
    tiles = []
    for level in levels:
        # 32 shades: the eye sees no more in noise, and the image is a third as large
        shade = np.round(np.clip((volume[:, :, level] + limit) / (2 * limit), 0, 1) * 32) / 32
        painted = colours(shade, bytes=True)
        painted[~space.mask[:, :, level]] = 255
        tiles.append(painted.transpose(1, 0, 2)[::-1])
    return np.concatenate(tiles, axis=1)


def _png(colours: np.ndarray) -> str:
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, colours, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def brain_map(maps: Mapping[str, np.ndarray], space: Space, limits: tuple[float, float], unit: str, slices=SLICES):
    """Draw maps on axial slices, one row per map.

    Parameters
    ----------
    maps : mapping of str to numpy.ndarray
        Name to one value per voxel, shape (n_voxels,); NaN stays grey.
    space : Space
        Where the voxels lie.
    limits : (float, float)
        Ends of the colours; if they are opposite numbers the colours diverge from white.
    unit : str
        For the colour bar.
    slices : sequence of float
        Heights in mm of MNI152.

    Returns
    -------
    matplotlib.figure.Figure
        Left is left.
    """
    import matplotlib
    import matplotlib.pyplot as plt

    use_theme()
    low, high = limits
    colours = matplotlib.colormaps["RdBu_r" if np.isclose(low, -high) else "viridis"].with_extremes(bad=(0, 0, 0, 0))
    figure, axes = plt.subplots(
        len(maps),
        len(slices),
        figsize=(8.4, 1.75 * len(maps) + 0.2),
        squeeze=False,
        gridspec_kw={"wspace": 0, "hspace": 0.1},
    )
    grid = space.grid
    aspect = abs(grid.affine[1, 1] / grid.affine[0, 0])
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        volume = np.full(grid.shape, np.nan)
        volume[space.mask] = values
        for axis, z in zip(row, slices, strict=True):
            level = int(np.clip(round((z - grid.affine[2, 3]) / grid.affine[2, 2]), 0, grid.shape[2] - 1))
            shown = np.ma.masked_where(~space.mask[:, :, level].T, volume[:, :, level].T)
            background = np.where(space.mask[:, :, level].T, 1.0, np.nan)
            axis.imshow(background, origin="lower", cmap="Greys", vmin=0, vmax=4, aspect=aspect)
            drawn = axis.imshow(shown, origin="lower", cmap=colours, vmin=low, vmax=high, aspect=aspect)
            axis.set_axis_off()
            if row is axes[-1]:
                axis.text(0.5, -0.02, f"z = {z:.0f} mm", transform=axis.transAxes, ha="center", va="top", fontsize=9)
        row[0].set_title(name, fontsize=10, loc="left")
    figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.01, label=unit)
    return figure


def region_courses(
    times: np.ndarray, courses: Mapping[str, np.ndarray], regions: Sequence[str], unit: str, first: int = 0
):
    """Draw measured and predicted time courses of one region, chosen from a menu.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_volumes,), s.
    courses : mapping of str to numpy.ndarray
        Name to series of shape (n_volumes, n_regions); the first is the measured one.
    regions : sequence of str
        Names.
    unit : str
        Of the series.
    first : int, default=0
        The region shown at the start.

    Returns
    -------
    plotly.graph_objects.Figure
        Live.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    values = {name: np.asarray(series, dtype=float) for name, series in courses.items()}
    for place, (name, series) in enumerate(values.items()):
        figure.add_scatter(
            x=np.round(times, 2), y=_short(series[:, first]), mode="lines", name=name,
            line={"color": INK if place == 0 else PALETTE[(place - 1) % len(PALETTE)], "width": 1.4 if place == 0 else 1.8},
        )  # fmt: skip
    buttons = [
        {
            "label": region,
            "method": "restyle",
            "args": [{"y": [_short(series[:, number]) for series in values.values()]}],
        }
        for number, region in enumerate(regions)
    ]
    figure.update_layout(
        height=440,
        margin={"t": 70},
        # to the left, since plotly's own buttons are on the right; the legend below, since on a small screen it takes several lines
        updatemenus=[{"buttons": buttons, "active": first, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}],
        legend={"y": -0.2, "yanchor": "top"},
    )
    figure.update_xaxes(title="time in the run (s)")
    figure.update_yaxes(title=unit)
    return figure


def _short(values: np.ndarray) -> list[float]:
    """Numbers with four significant digits, so that a page stays small."""
    return [float(f"{value:.4g}") for value in values]
