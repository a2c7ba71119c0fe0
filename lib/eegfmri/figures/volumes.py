"""Brains in slices: one live viewer with a slider, through a volume or through time, and one static figure by nilearn."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np

from eegfmri.figures.style import INK, PALETTE, short
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
    grid = space.grid
    levels = [int(np.clip(round((z - grid.affine[2, 3]) / grid.affine[2, 2]), 0, grid.shape[2] - 1)) for z in slices]
    chosen = list(range(0, len(times), every))
    frames = []
    for number in chosen:
        mosaics = []
        for values in rows.values():
            volume = space.fill(np.asarray(values[number], dtype=np.float32))
            tiles = [_painted(volume[:, :, z], -limit, limit, "RdBu_r", space.mask[:, :, z]) for z in levels]
            mosaics.append(np.concatenate(tiles, axis=1))
        frames.append(_png(np.concatenate(mosaics, axis=0)))
    width = len(levels) * grid.shape[0] * abs(grid.affine[0, 0])
    height = len(rows) * grid.shape[1] * abs(grid.affine[1, 1])
    figure = _slider(
        {"": frames}, [f"{times[number]:.0f}" for number in chosen], (width, height), "time in the run: ", " s",
        (-limit, limit, "RdBu_r", unit),
    )  # fmt: skip
    for place, name in enumerate(rows):
        figure.add_annotation(
            x=0, y=height - place * height / len(rows), text=name, showarrow=False, xanchor="left", yanchor="top",
            font={"size": 12, "color": INK}, bgcolor="rgba(255,255,255,0.75)",
        )  # fmt: skip
    figure.update_layout(height=110 + 105 * len(rows), margin={"l": 4, "r": 4, "t": 8, "b": 8})
    return figure


def slice_viewer(maps: Mapping[str, np.ndarray], zooms: Sequence[float], unit: str):
    """Let the reader move through the axial slices of one or several maps on one grid.

    Parameters
    ----------
    maps : mapping of str to numpy.ndarray
        Name to volume of shape (x, y, z), not negative; buttons choose among them, a slider moves along z.
    zooms : sequence of float
        Size of a voxel in mm.
    unit : str
        Unit of the maps, for the colour bar of the first.

    Returns
    -------
    plotly.graph_objects.Figure
        Live; each slice is one small image, grey for the first map.
    """
    frames, tops = {}, {}
    for number, (name, volume) in enumerate(maps.items()):
        tops[name] = float(np.percentile(volume, 99.8))
        colours = "gray" if number == 0 else "viridis"
        frames[name] = [_png(_painted(volume[:, :, z], 0.0, tops[name], colours)) for z in range(volume.shape[2])]
    first = next(iter(maps))
    shape = maps[first].shape
    figure = _slider(
        frames, [str(z) for z in range(shape[2])], (shape[0] * float(zooms[0]), shape[1] * float(zooms[1])), "slice ", "",
        (0.0, tops[first], "gray", f"{first} ({unit})"),
    )  # fmt: skip
    figure.update_layout(height=520)
    return figure


def _painted(values: np.ndarray, low: float, high: float, colours: str, mask: np.ndarray | None = None) -> np.ndarray:
    """Colours of one axial slice of shape (x, y), front upwards; shape (y, x, 4), uint8; white outside the mask."""
    import matplotlib

    # 32 shades: the eye sees no more in noise, and the image is a third as large
    shade = np.round(np.clip((values - low) / ((high - low) or 1.0), 0, 1) * 32) / 32
    painted = matplotlib.colormaps[colours](shade, bytes=True)
    if mask is not None:
        painted[~mask] = 255
    return painted.transpose(1, 0, 2)[::-1]


def _png(colours: np.ndarray) -> str:
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, colours, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _slider(
    frames: Mapping[str, Sequence[str]],
    labels: Sequence[str],
    size: tuple[float, float],
    prefix: str,
    suffix: str,
    scale: tuple[float, float, str, str],
):
    """Draw one image of a series at a time: a slider moves along the series, buttons choose among several."""
    import plotly.graph_objects as go

    low, high, colours, title = scale
    start = 0 if len(frames) == 1 else len(labels) // 2
    figure = go.Figure()
    # an invisible point carries the colour bar
    figure.add_scatter(
        x=[None], y=[None], mode="markers", showlegend=False, hoverinfo="skip",
        marker={"color": [low], "cmin": low, "cmax": high, "colorscale": colours, "showscale": True,
                "colorbar": {"title": {"text": title}, "thickness": 12, "len": 0.9}},
    )  # fmt: skip

    def slider(sources: Sequence[str]) -> dict:
        steps = [
            {"label": label, "method": "relayout", "args": [{"images[0].source": source}]}
            for label, source in zip(labels, sources, strict=True)
        ]
        return {"active": start, "steps": steps, "currentvalue": {"prefix": prefix, "suffix": suffix}, "pad": {"t": 10}}

    first = next(iter(frames.values()))
    figure.add_layout_image(
        source=first[start],
        xref="x",
        yref="y",
        x=0,
        y=size[1],
        sizex=size[0],
        sizey=size[1],
        sizing="stretch",
        layer="below",
    )
    figure.update_layout(sliders=[slider(first)])
    if len(frames) > 1:
        buttons = [
            {
                "label": name,
                "method": "relayout",
                "args": [{"sliders": [slider(sources)], "images[0].source": sources[start]}],
            }
            for name, sources in frames.items()
        ]
        figure.update_layout(
            updatemenus=[
                {"type": "buttons", "direction": "right", "buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
            ]
        )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, size[0]], constrain="domain", fixedrange=True)
    figure.update_yaxes(visible=False, range=[0, size[1]], scaleanchor="x", constrain="domain", fixedrange=True)
    return figure


def brain_slices(
    rows: Mapping[str, object],
    *,
    background=None,
    outlines: Mapping[str, object] | None = None,
    limits: tuple[float, float] | None = None,
    threshold: float | None = None,
    unit: str = "",
    slices: Sequence[float] = SLICES,
    point: Sequence[float] | None = None,
):
    """Draw maps, or images of the brain, on slices in MNI152 space, one row each.

    Parameters
    ----------
    rows : mapping of str to nibabel.Nifti1Image
        Title to image. Without ``limits`` an anatomy or a mean volume, in grey.
    background : nibabel.Nifti1Image or None
        Drawn in grey under each map.
    outlines : mapping of str to nibabel.Nifti1Image or None
        Name to share or mask, drawn as its contour at one half.
    limits : (float, float) or None
        Ends of the maps' colours; if they are opposite numbers the colours diverge from white.
    threshold : float or None
        Absolute values of the maps below this are not shown.
    unit : str
        For the colour bar.
    slices : sequence of float
        Heights in mm of axial slices.
    point : sequence of float or None
        A place in mm; sagittal, coronal and axial slices through it are drawn instead.

    Returns
    -------
    matplotlib.figure.Figure
        Left is left.
    """
    import matplotlib.pyplot as plt
    import nibabel
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.lines import Line2D
    from nilearn import plotting

    from eegfmri.figures import use_theme

    use_theme()
    cuts = (
        {"display_mode": "z", "cut_coords": list(slices)}
        if point is None
        else {"display_mode": "ortho", "cut_coords": list(point)}
    )
    row_height = 1.75 if point is None else 2.8
    figure = plt.figure(figsize=(8.4, row_height * len(rows) + 0.5 * bool(outlines) + 0.1), layout="none")
    bottom = 0.5 * bool(outlines) / figure.get_figheight()
    share, right = (1 - bottom) / len(rows), 1.0 if limits is None else 0.9
    colours = (PALETTE[1], PALETTE[5], PALETTE[2], PALETTE[3])
    diverging = limits is not None and bool(np.isclose(limits[0], -limits[1]))
    cmap = "gray" if limits is None else "RdBu_r" if diverging else "viridis"

    def finite(image):
        # where nothing was measured the background shows
        return nibabel.Nifti1Image(np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32)), image.affine)

    background = None if background is None else finite(background)
    for number, (title, image) in enumerate(rows.items()):
        image, low = finite(image), 1 - (number + 1) * share
        place = (0.0, low, right, share * (0.84 if title else 0.98))
        common = {
            "axes": place,
            "figure": figure,
            "annotate": False,
            "black_bg": False,
            "colorbar": False,
            "cmap": cmap,
            **cuts,
        }
        if limits is None:
            values = np.asarray(image.dataobj)
            top = float(np.percentile(values[values > 0], 99.5)) if (values > 0).any() else 1.0
            display = plotting.plot_img(image, vmin=0, vmax=top, draw_cross=point is not None, **common)
        else:
            least = 1e-6 * max(map(abs, limits)) if threshold is None else threshold
            display = plotting.plot_stat_map(
                image, bg_img=background, vmin=limits[0], vmax=limits[1], threshold=least, draw_cross=point is not None, **common
            )  # fmt: skip
        for which, outline in enumerate((outlines or {}).values()):
            display.add_contours(outline, levels=[0.5], colors=[colours[which]], linewidths=0.9)
        display.annotate(size=8)
        if title:
            figure.text(0.005, low + 0.99 * share, title, fontsize=10, fontweight="bold", va="top")
    if limits is not None:
        bar = figure.add_axes((0.92, bottom + 0.15 * (1 - bottom), 0.014, 0.7 * (1 - bottom)))
        scale = ScalarMappable(Normalize(*limits), cmap)
        figure.colorbar(scale, cax=bar, label=unit)
    if outlines:
        handles = [Line2D([], [], color=c, label=name) for c, name in zip(colours, outlines, strict=False)]
        figure.legend(handles=handles, loc="lower center", ncols=len(outlines), fontsize=9)
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
            x=np.round(times, 2), y=short(series[:, first]), mode="lines", name=name,
            line={"color": INK if place == 0 else PALETTE[(place - 1) % len(PALETTE)], "width": 1.4 if place == 0 else 1.8},
        )  # fmt: skip
    buttons = [
        {
            "label": region,
            "method": "restyle",
            "args": [{"y": [short(series[:, number]) for series in values.values()]}],
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
