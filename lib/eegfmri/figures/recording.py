"""Figures of a single recording: traces, spectra, slices, the clocks of both modalities, one run from all sides, the delay.

Each function takes arrays and returns a live plotly figure. Times are in seconds from the first volume.
"""

from collections.abc import Sequence

import numpy as np

from eegfmri.figures.style import INK, MODALITY_COLOURS, PALETTE, STAGE_COLOURS, UNKNOWN_COLOUR, named_colour

#: Stages from the bottom of a hypnogram to its top.
HYPNOGRAM_ORDER = ("N3", "N2", "N1", "W")


def two_clocks(n_epochs: int, epoch_seconds: float, t_r: float):
    """Draw the scorer's epochs above the scanner's volumes, and mark the volumes that two epochs share.

    Parameters
    ----------
    n_epochs : int
        Epochs to draw.
    epoch_seconds : float
        Length of an epoch in s.
    t_r : float
        Repetition time in s.

    Returns
    -------
    plotly.graph_objects.Figure
        Two rows of blocks on one time axis.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    epochs = epoch_seconds * np.arange(n_epochs)
    figure.add_bar(
        base=epochs, x=np.full(n_epochs, epoch_seconds), y=["epochs"] * n_epochs, orientation="h", width=0.6,
        marker={"color": [PALETTE[0] if i % 2 == 0 else PALETTE[5] for i in range(n_epochs)], "line": {"color": "white", "width": 1}},
        hovertemplate="epoch from %{base} s<extra></extra>", showlegend=False,
    )  # fmt: skip
    starts = t_r * np.arange(int(np.ceil(n_epochs * epoch_seconds / t_r)))
    shared = np.floor(starts / epoch_seconds + 1e-9) != np.floor((starts + t_r) / epoch_seconds - 1e-9)
    for chosen, name, colour in ((~shared, "within one epoch", UNKNOWN_COLOUR), (shared, "in two epochs", PALETTE[1])):
        figure.add_bar(
            base=starts[chosen], x=np.full(chosen.sum(), t_r), y=["volumes"] * int(chosen.sum()), orientation="h", width=0.6,
            marker={"color": colour, "line": {"color": "white", "width": 1}}, name=name,
            customdata=np.flatnonzero(chosen), hovertemplate="volume %{customdata}, from %{base:.1f} s<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(title="time from the first volume (s)", range=[0, n_epochs * epoch_seconds])
    figure.update_yaxes(autorange="reversed", fixedrange=True)
    figure.update_layout(height=260, barmode="overlay")
    return figure


def run_overview(
    spectrogram: tuple[np.ndarray, np.ndarray, np.ndarray],
    stages: tuple[np.ndarray, Sequence[str | None]],
    power: tuple[np.ndarray, np.ndarray, str],
    regions: tuple[np.ndarray, np.ndarray],
    chosen: tuple[np.ndarray, str],
):
    """Draw one run from all sides on one time axis; zooming in one panel zooms all.

    Parameters
    ----------
    spectrogram : (times, frequencies, decibels)
        Shapes (n_times,), (n_frequencies,), (n_frequencies, n_times); NaN is left blank.
    stages : (onsets, stages)
        Onset of each 30-s epoch in s, and its stage (None where doubtful).
    power : (times, power, name)
        Band power over time, in units of its mean, and its name.
    regions : (times, bold)
        Regional BOLD in percent, shape (n_regions, n_volumes), rows in the order to draw.
    chosen : (bold, name)
        Mean BOLD of some regions in percent, shape (n_volumes,), and what they are.

    Returns
    -------
    plotly.graph_objects.Figure
        Five panels: spectrogram, hypnogram, band power, regional BOLD, chosen BOLD.
    """
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=5,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.045,
        row_heights=[0.27, 0.13, 0.15, 0.30, 0.15],
        subplot_titles=["EEG spectrogram", "stages", power[2], "BOLD of all regions", chosen[1]],
    )
    times, frequencies, decibels = spectrogram
    low, high = np.nanpercentile(decibels, [2, 99])
    figure.add_heatmap(
        x=times, y=frequencies, z=decibels.astype(np.float32), zmin=low, zmax=high, colorscale="Viridis",
        colorbar={"title": {"text": "dB"}, "len": 0.25, "y": 1, "yanchor": "top", "thickness": 10},
        hovertemplate="%{x:.0f} s, %{y:.1f} Hz: %{z:.1f} dB<extra></extra>", row=1, col=1,
    )  # fmt: skip
    onsets, names = stages
    for stage in (*HYPNOGRAM_ORDER, None):
        mine = [onset for onset, name in zip(onsets, names, strict=True) if name == stage]
        if mine:
            figure.add_bar(
                x=np.asarray(mine) + 15, y=[0.8] * len(mine), width=30, marker={"line": {"width": 0}},
                base=[(HYPNOGRAM_ORDER.index(stage) if stage else 0) - 0.4] * len(mine),
                marker_color=STAGE_COLOURS.get(stage, UNKNOWN_COLOUR), showlegend=False, name=stage or "doubtful",
                hovertemplate="%{x:.0f} s: " + (stage or "doubtful") + "<extra></extra>", row=2, col=1,
            )  # fmt: skip
    figure.add_scatter(
        x=power[0].astype(np.float32), y=power[1].astype(np.float32), line={"color": named_colour(power[2].split()[0], 1), "width": 1.4},
        showlegend=False, hovertemplate="%{x:.0f} s: %{y:.2f}<extra></extra>", row=3, col=1,
    )  # fmt: skip
    volume_times, bold = regions
    limit = float(np.percentile(np.abs(bold), 98))
    figure.add_heatmap(
        x=volume_times, y=np.arange(len(bold)), z=bold.astype(np.float32), zmin=-limit, zmax=limit, colorscale="RdBu_r",
        colorbar={"title": {"text": "%"}, "len": 0.28, "y": 0.16, "yanchor": "bottom", "thickness": 10},
        hovertemplate="%{x:.0f} s, row %{y}: %{z:.2f} %<extra></extra>", row=4, col=1,
    )  # fmt: skip
    figure.add_scatter(
        x=volume_times, y=chosen[0].astype(np.float32), line={"color": MODALITY_COLOURS["BOLD"], "width": 1.4}, showlegend=False,
        hovertemplate="%{x:.0f} s: %{y:.2f} %<extra></extra>", row=5, col=1,
    )  # fmt: skip
    figure.update_yaxes(title="Hz", row=1, col=1)
    figure.update_yaxes(tickvals=list(range(4)), ticktext=list(HYPNOGRAM_ORDER), range=[-0.6, 3.6], row=2, col=1)
    figure.update_yaxes(title="rel. to mean", row=3, col=1)
    figure.update_yaxes(title="back → front", showticklabels=False, row=4, col=1)
    figure.update_yaxes(title="%", row=5, col=1)
    figure.update_xaxes(title="time from the first volume (s)", row=5, col=1)
    figure.update_layout(height=900, bargap=0)
    return figure


def response_curve(times: np.ndarray, response: np.ndarray, cause: tuple[np.ndarray, np.ndarray]):
    """Draw a cause over time and the haemodynamic response to it.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_times,), s.
    response : numpy.ndarray
        Shape (n_times,): response, scaled to a peak of 1.
    cause : (times, values)
        What caused it.

    Returns
    -------
    plotly.graph_objects.Figure
        Two lines; the peak of the response is marked.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_scatter(x=cause[0], y=cause[1], name="neural event", mode="lines", line={"color": INK, "width": 2})
    figure.add_scatter(
        x=times, y=response, name="BOLD response", mode="lines", line={"color": MODALITY_COLOURS["BOLD"], "width": 2.5}
    )
    peak = float(times[np.argmax(response)])
    figure.add_vline(x=peak, line={"color": INK, "width": 1, "dash": "dot"}, annotation_text=f"{peak:.1f} s")
    figure.update_xaxes(title="time after the event (s)")
    figure.update_yaxes(title="relative to the peak")
    figure.update_layout(height=320)
    return figure
