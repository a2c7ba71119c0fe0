"""Windows over made-up runs whose every sample is known, for tests of windows, splits and evaluation."""

from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from eegfmri import cache
from eegfmri.estimators import classical
from eegfmri.evaluation.evaluate import Evaluation, evaluate
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.recordings import Recording, Stream
from eegfmri.windows import Windows, epoch_windows

SFREQ, T_R = 100.0, 2.1
CLASSES = ("W", "N1", "N2")


@dataclass(frozen=True, eq=False)
class MadeRecording(Recording):
    streams: dict = field(default_factory=dict)

    @property
    def scalp_channels(self):
        return ("Cz", "Oz", "Fz")

    def raw(self):
        raise NotImplementedError


@dataclass(frozen=True)
class SomeSubjects(LeaveOneSubjectOut):
    """Leave out these subjects only: where two evaluations are compared fold by fold, a few folds tell as much as all."""

    subjects: tuple[str, ...] = ()

    def split(self, windows):
        return (fold for fold in super().split(windows) if fold.name.removeprefix("sub-") in self.subjects)


def stages(n_epochs: int, seed: int) -> list[str]:
    """A sequence of stages with long dwell times, as sleep has."""
    rng = np.random.default_rng(seed)
    sequence = []
    while len(sequence) < n_epochs:
        sequence += [CLASSES[rng.integers(3)]] * int(rng.integers(2, 7))
    return sequence[:n_epochs]


def made_recording(
    folder: Path, subject: str, run: str, labels: list[str], eeg=None, bold=None, n_volumes=None
) -> MadeRecording:
    """A run whose EEG and BOLD hold, by default, the time of each sample in s."""
    seconds = 30 * len(labels)
    n_volumes = n_volumes or int(seconds // T_R)
    eeg = np.tile(np.arange(round(seconds * SFREQ)) / SFREQ, (3, 1)) if eeg is None else eeg
    bold = np.tile((np.arange(n_volumes) + 0.5) * T_R, (4, 1)) if bold is None else bold
    stem = f"sub-{subject}_{run}"
    streams = {
        "eeg": Stream(cache.save_array(folder / f"{stem}_eeg.npy", eeg), SFREQ, ("Cz", "Oz", "Fz")),
        "bold": Stream(
            cache.save_array(folder / f"{stem}_bold.npy", bold), 1 / T_R, ("a", "b", "c", "d"), start=T_R / 2
        ),
    }
    epochs = pd.DataFrame(
        {
            "onset": 30.0 * np.arange(len(labels)),
            "duration": 30.0,
            "label": labels,
            "stage": [label if label in ("W", "N1", "N2", "N3") else None for label in labels],
            "certainty": ["certain" if label in ("W", "N1", "N2", "N3") else "uncertain" for label in labels],
            "used": [label in ("W", "N1", "N2", "N3") for label in labels],
        }
    )
    return MadeRecording("sleep", subject, run, n_volumes=n_volumes, t_r=T_R, epochs=epochs, streams=streams)


def cut(recordings, **context) -> Windows:
    """Cut windows from made recordings."""
    return epoch_windows(recordings, lambda r: r.streams["eeg"], lambda r: r.streams["bold"], **context)


def informative(
    folder: Path, n_subjects: int = 6, n_epochs: int = 40, strength: float = 1.0, seed: int = 0
) -> list[MadeRecording]:
    """Runs in which each stage has its own mean level on both modalities, drowned in noise of unit variance."""
    rng = np.random.default_rng(seed)
    recordings = []
    for number in range(n_subjects):
        labels = stages(n_epochs, seed + number)
        level = np.repeat([strength * CLASSES.index(label) for label in labels], round(30 * SFREQ))
        eeg = rng.normal(0, 1, (3, len(level))) * np.array([[1.0], [1.0], [1.0]]) * np.exp(0.5 * level)
        at = (
            np.minimum(((np.arange(int(30 * n_epochs // T_R)) + 0.5) * T_R - 5) // 30, n_epochs - 1).clip(0).astype(int)
        )
        bold = rng.normal(0, 1, (4, len(at))) + strength * np.array([CLASSES.index(labels[i]) for i in at])
        recordings.append(made_recording(folder, f"{number + 1:02d}", "task-sleep_run-1", labels, eeg, bold))
    return recordings


def evaluate_made_runs(folder: Path) -> Evaluation:
    """Evaluate two classical methods on made runs; runs and folds lie in the folder, and a run that is there keeps its time stamp."""
    write = cache.save_array
    with mock.patch.object(cache, "save_array", lambda path, array: path if path.exists() else write(path, array)):
        windows = classical.with_classical_features(cut(informative(folder / "runs"), bold_volumes=14))
    methods = {name: classical.classical_methods()[name] for name in ("lda_eeg", "ridge_bold")}
    return evaluate(methods, windows, LeaveOneSubjectOut(), folder=folder / "folds")
