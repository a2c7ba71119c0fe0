"""How long a request would take, from measured costs: the benchmarks that are kept with the book (`eegfmri.costs`).

Preparing is scaled by samples and voxels, training by windows, training epochs and folds. Only what was measured counts; what was not is
named. Seconds are those of one core of the machine that the benchmark names.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from eegfmri import costs
from eegfmri.recordings import Recording

#: Steps of the benchmark that stand beside ours for comparison.
_BESIDE = ("resample, MNE", "into MNI152 (3 mm), nilearn", "affine")

#: Steps that only recordings with the scanner's artefacts need: those that were sampled at more than so many Hz.
_SCANNER, _RAW_SFREQ = ("gradient artefact", "pulse artefact"), 1500.0

#: Subjects of the benchmark of graph_fusion, and its networks by the names of its cases.
_N_SUBJECTS, _NETWORKS = 23, ("bold", "eeg", "both")

#: Windows that a training step of the benchmark of synthesis takes.
_BATCH = 8


@dataclass
class Estimate:
    """What a request is estimated to take.

    Attributes
    ----------
    preparing, training : float
        Seconds on one core.
    measured : list of datetime.date
        Days on which the benchmarks behind it were recorded.
    unknown : list of str
        What nobody has measured.
    """

    preparing: float = 0.0
    training: float = 0.0
    measured: list[date] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Seconds of both."""
        return self.preparing + self.training


def estimate(
    chapter: str, parameters: Mapping[str, object], chosen: Mapping[str, Iterable[Recording]]
) -> Estimate | None:
    """Estimate what a chapter would take on recordings.

    Parameters
    ----------
    chapter : str
        Name of the chapter.
    parameters : mapping
        As it would be executed.
    chosen : mapping of str to iterable of Recording
        Usable recordings that its parameters leave, by dataset.

    Returns
    -------
    Estimate or None
        None where no benchmark of preparing is kept, or there are no recordings.
    """
    runs = [recording for recordings in chosen.values() for recording in recordings]
    benchmark = costs.latest("preprocessing")
    if benchmark is None or not runs:
        return None
    found = Estimate(sum(prepared(recording, parameters, benchmark) for recording in runs), measured=[benchmark.date])
    trained = {
        "fusion/graph_fusion": _graph_fusion,
        "synthesis/synthesis": _synthesis,
        "synthesis/transformer_cnn": _transformer_cnn,
    }.get(chapter)
    if trained is None:
        found.unknown.append("training and evaluating")
    else:
        trained(parameters, runs, found)
    return found


def prepared(recording: Recording, parameters: Mapping[str, object], benchmark: costs.Benchmark) -> float:
    """Return the seconds that preparing a recording takes on one core.

    Parameters
    ----------
    recording : Recording
        With the sizes of its signals.
    parameters : mapping
        Of the chapter: with ``grid``, volumes are brought to the template.
    benchmark : Benchmark
        ``preprocessing``.

    Returns
    -------
    float
        Steps of EEG by samples, of BOLD by voxels times volumes.
    """
    sfreq = recording.sfreq or 0.0
    samples = len(recording.scalp_channels) * (recording.n_times or 0)
    voxels = 1.0
    for size in (*(recording.volume_shape or (0,)), recording.n_volumes or 0):
        voxels *= size
    total = 0.0
    for row in benchmark.rows:
        step, _, kind = row["measure"].rpartition(": ")
        dataset, signal = row["case"].split(",")[0].split()
        if kind != "time" or dataset != recording.dataset or step in _BESIDE:
            continue
        if (step in _SCANNER and sfreq < _RAW_SFREQ) or (step.startswith("into MNI152") and not parameters.get("grid")):
            continue
        if step == "motion" and parameters.get("motion_correction") is False:
            continue
        sizes = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", row["case"].partition(",")[2])]
        full = 1.0
        for size in sizes:
            full *= size
        total += row["value"] * (samples if signal == "EEG" else voxels) / full
    return total


def _n_subjects(runs: Iterable[Recording]) -> int:
    return len({recording.subject for recording in runs})


def _graph_fusion(parameters: Mapping[str, object], runs: list[Recording], found: Estimate) -> None:
    """Add the folds of leaving one subject out: as many as subjects, each as long as there are others."""
    benchmark, n = costs.latest("graph_fusion"), _n_subjects(runs)
    if benchmark is None:
        found.unknown.append("training")
        return
    folds = [benchmark.value(f"one fold, {network}", "time") for network in _NETWORKS]
    share = (n - 1) / (_N_SUBJECTS - 1)
    found.training += n * sum(folds) * share * float(parameters.get("n_seeds") or 1)
    found.measured.append(benchmark.date)
    found.unknown.append("the folds within subjects, the pieces taken away and the classical methods")


def _synthesis(parameters: Mapping[str, object], runs: list[Recording], found: Estimate) -> None:
    """Add the folds of every network, at most all training epochs, and one more set of folds each for blocks and for shuffled windows."""
    benchmark, n = costs.latest("synthesis"), _n_subjects(runs)
    if benchmark is None:
        found.unknown.append("training")
        return
    stride = 2.0 * float(parameters.get("step") or 1)
    windows = sum(max(0.0, (recording.duration or 0.0) - 30.0) / stride for recording in runs)
    epochs = float(parameters.get("n_training_epochs") or 1)
    for network in parameters.get("models") or ():
        step = benchmark.value(f"{network}, grey and white matter", "training step")
        if step is None:
            found.unknown.append(f"training {network}")
            continue
        n_blocks = float(parameters.get("n_blocks") or 1)
        passes = (n - 1) + (n_blocks - 1) + 0.8  # training sets over all folds, in units of all windows
        found.training += len(parameters.get("scalings") or (1,)) * epochs * passes * windows / _BATCH * step
    found.measured.append(benchmark.date)
    found.unknown.append("training that stops early, which takes less")


def _transformer_cnn(parameters: Mapping[str, object], runs: list[Recording], found: Estimate) -> None:
    """Add the published protocol, both splits, by as many folds and subjects as are asked for."""
    benchmark, n = costs.latest("transformer_cnn"), _n_subjects(runs)
    case = "published protocol, one split, one core"
    rows = [row for row in (benchmark.rows if benchmark else ()) if row["case"] == case]
    if not rows:
        found.unknown.append("training")
        return
    epochs = float(parameters.get("n_training_epochs") or 100) / 100
    hours = sum(row["value"] for row in rows) * epochs * n / 16
    found.training += 2 * float(parameters.get("n_folds") or 1) * hours * 3600
    found.measured.append(benchmark.date)
