"""How costs grow with the number of subjects: one fold of the EEG network and what it reads, at 2 to 32 subjects, and the way to 1,000."""

import multiprocessing
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from eegfmri import project
from eegfmri.bench.graph_fusion import EPOCHS_OF, FirstFolds, NoiseRun, full_size_network
from eegfmri.bench.measure import timed
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.simulation.stage_sequences import draw_stages, load_stage_statistics
from eegfmri.windows import Windows, epoch_windows

#: Numbers of subjects that are measured.
SUBJECTS = (2, 4, 8, 16, 32)

#: Number of subjects that the fitted powers are carried on to.
MANY = 1000

#: Training epochs of the measured fold; time is linear in them.
N_TRAINING_EPOCHS = 2

#: What is measured at each number of subjects: unit, and how it is called.
MEASURES = {"time of one fold": "s", "size on disk": "GB", "private memory of a fold": "GiB"}


def growth() -> list[dict]:
    """Measure one fold of the EEG network at several numbers of subjects, each in a process of its own, and fit powers to it.

    The signals are noise, one rest and one sleep run a subject, as long as those of the simulated recordings of scale ``small``. With n
    subjects there are n folds, so that all folds take one power of n more than one fold.

    Returns
    -------
    list of dict
        Per number of subjects: windows, seconds of the fold, GB on disk, GiB of private memory; per measure the power of n that fits
        best, with its 95 % interval over the sizes, and what it comes to at 1,000 subjects, all folds on one core included.
    """
    scratch = project.data_dir()
    scratch.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    rows, found = [], {measure: [] for measure in MEASURES}
    for n_subjects in SUBJECTS:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
            windows = write_windows(Path(folder), n_subjects)
            disk = sum(file.stat().st_size for file in Path(folder).glob("*.npy")) / 1e9
            with spawn.Pool(1) as pool:
                seconds, memory = pool.apply(one_fold, (windows,))
        case = f"{n_subjects} subjects"
        rows.append({"case": case, "measure": "windows", "value": len(windows), "unit": ""})
        for (measure, unit), value in zip(MEASURES.items(), (seconds, disk, memory), strict=True):
            found[measure].append(value)
            rows.append({"case": case, "measure": measure, "value": value, "unit": unit})
    for (measure, unit), values in zip(MEASURES.items(), found.values(), strict=True):
        power, low, high, at_many = power_of(SUBJECTS, values, MANY)
        for name, value in (("power of n", power), ("power of n, low", low), ("power of n, high", high)):
            rows.append({"case": "growth", "measure": f"{measure}: {name}", "value": value, "unit": ""})
        rows.append({"case": f"{MANY} subjects, projected", "measure": measure, "value": at_many, "unit": unit})
        if measure == "time of one fold":
            hours = MANY * at_many / 3600
            rows.append(
                {"case": f"{MANY} subjects, projected", "measure": "all folds, one core", "value": hours, "unit": "h"}
            )
    return rows


def write_windows(folder: Path, n_subjects: int, seed: int = 0) -> Windows:
    """Write noise for so many subjects, one rest and one sleep run each, and cut windows from it.

    Parameters
    ----------
    folder : pathlib.Path
        Where the arrays are kept.
    n_subjects : int
        Number of subjects; beyond those of the published label tables their statistics are used again.
    seed : int, default=0
        Of stages and noise.

    Returns
    -------
    Windows
        Three epochs of EEG, 42 volumes of BOLD.
    """
    rng = np.random.default_rng(seed)
    statistics = load_stage_statistics()["subjects"]
    both = [one for one in statistics.values() if all(kind in one for kind in EPOCHS_OF)]
    recordings = [
        NoiseRun(
            folder,
            f"{number + 1:03d}",
            f"task-{kind}_run-1",
            draw_stages(both[number % len(both)][kind], n_epochs, rng),
        )
        for number in range(n_subjects)
        for kind, n_epochs in EPOCHS_OF.items()
    ]
    for recording in recordings:
        recording.write(rng)
    return epoch_windows(recordings, NoiseRun.eeg, NoiseRun.bold, eeg_epochs=3, bold_volumes=42)


def one_fold(windows: Windows) -> tuple[float, float]:
    """Fit and test the first fold of the EEG network in this process; return seconds and GiB."""
    network = {"eeg": full_size_network("eeg", n_training_epochs=N_TRAINING_EPOCHS)}
    with tempfile.TemporaryDirectory() as folder:
        return timed(partial(evaluate, network, windows, FirstFolds(n_folds=1), folder=folder), 0.1)


def power_of(sizes, values, at: float) -> tuple[float, float, float, float]:
    """Fit value ∝ n^p by least squares of logarithms.

    Parameters
    ----------
    sizes, values : sequence of float
        n and what was measured there; a value of 0 is taken as the smallest positive one.
    at : float
        The n that the fit is carried on to.

    Returns
    -------
    tuple of float
        p, the ends of its 95 % interval, and the fitted value at ``at``.
    """
    from scipy import stats

    values = np.asarray(values, dtype=float)
    values = np.maximum(values, values[values > 0].min(initial=np.finfo(float).tiny))
    fit = stats.linregress(np.log(sizes), np.log(values))
    half = stats.t.ppf(0.975, len(values) - 2) * fit.stderr
    return (
        float(fit.slope),
        float(fit.slope - half),
        float(fit.slope + half),
        float(np.exp(fit.intercept + fit.slope * np.log(at))),
    )
