"""Figures of an evaluation: how windows are split, what each method scores, and how sure one can be."""

from collections.abc import Mapping
from textwrap import wrap

import numpy as np
import pandas as pd

from eegfmri.figures import INK, PALETTE, UNKNOWN_COLOUR, use_theme

#: How methods are named in figures and tables.
METHOD_LABELS = {
    "majority": "majority stage",
    "stratified_random": "random, as frequent",
    "time_in_run": "time in run",
    "nearest_in_time": "nearest in time",
    "one_nearest_neighbour": "one nearest neighbour (BOLD)",
    "lda": "LDA",
    "linear_svm": "linear SVM",
    "rbf_svm": "RBF SVM",
    "best_classical": "best classical",
    "eeg_gcn": "EEG graph network",
    "fmri_gcn": "fMRI graph network",
    "fusion": "gated fusion",
}

#: What a method's name says of the signals it sees.
MODALITIES = {"_eeg": ("EEG", PALETTE[0]), "_bold": ("BOLD", PALETTE[1])}


def label(method: str) -> str:
    """Name a method for readers."""
    for suffix, (modality, _) in MODALITIES.items():
        if method.endswith(suffix):
            return f"{label(method.removesuffix(suffix))}, {modality}"
    return METHOD_LABELS.get(method, method.replace("_", " "))


def colour(method: str) -> str:
    """Colour of a method: by the signals it sees."""
    known = {"eeg_gcn": PALETTE[0], "fmri_gcn": PALETTE[1], "fusion": PALETTE[4]}
    by_suffix = (colour for suffix, (_, colour) in MODALITIES.items() if method.endswith(suffix))
    return known.get(method) or next(by_suffix, UNKNOWN_COLOUR)


def split_diagram(windows, protocols: Mapping[str, object], subject: str, fold: int = 1):
    """Draw one fold of each protocol over a subject's session: which windows train, test, or are kept out.

    Parameters
    ----------
    windows : eegfmri.windows.Windows
        The windows to split.
    protocols : mapping of str to protocol
        Title and protocol.
    subject : str
        Whose session is drawn; for leave-one-subject-out another subject's row is drawn as well.
    fold : int, default=1
        Which of the subject's folds.

    Returns
    -------
    matplotlib.figure.Figure
        Time runs to the right.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    use_theme()
    colours = {"train": PALETTE[0], "test": PALETTE[1], "left out": "#D5DAE0"}
    other = next((name for name in windows.subjects if name != subject), subject)
    rows = []
    for title, protocol in protocols.items():
        folds = [f for f in protocol.split(windows) if subject in set(windows.groups[f.test])]
        chosen = folds[min(fold, len(folds) - 1)]
        part = np.full(len(windows), "left out", dtype=object)
        part[chosen.train], part[chosen.test] = "train", "test"
        shown_subjects = [subject, other] if (part[windows.groups == other] == "train").any() else [subject]
        rows += [(f"{title}\nsub-{shown}", shown, part) for shown in shown_subjects]
    figure, axes = plt.subplots(figsize=(7, 0.62 * len(rows) + 0.8))
    order = windows.table["order"].to_numpy()
    for height, (_, shown, part) in enumerate(rows):
        for name, colour in colours.items():
            chosen = (windows.groups == shown) & (part == name)
            axes.barh(np.full(chosen.sum(), height), 0.86, left=order[chosen], height=0.62, color=colour, linewidth=0)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("scored epoch of the session")
    axes.tick_params(axis="y", length=0)
    figure.legend(handles=[Patch(color=c, label=n) for n, c in colours.items()], loc="outside upper left", ncols=3)
    return figure


def scores_by_subject(evaluation, score: str = "balanced_accuracy", chance: float | None = None):
    """Draw every subject's score under every method, with the mean and its interval.

    Parameters
    ----------
    evaluation : eegfmri.evaluation.evaluate.Evaluation
        What was predicted.
    score : str, default="balanced_accuracy"
        Which score.
    chance : float or None
        Level to mark.

    Returns
    -------
    plotly.graph_objects.Figure
        One column per method; hovering names the subject.
    """
    import plotly.graph_objects as go

    by_subject, summary = evaluation.per_subject(score), evaluation.summary(score)
    figure = go.Figure()
    jitter = np.linspace(-0.22, 0.22, len(by_subject))
    for position, method in enumerate(evaluation.methods):
        row = summary.loc[method]
        figure.add_scatter(
            x=position + jitter,
            y=by_subject[method],
            mode="markers",
            marker={"color": colour(method), "size": 7, "opacity": 0.65},
            text=[f"sub-{subject}" for subject in by_subject.index],
            hovertemplate="%{text}: %{y:.3f}<extra>" + label(method) + "</extra>",
            showlegend=False,
        )
        figure.add_scatter(
            x=[position],
            y=[row["value"]],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [row["high"] - row["value"]],
                "arrayminus": [row["value"] - row["low"]],
                "thickness": 2,
                "width": 7,
                "color": INK,
            },
            mode="markers",
            marker={"color": INK, "size": 10, "symbol": "diamond"},
            hovertemplate=f"mean %{{y:.3f}} [{row['low']:.3f}, {row['high']:.3f}], {row['n']:.0f} subjects<extra>{label(method)}</extra>",
            showlegend=False,
        )
    if chance is not None:
        figure.add_hline(
            y=chance, line={"dash": "dot", "color": INK, "width": 1}, annotation_text="chance", annotation_font_size=11
        )
    figure.update_xaxes(
        tickvals=list(range(len(evaluation.methods))),
        ticktext=[label(m).replace(", ", "<br>") for m in evaluation.methods],
        showgrid=False,
    )
    figure.update_yaxes(title=score.replace("_", " "), range=[-0.02, 1.04])
    figure.update_layout(height=430)
    return figure


def confusion_matrices(evaluation, methods: list[str]):
    """Draw true against predicted stages: counts, coloured by the share of the true stage.

    Parameters
    ----------
    evaluation : eegfmri.evaluation.evaluate.Evaluation
        What was predicted.
    methods : list of str
        One panel each.

    Returns
    -------
    matplotlib.figure.Figure
        Rows sum to 100 %.
    """
    import matplotlib.pyplot as plt
    import seaborn

    use_theme()
    figure, panels = plt.subplots(1, len(methods), figsize=(3.4 * len(methods), 3.1), sharey=True, squeeze=False)
    for axes, method in zip(panels[0], methods, strict=True):
        counts = evaluation.confusion(method)
        share = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
        seaborn.heatmap(share, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, cbar=False, ax=axes, square=True)
        axes.set_title(label(method))
        axes.set_xlabel("predicted")
    panels[0][0].set_ylabel("scored")
    return figure


def protocol_claims(claims: pd.DataFrame, chance: float | None = None):
    """Draw what each protocol would claim for each method.

    Parameters
    ----------
    claims : pandas.DataFrame
        Columns ``protocol``, ``method``, ``value``, ``low``, ``high``, ``leaks``.
    chance : float or None
        Level to mark.

    Returns
    -------
    plotly.graph_objects.Figure
        One group per method, one mark per protocol; leaking protocols are open.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    methods = list(dict.fromkeys(claims["method"]))
    protocols = list(dict.fromkeys(claims["protocol"]))
    offsets = np.linspace(-0.2, 0.2, len(protocols))
    for number, protocol in enumerate(protocols):
        own = claims[claims["protocol"] == protocol].set_index("method").loc[methods]
        leaks = bool(own["leaks"].iloc[0])
        figure.add_scatter(
            x=np.arange(len(methods)) + offsets[number],
            y=own["value"],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": own["high"] - own["value"],
                "arrayminus": own["value"] - own["low"],
                "width": 5,
            },
            mode="markers",
            name=protocol + (" (leaks)" if leaks else ""),
            marker={
                "size": 11,
                "color": PALETTE[1] if leaks else PALETTE[(0, 2, 4)[number % 3]],
                "symbol": "circle-open" if leaks else "circle",
                "line": {"width": 2.5},
            },
            hovertemplate="%{y:.3f}<extra>" + protocol + "</extra>",
        )
    if chance is not None:
        figure.add_hline(
            y=chance, line={"dash": "dot", "color": INK, "width": 1}, annotation_text="chance", annotation_font_size=11
        )
    figure.update_xaxes(
        tickvals=list(range(len(methods))), ticktext=[label(m).replace(", ", "<br>") for m in methods], showgrid=False
    )
    figure.update_yaxes(title="balanced accuracy", range=[-0.02, 1.04])
    figure.update_layout(height=430)
    return figure


def interval_widths(intervals: pd.DataFrame):
    """Draw two intervals for the same score: resampling subjects, and resampling windows as if they were independent.

    Parameters
    ----------
    intervals : pandas.DataFrame
        Columns ``unit``, ``value``, ``low``, ``high``.

    Returns
    -------
    matplotlib.figure.Figure
        One line per unit of resampling.
    """
    import matplotlib.pyplot as plt

    use_theme()
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(intervals) + 1.0))
    for height, row in enumerate(intervals.itertuples()):
        axes.plot([row.low, row.high], [height, height], color=PALETTE[height], linewidth=4, solid_capstyle="butt")
        axes.plot(row.value, height, marker="D", color=INK, markersize=7)
        axes.annotate(
            f"{row.high - row.low:.3f} wide",
            (row.high, height),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(intervals)), intervals["unit"])
    axes.set_ylim(len(intervals) - 0.4, -0.6)
    axes.set_xlabel("balanced accuracy, pooled")
    axes.margins(x=0.2)
    return figure


def forest(rows: pd.DataFrame, unit: str, zero: float | None = 0.0, zero_name: str = "no difference"):
    """Draw estimates with their intervals, one below the other, subjects as dots.

    Parameters
    ----------
    rows : pandas.DataFrame
        Indexed by name; columns ``value``, ``low``, ``high``, and optionally ``subjects`` (an array each), ``published`` (a
        number to set beside, or NaN), ``colour``.
    unit : str
        Title of the axis.
    zero : float or None
        Where to draw a line of reference.
    zero_name : str
        What it stands for.

    Returns
    -------
    plotly.graph_objects.Figure
        Hovering tells the numbers.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    height = np.arange(len(rows))[::-1]
    colours = rows["colour"] if "colour" in rows else [INK] * len(rows)
    if "subjects" in rows:
        for y, (name, subjects), colour in zip(height, rows["subjects"].items(), colours, strict=True):
            subjects = pd.Series(subjects).dropna()
            figure.add_scatter(
                x=np.round(subjects.to_numpy(), 4),
                y=y + np.linspace(-0.22, 0.22, len(subjects)),
                mode="markers",
                marker={"color": colour, "size": 6, "opacity": 0.45},
                text=[f"sub-{subject}" for subject in subjects.index],
                hovertemplate=f"%{{text}}: %{{x:.3f}}<extra>{name}</extra>",
                showlegend=False,
            )
    figure.add_scatter(
        x=rows["value"],
        y=height,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": rows["high"] - rows["value"],
            "arrayminus": rows["value"] - rows["low"],
            "thickness": 2,
            "width": 6,
            "color": INK,
        },
        mode="markers",
        marker={"color": INK, "size": 9, "symbol": "diamond"},
        text=[f"{name}: {r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for name, r in rows.iterrows()],
        hovertemplate="%{text}<extra></extra>",
        name="computed here, 95 % interval",
        showlegend="published" in rows,
    )
    if "published" in rows:
        figure.add_scatter(
            x=rows["published"],
            y=height,
            mode="markers",
            marker={"color": PALETTE[1], "size": 13, "symbol": "star-open", "line": {"width": 2}},
            text=list(rows.index),
            hovertemplate="%{text}: published %{x:.4f}<extra></extra>",
            name="published, on the real recordings",
        )
    figure.update_yaxes(
        tickvals=height, ticktext=["<br>".join(wrap(name, 24)) for name in rows.index], showgrid=False, ticks=""
    )
    shown = [rows[name] for name in ("value", "low", "high", "published") if name in rows]
    shown += list(rows["subjects"]) if "subjects" in rows else []
    shown += [[zero]] if zero is not None else []
    everything = pd.concat([pd.Series(values, dtype=float) for values in shown]).dropna()
    margin = 0.06 * (everything.max() - everything.min())
    if zero is not None:
        # the name stands on the side where there is room for it
        right = zero - everything.min() < 0.75 * (everything.max() - everything.min())
        figure.add_vline(
            x=zero, line={"dash": "dot", "color": INK, "width": 1}, annotation_text=zero_name, annotation_font_size=11,
            annotation_position="top right" if right else "top left",
        )  # fmt: skip
    # Told, not left to plotly, which on a narrow page keeps room for marks at the cost of the scale.
    figure.update_xaxes(
        title={"text": unit, "font": {"size": 12}}, range=[everything.min() - margin, everything.max() + margin]
    )
    figure.update_layout(height=130 + 48 * len(rows))
    return figure
