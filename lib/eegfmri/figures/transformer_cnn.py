"""Figures of the transformer_cnn chapter: from a segment of EEG to channel × band, training curves, lost amplitude, correlations, and
what scores of volumes notice.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eegfmri.figures import use_theme
from eegfmri.figures.style import INK, PALETTE, UNKNOWN_COLOUR, short


def from_segment_to_bands(
    segment: np.ndarray,
    sfreq: float,
    frequencies: np.ndarray,
    density: np.ndarray,
    bands: Mapping[str, tuple[float, float]],
    power: np.ndarray,
):
    """Draw one channel of one segment: the signal, its spectrogram, and the mean over time per band.

    Parameters
    ----------
    segment : numpy.ndarray
        Shape (n_samples,), V.
    sfreq : float
        Hz.
    frequencies, density : numpy.ndarray
        Shapes (n_frequencies,) in Hz and (n_frequencies, n_frames) in V²/Hz.
    bands : mapping of str to (float, float)
        Edges in Hz.
    power : numpy.ndarray
        Shape (n_bands,), dB relative to 1 µV²/Hz.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels.
    """
    import matplotlib.pyplot as plt

    use_theme()
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), width_ratios=(1.5, 1.3, 1))
    axes[0].plot(np.arange(len(segment)) / sfreq, 1e6 * segment, color=INK, linewidth=0.8)
    axes[0].set(xlabel="time in the segment (s)", ylabel="µV", title="one segment")
    shown = frequencies <= 32
    decibels = 10 * np.log10(np.maximum(1e12 * density[shown], 1e-6))
    step = frequencies[1] - frequencies[0]
    axes[1].imshow(
        decibels, origin="lower", aspect="auto", cmap="viridis", interpolation="nearest",
        extent=(0.5, density.shape[1] + 0.5, -step / 2, frequencies[shown][-1] + step / 2),
    )  # fmt: skip
    for low, _ in bands.values():
        axes[1].axhline(low, color="white", linewidth=0.7)
    axes[1].set(xlabel="frame", ylabel="Hz", title="spectrogram", xticks=range(1, density.shape[1] + 1))
    base = min(0.0, float(np.min(power))) - 3  # bars of decibels need a foot of their own
    axes[2].barh(range(len(power)), power - base, left=base, color=PALETTE[0])
    axes[2].set_yticks(range(len(power)), list(bands))
    axes[2].set(xlabel="dB re 1 µV²/Hz", title="mean over time")
    return figure


def lost_amplitude(
    frequencies: np.ndarray,
    by_frequency: Mapping[str, np.ndarray],
    by_region: Mapping[str, np.ndarray],
    regions: Sequence[str],
):
    """Draw which share of the true amplitude a prediction has, by frequency and by region.

    Parameters
    ----------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    by_frequency : mapping of str to numpy.ndarray
        Method to shares of shape (n_subjects, n_frequencies), the median over regions.
    by_region : mapping of str to numpy.ndarray
        Method to shares of shape (n_regions,), the mean over subjects.
    regions : sequence of str
        Names.

    Returns
    -------
    plotly.graph_objects.Figure
        Live; hovering names the region.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=("by frequency", "by region, sorted"), horizontal_spacing=0.1)
    for number, (name, shares) in enumerate(by_frequency.items()):
        colour = PALETTE[number % len(PALETTE)]
        for share in shares:
            figure.add_scatter(
                x=np.round(frequencies, 4), y=short(share), mode="lines", line={"color": colour, "width": 1}, opacity=0.3,
                showlegend=False, hoverinfo="skip", row=1, col=1,
            )  # fmt: skip
        figure.add_scatter(
            x=np.round(frequencies, 4), y=short(np.nanmean(shares, axis=0)), mode="lines", name=name, legendgroup=name,
            line={"color": colour, "width": 3}, row=1, col=1,
        )  # fmt: skip
        order = np.argsort(np.nan_to_num(by_region[name]))
        figure.add_scatter(
            x=np.arange(len(order)), y=short(np.asarray(by_region[name])[order]), mode="markers", name=name, legendgroup=name,
            marker={"color": colour, "size": 5}, text=[regions[i] for i in order], hovertemplate="%{text}: %{y:.3f}<extra></extra>",
            showlegend=False, row=1, col=2,
        )  # fmt: skip
    for column in (1, 2):
        figure.add_hline(y=1, line={"dash": "dot", "color": INK, "width": 1}, row=1, col=column)
    figure.update_xaxes(title="Hz", row=1, col=1)
    figure.update_xaxes(title="regions", showticklabels=False, row=1, col=2)
    figure.update_yaxes(title="predicted / true amplitude", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_layout(height=380, margin={"t": 70}, legend={"y": 1.12})
    return figure


def what_scores_notice(table: pd.DataFrame, scores: Mapping[str, str]):
    """Draw scores of the true volumes with fluctuations made smaller, one line per scaling.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``amplitude``, ``scaling`` and one per score.
    scores : mapping of str to str
        Column and title, one panel each.

    Returns
    -------
    plotly.graph_objects.Figure
        Live.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(1, len(scores), subplot_titles=list(scores.values()), horizontal_spacing=0.08)
    for number, (scaling, own) in enumerate(table.groupby("scaling", sort=False)):
        for column, score in enumerate(scores, 1):
            figure.add_scatter(
                x=own["amplitude"], y=short(own[score]), mode="lines+markers", name=scaling, legendgroup=scaling,
                line={"color": PALETTE[number % len(PALETTE)], "width": 2.5}, showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
    figure.update_xaxes(autorange="reversed", tickformat=".0%", tickangle=0, nticks=4)
    figure.update_xaxes(title="share of the amplitude that is left", col=1 + len(scores) // 2)
    figure.update_layout(height=350, margin={"t": 70}, legend={"y": 1.12})
    return figure


def ssim_by_settings(table: pd.DataFrame, published: float | None = None):
    """Draw SSIM of the same volumes under the settings that are usually left unsaid.

    Parameters
    ----------
    table : pandas.DataFrame
        From `eegfmri.evaluation.metric_sensitivity.ssim_settings`.
    published : float or None
        A value to mark.

    Returns
    -------
    plotly.graph_objects.Figure
        Live; hovering tells the settings.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    counted = list(dict.fromkeys(table["counted"]))
    ranges = list(dict.fromkeys(table["range"]))
    for number, (name, own) in enumerate(table.groupby("range", sort=False)):
        shift = 0.16 * (number - (len(ranges) - 1) / 2)
        x = [counted.index(r.counted) + shift + 0.04 * (r.dimensions == 2) for r in own.itertuples()]
        figure.add_scatter(
            x=x, y=short(own["ssim"]), mode="markers", name=f"range: {name}",
            marker={
                "size": 10, "color": PALETTE[number % len(PALETTE)],
                "symbol": ["circle" if d == 3 else "square" for d in own["dimensions"]],
            },
            text=[f"{r.window} window, {r.dimensions}-D, {r.counted}" for r in own.itertuples()],
            hovertemplate="%{text}: %{y:.3f}<extra></extra>",
        )  # fmt: skip
    if published is not None:
        figure.add_hline(
            y=published, line={"dash": "dot", "color": UNKNOWN_COLOUR, "width": 2}, annotation_text="published",
            annotation_font_size=11,
        )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(counted))), ticktext=counted, range=[-0.5, len(counted) - 0.5], showgrid=False
    )
    figure.update_yaxes(title="SSIM")
    figure.update_layout(height=360)
    return figure
