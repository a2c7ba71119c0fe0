"""A tiny legacy ds000116 written by hand, so that the reader is tested against files that no simulator of ours made."""

from pathlib import Path

import nibabel
import numpy as np
from scipy.io import savemat

#: Samples per volume at 1000 Hz and a repetition time of 2 s.
STEP = 2000


def eeg_array(
    n_rows: int = 37, n_volumes: int = 6, n_times: int | None = None, trials=None, seed: int = 0
) -> np.ndarray:
    """Noise in µV; the last two rows are the stimulus and the response row of ``trials`` (onset s, level, reaction s)."""
    rng = np.random.default_rng(seed)
    data = rng.normal(0, 20, (n_rows, n_times or n_volumes * STEP))
    data[-2:] = 0
    data[-2, 500:600] = 25
    for onset, level, reaction in trials if trials is not None else default_trials():
        first = round(onset * 1000)
        data[-2, first : first + 200] = level
        if reaction:
            data[-1, first + round(reaction * 1000) : first + round(reaction * 1000) + 50] = 100
    return data


def default_trials() -> list[tuple[float, int, float | None]]:
    """Four auditory stimuli: onset in s, level, reaction time in s or None."""
    return [(1.5, 125, None), (4.0, 150, 0.38), (6.5, 125, None), (9.0, 150, None)]


def write_run(
    root: Path,
    subject: str = "001",
    run: str = "task001_run001",
    *,
    n_volumes: int = 6,
    t_r: float = 2.0,
    reref: np.ndarray | None = None,
    noga: np.ndarray | None = None,
    variable: str = "data_reref",
    extra: dict | None = None,
    compress: bool = True,
) -> Path:
    """Write EEG, BOLD and behaviour of one run; return the subject's folder."""
    folder = root / f"sub{subject}"
    eeg = folder / "EEG" / run
    eeg.mkdir(parents=True, exist_ok=True)
    reref = eeg_array(n_volumes=n_volumes) if reref is None else reref
    savemat(eeg / "EEG_rereferenced.mat", {variable: reref, **(extra or {})}, do_compression=compress)
    if noga is not None:
        savemat(eeg / "EEG_noGA.mat", {"data_noGA": noga}, do_compression=compress)
    bold = folder / "BOLD" / run
    bold.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    image = nibabel.Nifti1Image(rng.integers(100, 900, (6, 7, 5, n_volumes)).astype(np.int16), np.diag([30, 30, 30, 1]))
    image.header.set_zooms((30, 30, 30, t_r))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, bold / "bold.nii.gz")
    write_behaviour(folder, run)
    write_onsets(folder, run, targets=[4.0], standards=[1.5, 6.5])
    return folder


def write_behaviour(folder: Path, run: str, lines: list[str] | None = None) -> Path:
    """Write ``behavdata.txt``: a header and whitespace between four columns."""
    path = folder / "behav" / run / "behavdata.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    if lines is None:
        lines = [
            "TrialOnset\tResponse\tStimulus\tRT",
            "1.500\t0\tstandard\t0",
            "4.000\t1\ttarget\t0.380",
            "6.500\t0\tstandard\t0",
            "9.000\t0\ttarget\t0",
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_onsets(folder: Path, run: str, targets: list[float], standards: list[float]) -> Path:
    """Write the onset files of the model: onset, duration, weight."""
    path = folder / "model" / "model001" / "onsets" / run
    path.mkdir(parents=True, exist_ok=True)
    for name, onsets in (("cond001", targets), ("cond002", standards), ("cond003", targets)):
        (path / f"{name}.txt").write_text("".join(f"{onset:.3f} 0.2 1\n" for onset in onsets), encoding="utf-8")
    return path


BIDS_HEADER = "onset\tduration\ttrial_type\tResponse\tStimulus\tresponse_time"


def bids_rows(n_standards: int = 20, n_targets: int = 12, task: str = "auditory") -> list[str]:
    """Rows of a BIDS table: the first two standards lack their response, which the last two, shifted, repeat."""
    rows, onset = [], 5.0
    for number in range(n_standards + n_targets):
        target = number >= 2 and number % 2 == 0 and number // 2 <= n_targets
        name = "oddball" if target else "standard"
        facts = "n/a\tn/a" if number < 2 else f"{float(target):.3f}\t{'target' if target else 'standard'}"
        presented = f"{onset:.3f}\t0.200\t{task} {name} stimulus presentation\t{facts}\tn/a"
        reaction = f"{onset:.3f}\t0.400\tbehavioral response time following {task} oddball stimulus onset\t{facts}\tn/a"
        # The two rows of a target stand in either order in the real tables.
        rows += [presented] if not target else [reaction, presented] if number % 4 else [presented, reaction]
        onset += 2.5
    return [*rows, "n/a\tn/a\tn/a\t5.000\t0\tstandard", "n/a\tn/a\tn/a\t7.500\t0\tstandard"]


def write_bids(path: Path, rows: list[str], header: str = BIDS_HEADER) -> Path:
    """Write a BIDS ``events.tsv``."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path
