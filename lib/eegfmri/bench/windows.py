"""Reading windows of long runs: memory-mapped, beside the ways public code reads them."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eegfmri import cache, project
from eegfmri.bench.measure import private_memory
from eegfmri.recordings import Stream
from eegfmri.windows import LazyArray

#: The published synthesis protocol: 16 subjects × 6 runs, 155 windows of 30 s in each, 34 electrodes at 1000 Hz.
N_RUNS, N_WINDOWS_PER_RUN = 96, 155
N_CHANNELS, SFREQ, RUN_SECONDS, WINDOW_SECONDS, STEP_SECONDS = 34, 1000.0, 340, 30, 2


def windows() -> list[dict]:
    """Iterate 14 880 windows of 34 × 30 000 samples from memory-mapped runs, beside re-reading a run for each window.

    The runs hold noise at the published sizes. Re-reading is timed in two forms on a few windows: the whole run as a
    MATLAB file, as the dataset stores it, and as ``.npy``.

    Returns
    -------
    list of dict
        Rates in windows/s, and the process's private memory (RssAnon) at its highest during the iteration.
    """
    from scipy.io import loadmat, savemat

    n_times, length, step = (round(s * SFREQ) for s in (RUN_SECONDS, WINDOW_SECONDS, STEP_SECONDS))
    scratch = project.data_dir()
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
        rng = np.random.default_rng(0)
        names = tuple(f"E{channel + 1}" for channel in range(N_CHANNELS))
        streams = []
        for number in range(N_RUNS):
            path = Path(folder) / f"run-{number:02d}.npy"
            cache.save_array(path, rng.standard_normal((N_CHANNELS, n_times), dtype=np.float32))
            streams.append(Stream(path, SFREQ, names))
        lazy = LazyArray(
            streams,
            np.repeat(np.arange(N_RUNS), N_WINDOWS_PER_RUN),
            np.tile(np.arange(N_WINDOWS_PER_RUN) * step, N_RUNS),
            length,
        )
        order = rng.permutation(len(lazy))  # a training epoch visits windows at random
        before = peak = private_memory()
        started = time.perf_counter()
        for count, index in enumerate(order):
            window = lazy[index]
            if count % 100 == 0:
                peak = max(peak, private_memory())
        rate = len(lazy) / (time.perf_counter() - started)
        if window.shape != (N_CHANNELS, length):
            raise RuntimeError(f"a window of shape {window.shape} came out")

        mat = Path(folder) / "run.mat"
        savemat(mat, {"data_reref": np.load(streams[0].path).astype(float)})
        few = order[:20]
        mat_rate = _rate(
            lambda index: loadmat(mat)["data_reref"][:, lazy.first[index] : lazy.first[index] + length], few
        )
        npy_rate = _rate(
            lambda index: np.load(streams[lazy.run[index]].path)[
                :, lazy.first[index] : lazy.first[index] + length
            ].copy(),
            few,
        )
    materialised = len(lazy) * N_CHANNELS * length * 4
    return [
        {"case": "memory-mapped", "measure": "rate", "value": rate, "unit": "windows/s"},
        {"case": "memory-mapped", "measure": "private memory, peak", "value": peak / 2**30, "unit": "GiB"},
        {"case": "memory-mapped", "measure": "private memory, added", "value": (peak - before) / 2**30, "unit": "GiB"},
        {"case": "if materialised", "measure": "size", "value": materialised / 1e9, "unit": "GB"},
        {"case": "MATLAB file re-read per window", "measure": "rate", "value": mat_rate, "unit": "windows/s"},
        {"case": "npy file re-read per window", "measure": "rate", "value": npy_rate, "unit": "windows/s"},
        {"case": "memory-mapped", "measure": "speed-up over MATLAB re-read", "value": rate / mat_rate, "unit": ""},
        {"case": "memory-mapped", "measure": "speed-up over npy re-read", "value": rate / npy_rate, "unit": ""},
    ]


def _rate(read: Callable, indices) -> float:
    started = time.perf_counter()
    for index in indices:
        read(index)
    return len(indices) / (time.perf_counter() - started)
