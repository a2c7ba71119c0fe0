"""Figures of how recordings lie on disk: where the scan begins in the EEG, what was shown and answered in a run."""

import pandas as pd

from eegfmri.figures.style import PALETTE, UNKNOWN_COLOUR
from eegfmri.recordings import Recording, RecordingSet


def lead_ins(recordings: RecordingSet):
    """Draw each recording's EEG as a bar, and the part of it during which the scanner ran.

    Parameters
    ----------
    recordings : RecordingSet
        Usable ones are drawn.

    Returns
    -------
    matplotlib.figure.Figure
        One bar per recording, in s from the first sample.
    """
    import matplotlib.pyplot as plt

    from eegfmri.figures import use_theme

    use_theme()
    usable = [recording for recording in recordings if recording.usable]
    figure, axes = plt.subplots(figsize=(7, max(2.0, 0.9 + 0.26 * len(usable))))
    names = [f"sub-{recording.subject}" for recording in usable]
    lead = [recording.first_sample / recording.sfreq for recording in usable]
    eeg = [recording.n_times / recording.sfreq for recording in usable]
    scan = [recording.n_volumes * recording.t_r for recording in usable]
    whole = [before + after for before, after in zip(lead, eeg, strict=True)]
    axes.barh(names, whole, color=UNKNOWN_COLOUR, height=0.72, label="EEG")
    axes.barh(names, scan, left=lead, color=PALETTE[0], height=0.36, label="EEG during the scan")
    axes.invert_yaxis()
    axes.margins(y=0.02)
    axes.set_xlabel("seconds from the first sample of the EEG")
    axes.tick_params(axis="y", labelsize=8, length=0)
    figure.legend(loc="outside upper left", ncols=2, handlelength=1, columnspacing=1, fontsize=9)
    return figure


def trials(recording: Recording):
    """Draw what was shown in a run and how fast it was answered.

    Parameters
    ----------
    recording : Recording
        With events.

    Returns
    -------
    plotly.graph_objects.Figure
        Stimuli in time, standards below and targets above; targets at the height of their reaction time.
    """
    import plotly.graph_objects as go

    events = recording.events
    kinds = {
        "standard": (
            events["trial_type"].fillna("").str.endswith("standard") & events["used"],
            PALETTE[5],
            "line-ns-open",
        ),
        "target": (events["trial_type"].fillna("").str.endswith("target") & events["used"], PALETTE[1], "circle"),
        "left out by the authors": (~events["used"].astype(bool), UNKNOWN_COLOUR, "x-thin-open"),
    }
    figure = go.Figure()
    for name, (chosen, colour, symbol) in kinds.items():
        rows = events[chosen]
        if not len(rows):
            continue
        height = 1000 * pd.to_numeric(rows["response_time"]).fillna(0)
        figure.add_scatter(
            x=rows["onset"],
            y=height,
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertemplate="%{x:.3f} s, answered after %{y:.0f} ms<extra>" + name + "</extra>",
        )
    figure.update_xaxes(title="seconds from the first volume")
    figure.update_yaxes(title="reaction time (ms); 0: no answer", rangemode="tozero")
    figure.update_layout(height=320)
    return figure
