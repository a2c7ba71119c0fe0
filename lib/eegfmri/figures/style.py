"""One table of colours and names: of methods, stages, bands, modalities, datasets and verdicts, the same on every page.

Colours are Okabe and Ito's, with dark and grey ones beside them, told apart by readers with any of the common colour deficiencies.
"""

from collections.abc import Mapping
from types import MappingProxyType

#: Okabe and Ito's palette, the strongest contrasts first.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#5F6B7A")

#: What is unknown, doubtful, left out, or sees no signal.
UNKNOWN_COLOUR = "#B8BEC6"

INK = "#1F2933"
GRID = "#DDE2E8"

#: Signed edges and deviations: positive, negative.
POSITIVE, NEGATIVE = "#B2182B", "#2166AC"

#: Sleep stages, darker with depth.
STAGE_COLOURS: Mapping[str, str] = MappingProxyType({"W": "#E69F00", "N1": "#7CC4EE", "N2": "#0072B2", "N3": "#14264F"})

#: EEG bands, from slow to fast; no modality has one of these colours.
BAND_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "delta": "#332288",
        "theta": "#56B4E9",
        "alpha": "#009E73",
        "sigma": "#7A6A00",
        "beta": "#E69F00",
        "gamma": "#CC79A7",
    }
)

#: Modalities, and both together.
MODALITY_COLOURS: Mapping[str, str] = MappingProxyType(
    {"EEG": PALETTE[0], "BOLD": PALETTE[1], "fMRI": PALETTE[1], "both": PALETTE[4]}
)

#: The three datasets.
DATASET_COLOURS: Mapping[str, str] = MappingProxyType({"sleep": "#4477AA", "oddball": "#AA3377", "rest": "#228833"})

#: Training and validation, wherever losses are drawn; what is given the true past is paler.
TRAINING_COLOURS: Mapping[str, str] = MappingProxyType({"training": PALETTE[0], "validation": PALETTE[1]})

#: What was decided in colour, what was not in grey; the word always stands beside the colour.
VERDICT_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "consistent": "#009E73",
        "inconsistent": "#D55E00",
        "agrees": "#0072B2",
        "differs": "#E69F00",
        "inconclusive": "#CC79A7",
        "not run": "#B8BEC6",
        "not comparable": "#7B8794",
    }
)

#: Colours of methods, by what they see.
_SEES: Mapping[str, str] = MappingProxyType(
    {
        "nothing": UNKNOWN_COLOUR,
        "EEG": MODALITY_COLOURS["EEG"],
        "EEG, linear": PALETTE[2],
        "BOLD": MODALITY_COLOURS["BOLD"],
        "both": MODALITY_COLOURS["both"],
        "answer": PALETTE[3],
    }
)

#: Method to its name for readers and what it sees; a method that is not listed is named by its key.
METHODS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "majority": ("majority stage", "nothing"),
        "stratified_random": ("random, as frequent", "nothing"),
        "time_in_run": ("time in run", "nothing"),
        "nearest_in_time": ("nearest in time", "nothing"),
        "one_nearest_neighbour": ("one nearest neighbour (BOLD)", "BOLD"),
        "lda": ("LDA", "nothing"),
        "linear_svm": ("linear SVM", "nothing"),
        "rbf_svm": ("RBF SVM", "nothing"),
        "best_classical": ("best classical", "nothing"),
        "eeg_gcn": ("EEG graph network", "EEG"),
        "fmri_gcn": ("fMRI graph network", "BOLD"),
        "fusion": ("gated fusion", "both"),
        "early_fusion": ("early fusion, logistic", "both"),
        "late_fusion": ("late fusion, logistic", "both"),
        "eeg_gcnn": ("EEG graph network", "EEG"),
        "eeg_gcnn_electrodes": ("EEG graph network on electrodes", "EEG"),
        "eeg_gcnn_atlas": ("EEG graph network on regions", "EEG"),
        "fmri_gcnn": ("fMRI graph network", "BOLD"),
        "training_mean": ("training-mean volume", "nothing"),
        "training_mean_by_subject": ("training mean of the subject", "nothing"),
        "own_training_mean": ("training mean of the subject", "nothing"),
        "ridge": ("ridge on band power", "EEG, linear"),
        "ridge_eeg": ("ridge, EEG", "EEG"),
        "ridge_bold": ("ridge, BOLD", "BOLD"),
        "band_power_ridge": ("ridge on band power", "EEG, linear"),
        "fully_connected": ("fully connected", "EEG"),
        "siamese": ("Siamese", "EEG"),
        "convolutional": ("convolutional", "EEG"),
        "convolutional_all": ("convolutional, all electrodes", "EEG"),
        "transformer": ("transformer", "EEG"),
        "transformer_sinusoidal": ("transformer, sinusoidal positions", "EEG"),
        "transformer_cnn": ("transformer_cnn", "EEG"),
        "unet": ("U-Net", "EEG"),
        "subject_mean": ("subject-mean volume (oracle)", "answer"),
        "previous_volume": ("previous volume (oracle)", "answer"),
        "no_change": ("zero change (oracle)", "answer"),
        "ceiling": ("ridge on planted sources (oracle)", "answer"),
        "autoencoder": ("auto-encoder of the true volume (oracle)", "answer"),
        "oracle": ("the true volumes (oracle)", "answer"),
    }
)

#: Ending of a method's key to what it means, and to what the method then sees if that changes.
SUFFIXES: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "_other_time": ("EEG of another time", None),
        "_teacher_forced": ("teacher-forced (oracle)", "answer"),
        "_power": ("band power", None),
        "_slices_hidden": ("no slices fed", None),
        "_augmented": ("augmented", None),
        "_own_units": ("band power in a subject's own units", None),
        "_shuffled": ("volumes shuffled in time", None),
        "_eeg": ("EEG", "EEG"),
        "_bold": ("BOLD", "BOLD"),
    }
)


def label(method: str) -> str:
    """Name a method for readers.

    Parameters
    ----------
    method : str
        Its key in results; endings of `SUFFIXES` may follow it.

    Returns
    -------
    str
        From `METHODS`; the key with blanks if it is not there.

    Examples
    --------
    >>> label("lda_eeg"), label("something_new")
    ('LDA, EEG', 'something new')
    """
    if method not in METHODS:
        for suffix, (meaning, _) in SUFFIXES.items():
            if method.endswith(suffix):
                return f"{label(method.removesuffix(suffix))}, {meaning}"
    return METHODS.get(method, (method.replace("_", " "),))[0]


def colour(method: str) -> str:
    """Give a method its colour: by what it sees, grey if that is nothing or not known.

    Parameters
    ----------
    method : str
        Its key in results.

    Returns
    -------
    str
        Hexadecimal.
    """
    if method not in METHODS:
        for suffix, (_, sees) in SUFFIXES.items():
            if method.endswith(suffix):
                return _SEES[sees] if sees else colour(method.removesuffix(suffix))
    return _SEES[METHODS.get(method, ("", "nothing"))[1]]


def named_colour(name: str, place: int = 0) -> str:
    """Give a line its colour: that of the stage, band, modality or dataset it is named after, else one by its place.

    Parameters
    ----------
    name : str
        Of the line.
    place : int, default=0
        Its number among the lines of the figure.

    Returns
    -------
    str
        Hexadecimal.
    """
    for table in (STAGE_COLOURS, BAND_COLOURS, MODALITY_COLOURS, DATASET_COLOURS):
        if name in table:
            return table[name]
    return PALETTE[place % len(PALETTE)]


def short(values) -> list[float | None]:
    """Round numbers to four significant digits, so that a page stays small; None where there is none."""
    import numpy as np

    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=float)]
