"""What graph_fusion costs at the published size: 23 subjects left out one by one, three networks, arrays of the real shapes."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from eegfmri import cache, project
from eegfmri.bench.measure import timed
from eegfmri.datasets.sleep import EEG_CHANNELS, SELECTIONS
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import Fold, LeaveOneSubjectOut
from eegfmri.recordings import EPOCH_SECONDS, Recording, Stream
from eegfmri.simulation.stage_sequences import draw_stages, load_stage_statistics
from eegfmri.windows import Windows, epoch_windows

N_CHANNELS, SFREQ, N_REGIONS, T_R = 30, 100.0, 100, 2.1
EPOCHS_OF = {"rest": 20, "sleep": 30}


def graph_fusion() -> list[dict]:
    """Time one fold of each network at full size, end to end, and project it to the whole protocol.

    The signals are noise with a trace of the stage, in as many runs and epochs per subject as the published label tables have; subjects are
    those of the default selection. Training never stops early: the projection is the worst case.

    Returns
    -------
    list of dict
        Seconds of a fold (reading, fitting, predicting, graphs), memory of the process that ran it, hours for 23 folds × 3 networks on two
        cores, and how much faster two workers are.
    """
    import multiprocessing

    scratch = project.data_dir()
    scratch.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
        windows = write_windows(Path(folder))
        n_subjects = len(windows.subjects)
        rows = [
            {"case": "data", "measure": "subjects", "value": n_subjects, "unit": ""},
            {"case": "data", "measure": "windows", "value": len(windows), "unit": ""},
            {
                "case": "data",
                "measure": "size on disk",
                "value": sum(f.stat().st_size for f in Path(folder).glob("*.npy")) / 1e9,
                "unit": "GB",
            },
        ]
        seconds = []
        for modality in ("bold", "eeg", "both"):
            with spawn.Pool(1) as pool:
                took, memory = pool.apply(_one_fold, (windows, modality))
            seconds.append(took)
            rows += [
                {"case": f"one fold, {modality}", "measure": "time", "value": took, "unit": "s"},
                {"case": f"one fold, {modality}", "measure": "private memory, peak", "value": memory, "unit": "GiB"},
            ]
        rows.append(
            {
                "case": f"{n_subjects} folds × 3 networks, two cores",
                "measure": "time, projected",
                "value": n_subjects * sum(seconds) / 2 / 3600,
                "unit": "h",
            }
        )
        one, two = _workers(windows)
        rows += [
            {"case": "four short folds, one worker", "measure": "time", "value": one, "unit": "s"},
            {"case": "four short folds, two workers", "measure": "time", "value": two, "unit": "s"},
            {"case": "two workers", "measure": "speed-up", "value": one / two, "unit": ""},
        ]
    return rows


def full_size_network(modality: str, **changed):
    """Return the network as profile ``full`` trains it."""
    import yaml

    from eegfmri.estimators.graph_fusion import GraphFusionClassifier

    profiles = yaml.safe_load((project.book_dir() / "profiles.yml").read_text(encoding="utf-8"))
    known = GraphFusionClassifier().get_params()
    full = {name: value for name, value in profiles["full"]["fusion/graph_fusion"].items() if name in known}
    settings = full | {"modality": modality} | changed
    return GraphFusionClassifier(**settings | {"patience": settings.get("n_training_epochs", 12)})


def write_windows(folder: Path, seed: int = 0) -> Windows:
    """Write noise in the shape of the published recordings and cut windows from it.

    Parameters
    ----------
    folder : pathlib.Path
        Where the arrays are kept.
    seed : int, default=0
        Of stages and noise.

    Returns
    -------
    Windows
        Three epochs of EEG, 42 volumes of BOLD.
    """
    rng = np.random.default_rng(seed)
    statistics = load_stage_statistics()["subjects"]
    recordings = [
        NoiseRun(
            folder, subject, f"task-{kind}_run-{number + 1}", draw_stages(statistics[subject][kind], n_epochs, rng)
        )
        for subject in selected_subjects(statistics)
        for kind, n_epochs in EPOCHS_OF.items()
        for number in range(statistics[subject].get(kind, {}).get("runs", 0))
    ]
    for recording in recordings:
        recording.write(rng)
    return epoch_windows(recordings, NoiseRun.eeg, NoiseRun.bold, eeg_epochs=3, bold_volumes=42)


def selected_subjects(statistics: dict) -> list[str]:
    """Return the subjects that the default selection keeps, from the lengths of their bouts of each stage."""
    rows = {}
    for subject, kinds in statistics.items():
        counts = dict.fromkeys(("W", "N1", "N2"), 0)
        for of_kind in kinds.values():
            for stage in counts:
                for lengths in (of_kind["ended"].get(stage, {}), of_kind["censored"].get(stage, {})):
                    counts[stage] += sum(int(length) * number for length, number in lengths.items())
        rows[subject] = counts
    return list(pd.DataFrame.from_dict(rows, orient="index").query(SELECTIONS["six_of_each"][1]).index)


class NoiseRun(Recording):
    """A run of noise on disk, EEG and BOLD prepared as the chapter prepares them."""

    def __init__(self, folder: Path, subject: str, run: str, stages: list[str]):
        epochs = pd.DataFrame(
            {
                "onset": EPOCH_SECONDS * np.arange(len(stages)),
                "duration": EPOCH_SECONDS,
                "label": stages,
                "stage": stages,
                "certainty": "certain",
                "used": True,
            }
        )
        super().__init__("sleep", subject, run, t_r=T_R, epochs=epochs)
        object.__setattr__(self, "folder", folder)

    @property
    def scalp_channels(self) -> tuple[str, ...]:
        """Names of the electrodes."""
        return EEG_CHANNELS

    def raw(self):
        """Refuse: there is nothing raw."""
        raise NotImplementedError("a run of the benchmark holds prepared signals only")

    def eeg(self) -> Stream:
        """Return the EEG, (n_channels, n_times)."""
        return Stream(self.folder / f"{self.name}_eeg.npy", SFREQ, EEG_CHANNELS)

    def bold(self) -> Stream:
        """Return the regional signals, (n_regions, n_volumes)."""
        names = tuple(f"region {number + 1}" for number in range(N_REGIONS))
        return Stream(self.folder / f"{self.name}_bold.npy", 1 / T_R, names, start=T_R / 2)

    def write(self, rng: np.random.Generator) -> None:
        """Draw the signals and keep them."""
        depth = np.array([("W", "N1", "N2", "N3").index(stage) for stage in self.epochs["stage"]])
        seconds = EPOCH_SECONDS * len(depth)
        eeg = rng.standard_normal((N_CHANNELS, round(seconds * SFREQ)), dtype=np.float32)
        eeg *= np.exp(0.1 * np.repeat(depth, round(EPOCH_SECONDS * SFREQ))).astype(np.float32)
        cache.save_array(self.eeg().path, eeg)
        cache.save_array(self.bold().path, rng.standard_normal((N_REGIONS, int(seconds // T_R)), dtype=np.float32))


def _one_fold(windows: Windows, modality: str) -> tuple[float, float]:
    """Run the first fold in this process; return seconds and GiB."""
    network = {modality: full_size_network(modality)}
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: evaluate(network, windows, FirstFolds(n_folds=1), folder=folder), 0.2)


@dataclass(frozen=True)
class FirstFolds(LeaveOneSubjectOut):
    """The first so many folds of leaving one subject out."""

    name: str = "loso"
    n_folds: int = 1

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Give the first folds."""
        yield from islice(super().split(windows), self.n_folds)


def _workers(windows: Windows) -> tuple[float, float]:
    """Run four short folds with one worker and with two; return seconds of each."""
    method = {"eeg": full_size_network("eeg", n_training_epochs=2)}
    seconds = []
    for n_jobs in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            if n_jobs > 1:
                # Workers start and load torch once per evaluation of hours: that is not part of the comparison.
                short = {"warm": full_size_network("bold", n_training_epochs=1)}
                evaluate(short, windows[:200], FirstFolds(n_folds=2), n_jobs=n_jobs, folder=folder)
            started = time.perf_counter()
            evaluate(method, windows, FirstFolds(n_folds=4), n_jobs=n_jobs, folder=folder)
            seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[1]
