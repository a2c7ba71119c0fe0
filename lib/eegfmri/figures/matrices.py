"""Matrices side by side on one scale, whatever they hold: connectivity, graphs, covariances, slices."""

from collections.abc import Mapping, Sequence

import numpy as np


def matrices(
    panels: Mapping[str, np.ndarray],
    limit: float | None = None,
    label: str = "",
    *,
    names: Sequence[str] | None = None,
    centre: bool = True,
    columns: int = 3,
):
    """Draw matrices side by side on one colour scale.

    Parameters
    ----------
    panels : mapping of str to numpy.ndarray
        Title to matrix, shape (n_rows, n_columns).
    limit : float or None
        End of the colour scale; the largest 99th percentile of absolute values if None.
    label : str
        What the colours show, with its unit.
    names : sequence of str or None
        Of rows and columns, for square matrices: shown at the pointer.
    centre : bool, default=True
        Colours around 0 (red is positive), else from 0 up.
    columns : int, default=3
        Panels in a row, at most.

    Returns
    -------
    plotly.graph_objects.Figure
        One heat map per matrix, cells square.
    """
    from plotly.subplots import make_subplots

    limit = float(max(np.nanpercentile(np.abs(m), 99) for m in panels.values()) if limit is None else limit)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = make_subplots(
        rows, columns, subplot_titles=list(panels), horizontal_spacing=0.04, vertical_spacing=0.24 / rows
    )
    for number, matrix in enumerate(panels.values()):
        matrix = np.asarray(matrix, dtype=float)
        digits = max(0, 2 - int(np.floor(np.log10(limit)))) if limit > 0 else 2
        figure.add_heatmap(
            z=np.round(matrix, digits), x=None if names is None else list(names), y=None if names is None else list(names),
            zmin=-limit if centre else 0.0, zmax=limit, colorscale="RdBu_r" if centre else "Viridis",
            showscale=number == 0, colorbar={"title": {"text": label, "side": "right"}, "thickness": 12},
            hovertemplate="%{x}, %{y}: %{z}<extra></extra>", row=1 + number // columns, col=1 + number % columns,
        )  # fmt: skip
        axis = "x" if number == 0 else f"x{number + 1}"
        place = {"row": 1 + number // columns, "col": 1 + number % columns}
        figure.update_yaxes(scaleanchor=axis, **place)
    plain = {"showticklabels": False, "ticks": "", "showline": False, "showgrid": False, "constrain": "domain"}
    figure.update_xaxes(**plain)
    figure.update_yaxes(**plain, autorange="reversed")
    figure.update_annotations(font={"size": 12})
    figure.update_layout(height=60 + 260 * rows if columns > 2 else 60 + 330 * rows, margin={"t": 44, "l": 8, "b": 12})
    return figure
