"""Figures of synthesis: skill against the gap in time, and where learned encodings put the electrodes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures import INK, PALETTE, UNKNOWN_COLOUR, use_theme

#: How methods are named in figures and tables.
METHOD_LABELS = {
    "training_mean": "training-mean volume",
    "training_mean_by_subject": "training mean of the subject",
    "subject_mean": "subject-mean volume (oracle)",
    "previous_volume": "previous volume (oracle)",
    "no_change": "zero change (oracle)",
    "ridge": "ridge on band power",
    "fully_connected": "fully connected",
    "siamese": "Siamese",
    "convolutional": "convolutional",
    "convolutional_all": "convolutional, all electrodes",
    "transformer": "transformer",
    "transformer_sinusoidal": "transformer, sinusoidal positions",
    "ceiling": "ridge on planted sources (oracle)",
}

#: What a suffix of a method's name means.
SUFFIXES = {
    "_other_time": "other EEG",
    "_power": "band power",
    "_slices_hidden": "no slices fed",
    "_augmented": "augmented",
    "_teacher_forced": "teacher-forced (oracle)",
}

ORACLES = ("subject_mean", "previous_volume", "no_change", "ceiling")


def label(method: str) -> str:
    """Name a method for readers."""
    for suffix, meaning in SUFFIXES.items():
        if method.endswith(suffix):
            return f"{label(method.removesuffix(suffix))}, {meaning}"
    return METHOD_LABELS.get(method, method.replace("_", " "))


def colour(method: str) -> str:
    """Colour of a method: networks, baselines, oracles."""
    if method in ORACLES or method.endswith("_teacher_forced"):
        return PALETTE[1]
    return UNKNOWN_COLOUR if method.startswith("training_mean") else PALETTE[2] if method == "ridge" else PALETTE[0]


def skill_against_gap(table: pd.DataFrame, window: float):
    """Draw skill over the distance in time between what was tested and what was trained on.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``method``, ``gap`` (s), ``value``, ``low``, ``high``.
    window : float
        Length of the EEG in s: beyond it, neighbours share none.

    Returns
    -------
    plotly.graph_objects.Figure
        One line per method.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
        rows = rows.sort_values("gap")
        figure.add_scatter(
            x=rows["gap"] + 0.25 * number,
            y=rows["value"],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rows["high"] - rows["value"],
                "arrayminus": rows["value"] - rows["low"],
                "thickness": 1.5,
                "width": 4,
            },
            mode="lines+markers",
            name=label(method),
            marker={"size": 8, "symbol": ("circle", "diamond", "square", "x")[number % 4]},
            line={"color": PALETTE[number % len(PALETTE)], "width": 2},
            hovertemplate="%{x:.0f} s: %{y:.4f}<extra>" + label(method) + "</extra>",
        )
    figure.add_hline(y=0, line={"dash": "dot", "color": INK, "width": 1})
    figure.add_vline(
        x=window, line={"dash": "dash", "color": INK, "width": 1},
        annotation_text="no shared EEG beyond", annotation_font_size=11, annotation_position="top left",
    )  # fmt: skip
    figure.update_xaxes(title="gap to the nearest training window (s)", rangemode="tozero")
    figure.update_yaxes(title="skill")
    figure.update_layout(height=400)
    return figure


def training_curves(said: Mapping[str, Sequence[Mapping[str, Sequence[float]]]]):
    """Draw training and validation loss of several networks, mean over folds.

    Parameters
    ----------
    said : mapping of str to sequence of mapping
        By method, of each fold: ``train_loss`` and ``valid_loss`` per pass.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per network; 1 is the training-mean volume.
    """
    import matplotlib.pyplot as plt

    use_theme()
    n_rows = -(-len(said) // 3)
    figure, axes = plt.subplots(n_rows, 3, figsize=(8.4, 2.1 * n_rows + 0.3), sharex=True, squeeze=False)
    for axis in axes.ravel()[len(said) :]:
        axis.set_axis_off()
    for axis, (method, folds) in zip(axes.ravel(), said.items(), strict=False):
        for name, width, text in (("train_loss", 1.0, "training"), ("valid_loss", 2.4, "validation")):
            length = max(len(fold[name]) for fold in folds)
            padded = np.array([[*fold[name], *[np.nan] * (length - len(fold[name]))] for fold in folds])
            axis.plot(
                np.arange(1, length + 1), np.nanmean(padded, axis=0), color=PALETTE[0], linewidth=width, label=text,
                marker="o", markersize=3,
            )  # fmt: skip
        axis.axhline(1.0, color=INK, linestyle=":", linewidth=1)
        axis.set_title(label(method), fontsize=9)
        axis.tick_params(labelsize=8)
    axes[-1, 0].set_xlabel("pass over the data", fontsize=9)
    axes[0, 0].set_ylabel("loss", fontsize=9)
    axes[0, 0].legend(fontsize=8)
    return figure


def encodings(positions: np.ndarray, learned: np.ndarray, names: Sequence[str]):
    """Draw distances between encodings against distances between electrodes, and electrodes as the encodings place them.

    Parameters
    ----------
    positions : numpy.ndarray
        Where electrodes are, shape (n_channels, 3), m.
    learned : numpy.ndarray
        Their encodings, shape (n_channels, width).
    names : sequence of str
        Names of the electrodes.

    Returns
    -------
    matplotlib.figure.Figure
        To the right the encodings' first two principal components; front electrodes are dark.
    """
    import matplotlib.pyplot as plt
    from scipy.spatial.distance import pdist

    use_theme()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.8))
    left.scatter(100 * pdist(positions), pdist(learned), s=9, alpha=0.5, color=PALETTE[0], linewidths=0)
    left.set(xlabel="distance of electrodes (cm)", ylabel="distance of encodings")
    centred = learned - learned.mean(axis=0)
    components = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    right.scatter(*components.T, s=34, c=positions[:, 1], cmap="cividis_r")
    for name, (x, y) in zip(names, components, strict=True):
        right.annotate(name, (x, y), fontsize=7, xytext=(3, 3), textcoords="offset points")
    right.set(xlabel="first component of the encodings", ylabel="second component")
    return figure
