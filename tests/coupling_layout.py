"""Files in the forms of the measured series, made up: alertness per subject, correlation maps, recordings of two animals."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from eegfmri.datasets import coupling_files


def alertness_fields(seed: int = 0, n_volumes: int = 200, share: float = 0.7) -> dict:
    """Two slow courses that share some of their variance, with stimuli and reaction times."""
    rng = np.random.default_rng(seed)
    slow = np.stack([np.convolve(rng.standard_normal(n_volumes + 9), np.ones(10) / 10, "valid") for _ in range(3)])
    length = 1000 * coupling_files.ALERTNESS_T_R * n_volumes
    reactions = rng.uniform(300, 900, 20)
    reactions[3] = np.nan
    return {
        "eeg": (slow[0] + (1 - share) * slow[1])[:, None],
        "vigpred": (slow[0] + (1 - share) * slow[2])[:, None].astype(np.float32),
        "RT": reactions[:, None],
        "stimtime": np.linspace(0.05, 0.95, 20)[:, None] * length,
    }


def write_alertness(folder: Path, numbers=(1, 2, 10), **changed) -> Path:
    """Write a folder of alertness recordings; fields of the first may be changed, or left out where they are None."""
    folder.mkdir(exist_ok=True)
    for place, number in enumerate(numbers):
        fields = alertness_fields(number)
        if place == 0:
            fields = {name: value for name, value in (fields | changed).items() if value is not None}
        savemat(folder / f"sub_{number}.mat", {"OUT": fields}, do_compression=True)
    return folder


def map_arrays(n_subjects: int = 4) -> dict:
    """Correlations, negative for alpha at two seconds in the first network."""
    rng = np.random.default_rng(1)
    shape = (n_subjects, 20, 40)
    dan, dmn = 0.05 * rng.standard_normal((2, *shape))
    dan[:, 2, 7:12] -= 0.15
    return {
        "subjects": np.array([f"sub-{number:03d}" for number in range(n_subjects)]),
        "freqs": np.arange(1.0, 41.0),
        "bin_times": -np.arange(20.0),
        "r_DAN": dan.astype(np.float32),
        "r_DMN": dmn.astype(np.float32),
    }


def write_maps(path: Path, **changed) -> Path:
    """Write an archive of correlations; arrays may be changed, or left out where they are None."""
    np.savez_compressed(path, **{name: value for name, value in (map_arrays() | changed).items() if value is not None})
    return path


def response_variables(seed: int = 0, n_volumes: int = 240) -> tuple[dict, dict]:
    """A neural signal and its convolution with a response that peaks at 3 s, in the form of either recording."""
    rng = np.random.default_rng(seed)
    t_r, step = 1.5, 0.05
    length = t_r * n_volumes
    onsets = np.arange(15.0, length - 30, 30.0)
    times = step * np.arange(round(length / step))
    neural = sum(((times > onset) & (times < onset + 8)).astype(float) for onset in onsets)
    neural = neural + 0.3 * rng.standard_normal(len(times))
    since = step * np.arange(round(15 / step))
    kernel = since**3 * np.exp(-since)  # peaks at 3 s
    answer = np.convolve(neural, kernel / kernel.sum())[: len(times)]
    volume_times = t_r * np.arange(1, n_volumes + 1)
    bold = np.interp(volume_times, times, answer) + 0.1 * rng.standard_normal(n_volumes)
    calcium = {
        "calcium_raw": neural[None], "dt": np.array([[step]]), "BOLD_calcium": bold[None], "BOLD_time": volume_times[None],
        "trigger_time": np.sort(np.concatenate([onsets, onsets + 2e-4]))[None],
    }  # fmt: skip
    thin = slice(None, None, 5)
    optical = {"LFP": neural[thin, None], "OPT": -answer[thin, None], "FS2": np.array([[4.0]])}
    return calcium, optical


def write_responses(folder: Path, **changed) -> Path:
    """Write both recordings; variables may be changed, or left out where they are None."""
    folder.mkdir(exist_ok=True)
    names = (coupling_files.CALCIUM_FILE, coupling_files.OPTICAL_FILE)
    for name, held in zip(names, response_variables(), strict=True):
        own = {key: value for key, value in changed.items() if key in held}
        savemat(folder / name, {key: value for key, value in (held | own).items() if value is not None})
    return folder
