"""Figures of a single recording: traces, spectra, slices, the clocks of both modalities, one run from all sides, the delay.

Each function takes arrays and returns a live plotly figure. Times are in seconds from the first volume.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from eegfmri.figures import INK, PALETTE, STAGE_COLOURS, UNKNOWN_COLOUR

#: Stages from the bottom of a hypnogram to its top.
HYPNOGRAM_ORDER = ("N3", "N2", "N1", "W")


def eeg_traces(times: np.ndarray, eeg: np.ndarray, names: Sequence[str], triggers: np.ndarray, spacing: float = 120.0):
    """Draw channels one above the other, with the volume triggers that fall into the span.

    Parameters
    ----------
    times : numpy.ndarray
        Shape (n_times,), s from the first volume.
    eeg : numpy.ndarray
        Shape (n_channels, n_times), volts.
    names : sequence of str
        Channels.
    triggers : numpy.ndarray
        Times of volume triggers in s.
    spacing : float, default=120.0
        Distance between baselines in µV.

    Returns
    -------
    plotly.graph_objects.Figure
        One line per channel; the lead-in is shaded. Channels that are too large for their row are drawn smaller, and
        their label says by which factor.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    labels = []
    before = times < 0 if (times < 0).any() else np.ones(len(times), dtype=bool)
    for row, (name, trace) in enumerate(zip(names, eeg, strict=True)):
        microvolts = 1e6 * (trace - np.median(trace))
        # measured in the lead-in: what the scanner does to the traces afterwards is meant to be seen
        factor = 2 ** max(0, int(np.ceil(np.log2(np.abs(microvolts[before]).max() / (0.9 * spacing)))))
        labels.append(name if factor == 1 else f"{name} ÷ {factor}")
        figure.add_scatter(
            x=times.astype(np.float32),
            y=(microvolts / factor - row * spacing).astype(np.float32),
            customdata=microvolts.astype(np.float32),
            hovertemplate=f"{name}: %{{customdata:.0f}} µV<br>%{{x:.2f}} s<extra></extra>",
            line={"width": 1, "color": INK if name not in ("EOG", "ECG") else PALETTE[1]},
            name=name,
            showlegend=False,
        )
    inside = triggers[(triggers >= times[0]) & (triggers <= times[-1])]
    for time in inside:
        figure.add_vline(x=time, line={"color": PALETTE[0], "width": 1.2, "dash": "dot"})
    figure.add_vrect(
        x0=times[0],
        x1=0,
        fillcolor=UNKNOWN_COLOUR,
        opacity=0.25,
        line_width=0,
        annotation_text="lead-in: no volume yet",
        annotation_position="top left",
    )
    if len(inside):
        figure.add_annotation(
            x=inside[0],
            y=spacing * 0.9,
            text="R128, first volume",
            showarrow=False,
            xanchor="left",
            font={"color": PALETTE[0]},
        )
    figure.update_yaxes(
        tickvals=[-row * spacing for row in range(len(names))], ticktext=labels, showgrid=False, fixedrange=True
    )
    figure.update_xaxes(title="time from the first volume (s)", range=[float(times[0]), float(times[-1])])
    figure.update_layout(height=120 + 42 * len(names))
    return figure


def stage_spectra(frequencies: np.ndarray, density: Mapping[str, np.ndarray], bands: Mapping[str, tuple[float, float]]):
    """Draw one spectrum per stage over shaded bands.

    Parameters
    ----------
    frequencies : numpy.ndarray
        Shape (n_frequencies,), Hz.
    density : mapping of str to numpy.ndarray
        Stage to power spectral density, shape (n_frequencies,), V²/Hz.
    bands : mapping of str to (float, float)
        Band edges in Hz.

    Returns
    -------
    plotly.graph_objects.Figure
        Decibels relative to 1 µV²/Hz over frequency.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for index, (band, (low, high)) in enumerate(bands.items()):
        figure.add_vrect(
            x0=low, x1=high, fillcolor=UNKNOWN_COLOUR, opacity=0.25 if index % 2 else 0.08, line_width=0,
            annotation_text=band, annotation_position="top",
        )  # fmt: skip
    for stage, values in density.items():
        figure.add_scatter(
            x=frequencies.astype(np.float32),
            y=(10 * np.log10(values * 1e12)).astype(np.float32),
            name=stage,
            line={"color": STAGE_COLOURS[stage], "width": 2.5},
            hovertemplate=f"{stage}: %{{y:.1f}} dB at %{{x:.2f}} Hz<extra></extra>",
        )
    figure.update_xaxes(title="frequency (Hz)", range=[0, float(frequencies[-1])])
    figure.update_yaxes(title="density (dB re 1 µV²/Hz)")
    return figure


def slice_viewer(maps: Mapping[str, np.ndarray], zooms: Sequence[float], unit: str):
    """Let the reader move through axial slices of one or several maps on one grid.

    Parameters
    ----------
    maps : mapping of str to numpy.ndarray
        Name to volume of shape (x, y, z); buttons choose among them, a slider moves along z.
    zooms : sequence of float
        Size of a voxel in mm.
    unit : str
        Unit of the maps, for the colour bar.

    Returns
    -------
    plotly.graph_objects.Figure
        One heat map, whose values slider and buttons replace.
    """
    import plotly.graph_objects as go

    n_slices = next(iter(maps.values())).shape[2]
    start = n_slices // 2
    figure = go.Figure()
    for number, (name, volume) in enumerate(maps.items()):
        low, high = 0.0, float(np.percentile(volume, 99.8))
        for z in range(n_slices):
            figure.add_heatmap(
                z=np.round(volume[:, :, z].T).astype(np.int16) if high > 300 else volume[:, :, z].T.astype(np.float32),
                zmin=low,
                zmax=high,
                colorscale="gray" if number == 0 else "Viridis",
                visible=number == 0 and z == start,
                colorbar={"title": {"text": unit}, "thickness": 12},
                hovertemplate="voxel (%{x}, %{y}, " + str(z) + "): %{z:.0f} " + unit + "<extra></extra>",
                name=name,
            )

    def slider(number: int, active: int) -> dict:
        steps = [
            {
                "label": str(z),
                "method": "restyle",
                "args": [{"visible": [i == number * n_slices + z for i in range(len(maps) * n_slices)]}],
            }
            for z in range(n_slices)
        ]
        return {"active": active, "steps": steps, "currentvalue": {"prefix": "slice "}, "pad": {"t": 30}}

    buttons = [
        {
            "label": name,
            "method": "update",
            "args": [
                {"visible": [i == number * n_slices + start for i in range(len(maps) * n_slices)]},
                {"sliders": [slider(number, start)]},
            ],
        }
        for number, name in enumerate(maps)
    ]
    figure.update_layout(
        height=520,
        sliders=[slider(0, start)],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "buttons": buttons,
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
            }
        ],
    )
    figure.update_yaxes(scaleanchor="x", scaleratio=float(zooms[1] / zooms[0]), visible=False)
    figure.update_xaxes(visible=False, constrain="domain")
    return figure


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
        Shapes (n_times,), (n_frequencies,), (n_frequencies, n_times).
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
    low, high = np.percentile(decibels, [2, 99])
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
        x=power[0].astype(np.float32), y=power[1].astype(np.float32), line={"color": PALETTE[1], "width": 1.4},
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
        x=volume_times, y=chosen[0].astype(np.float32), line={"color": PALETTE[0], "width": 1.4}, showlegend=False,
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
    figure.add_scatter(
        x=cause[0], y=cause[1], name="neural event", mode="lines", line={"color": PALETTE[1], "width": 2}
    )
    figure.add_scatter(
        x=times, y=response, name="BOLD response", mode="lines", line={"color": PALETTE[0], "width": 2.5}
    )
    peak = float(times[np.argmax(response)])
    figure.add_vline(x=peak, line={"color": INK, "width": 1, "dash": "dot"}, annotation_text=f"{peak:.1f} s")
    figure.update_xaxes(title="time after the event (s)")
    figure.update_yaxes(title="relative to the peak")
    figure.update_layout(height=320)
    return figure


def lag_curves(
    lags: np.ndarray,
    mean: np.ndarray,
    interval: tuple[np.ndarray, np.ndarray],
    null: tuple[np.ndarray, np.ndarray],
    subjects: np.ndarray,
    truth: np.ndarray | None = None,
    what: str = "",
):
    """Draw correlation against lag: subjects, their mean, chance, and the planted relation where it is known.

    Parameters
    ----------
    lags : numpy.ndarray
        Shape (n_lags,), s; positive where BOLD follows.
    mean : numpy.ndarray
        Shape (n_lags,): mean over subjects.
    interval, null : (low, high)
        Shapes (n_lags,): interval of the mean; what the mean would be by chance.
    subjects : numpy.ndarray
        Shape (n_subjects, n_lags).
    truth : numpy.ndarray or None
        Shape (n_lags,): the same estimate from planted, noise-free signals.
    what : str
        Title of the vertical axis.

    Returns
    -------
    plotly.graph_objects.Figure
        Curves with bands.
    """
    import plotly.graph_objects as go

    def band(figure, low, high, colour, name):
        figure.add_scatter(
            x=np.concatenate([lags, lags[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself", fillcolor=colour,
            line={"width": 0}, mode="lines", name=name, hoverinfo="skip",
        )  # fmt: skip

    figure = go.Figure()
    band(figure, null[0], null[1], "rgba(184,190,198,0.45)", "chance (95 %)")
    band(figure, interval[0], interval[1], "rgba(0,114,178,0.22)", "interval of the mean")
    for number, curve in enumerate(subjects):
        figure.add_scatter(
            x=lags, y=curve, line={"color": PALETTE[6], "width": 0.7}, opacity=0.55, name="single subjects",
            legendgroup="subjects", showlegend=number == 0, hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=lags, y=mean, line={"color": PALETTE[0], "width": 3}, name="mean over subjects",
        hovertemplate="%{x:.1f} s: %{y:.3f}<extra></extra>",
    )  # fmt: skip
    if truth is not None:
        figure.add_scatter(
            x=lags, y=truth, line={"color": PALETTE[1], "width": 2, "dash": "dash"}, name="planted, without noise",
            hovertemplate="%{x:.1f} s: %{y:.3f}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=0, line={"color": INK, "width": 0.8})
    figure.add_vline(x=0, line={"color": INK, "width": 0.8})
    figure.update_xaxes(title="lag: BOLD after EEG (s)")
    figure.update_yaxes(title=what or "correlation")
    figure.update_layout(height=440)
    return figure
