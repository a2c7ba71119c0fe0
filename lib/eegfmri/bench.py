"""Benchmarks: what the library costs, measured on this machine and written down as JSON.

Each benchmark is a function that returns rows; nothing here asserts a time.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.recordings import Stream
from eegfmri.windows import LazyArray

#: The published synthesis protocol: 16 people × 6 runs, 155 windows of 30 s in each, 34 electrodes at 1000 Hz.
N_RUNS, N_WINDOWS_PER_RUN = 96, 155
N_CHANNELS, SFREQ, RUN_SECONDS, WINDOW_SECONDS, STEP_SECONDS = 34, 1000.0, 340, 30, 2


def run(name: str | None = None) -> list[dict]:
    """Run one benchmark, or all of them.

    Parameters
    ----------
    name : str or None
        A key of `BENCHMARKS`.

    Returns
    -------
    list of dict
        Rows: ``benchmark``, ``case``, ``measure``, ``value``, ``unit``.

    Raises
    ------
    RequestError
        If there is no such benchmark.
    """
    if name is not None and name not in BENCHMARKS:
        raise RequestError(f"There is no benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}.")
    rows = []
    for chosen in [name] if name else BENCHMARKS:
        rows += [{"benchmark": chosen, **row} for row in BENCHMARKS[chosen]()]
    return rows


def machine() -> dict:
    """Describe the machine that a benchmark ran on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        **cache.versions("numpy", "scipy", "torch"),
    }


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
            np.save(path, rng.standard_normal((N_CHANNELS, n_times), dtype=np.float32))
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


def preprocessing() -> list[dict]:
    """Time every step of preprocessing on one recording of each dataset's full size, beside MNE's and nilearn's plain way.

    Arrays hold noise (BOLD: a head-like mean volume with noise), since only their size matters here. Each step runs once in a
    process of its own, so that its memory can be told from the others'.

    Returns
    -------
    list of dict
        Seconds, and GiB of resident memory at its highest above what was there before the step, inputs included.
    """
    import json
    import subprocess
    import sys

    rows = []
    for case, steps in PREPROCESSING.items():
        for step in steps:
            code = f"from eegfmri import bench; bench._preprocessing_step({case!r}, {step!r})"
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise EegFmriError(f"The step {step!r} of {case} failed: {done.stderr.strip().splitlines()[-1]}")
            seconds, memory = json.loads(done.stdout.strip().splitlines()[-1])
            rows.append({"case": case, "measure": f"{step}: time", "value": seconds, "unit": "s"})
            rows.append({"case": case, "measure": f"{step}: memory", "value": memory, "unit": "GiB"})
    return rows


#: Full sizes: EEG as (channels, seconds, Hz, TR), BOLD as (matrix, volumes, TR), and the steps that are timed on each.
_EEG_STEPS = (
    "gradient artefact",
    "resample",
    "resample, MNE",
    "pulse artefact",
    "band-pass",
    "alignment",
    "power per volume",
)
_BOLD_STEPS = (
    "slice times",
    "motion",
    "affine",
    "affine and warp",
    "into MNI152 (3 mm)",
    "into MNI152 (3 mm), nilearn",
    "regions and nuisance",
)
PREPROCESSING = {
    "sleep EEG, 32 × 933 s × 5000 Hz": _EEG_STEPS,
    "oddball EEG, 34 × 340 s × 1000 Hz": ("resample", "resample, MNE", "band-pass", "alignment", "power per volume"),
    "rest EEG, 64 × 650 s × 5000 Hz": _EEG_STEPS,
    "sleep BOLD, 80 × 80 × 35 × 429": _BOLD_STEPS,
    "oddball BOLD, 64 × 64 × 32 × 170": _BOLD_STEPS,
    "rest BOLD, 64 × 64 × 30 × 300": _BOLD_STEPS,
}
_SIZES = {
    "sleep EEG": (32, 933, 5000.0, 2.1),
    "oddball EEG": (34, 340, 1000.0, 2.0),
    "rest EEG": (64, 650, 5000.0, 2.16),
    "sleep BOLD": ((80, 80, 35), (3.0, 3.0, 4.0), 429, 2.1),
    "oddball BOLD": ((64, 64, 32), (3.0, 3.0, 4.0), 170, 2.0),
    "rest BOLD": ((64, 64, 30), (3.3, 3.3, 4.0), 300, 2.16),
}


def _preprocessing_step(case: str, step: str) -> None:
    """Time one step and print seconds and GiB as JSON; what it needs is made, and libraries are loaded, beforehand."""
    import json
    import threading

    import psutil

    size = _SIZES[case.partition(",")[0]]
    action = _eeg_step(step, *size) if "EEG" in case else _bold_step(step, *size)
    process, peak, running = psutil.Process(), [0], [True]
    before = process.memory_info().rss

    def watch():
        while running[0]:
            peak[0] = max(peak[0], process.memory_info().rss)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    action()
    seconds = time.perf_counter() - started
    running[0] = False
    watcher.join()
    print(json.dumps([round(seconds, 3), round(max(0, peak[0] - before) / 2**30, 3)]))


def _eeg_step(step: str, n_channels: int, seconds: int, sfreq: float, t_r: float) -> Callable[[], object]:
    import mne
    import scipy.signal  # noqa: F401

    from eegfmri import eeg

    rng = np.random.default_rng(0)
    low = {"gradient artefact": sfreq, "resample": sfreq, "resample, MNE": sfreq, "pulse artefact": eeg.PULSE_RATE}
    rate = low.get(step, 250.0 if t_r != 2.1 else 100.0)
    data = 1e-5 * rng.standard_normal((n_channels, round(seconds * rate)), dtype=np.float32)
    new = 1000.0 if sfreq > 1000 else 250.0
    if step in ("gradient artefact", "pulse artefact"):
        info = mne.create_info(n_channels, rate, ["eeg"] * (n_channels - 1) + ["ecg"])
        raw = mne.io.RawArray(data.astype(float), info, copy="auto", verbose="error")
        del data
        if step == "gradient artefact":
            return lambda: eeg.remove_gradient_artefact(raw, t_r, int(seconds // t_r))
        return lambda: eeg.remove_pulse_artefact(raw, beats=np.arange(1.0, seconds - 1, 0.95))
    eeg.band_pass(data[:, : round(20 * rate)], rate, 0.5, 45.0)  # loads what is loaded lazily
    return {
        "resample": lambda: eeg.resample(data, sfreq, new),
        "resample, MNE": lambda: mne.filter.resample(data.astype(float), up=new, down=sfreq, verbose="error"),
        "band-pass": lambda: eeg.band_pass(data, rate, 0.5, 45.0),
        "alignment": lambda: eeg.euclidean_alignment(data, rate),
        "power per volume": lambda: eeg.volume_spectra(data, rate, t_r),
    }[step]


def _bold_step(step: str, shape: tuple, zooms: tuple, n_volumes: int, t_r: float) -> Callable[[], object]:
    import nibabel
    from nilearn.image import resample_to_img

    from eegfmri import bold
    from eegfmri import registration as reg

    rng = np.random.default_rng(0)
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = [-zoom * n / 2 for zoom, n in zip(zooms, shape, strict=True)] + np.array([0, -18, 10])
    template = reg._template(4)
    head = reg.resample(reg.in_contrast_of(template, 4), reg.Grid(shape, affine))
    mean = 1000 * np.asarray(head.dataobj) / np.asarray(head.dataobj).max()
    data = np.empty((*shape, n_volumes), dtype=np.float32)
    for number in range(n_volumes):
        data[..., number] = mean + 10 * rng.standard_normal(shape, dtype=np.float32)
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_zooms((*zooms, t_r))
    reference = nibabel.Nifti1Image(np.abs(mean).astype(np.float32), affine)
    still = reg.Motion(np.repeat(np.eye(4)[None], n_volumes, axis=0), np.zeros(3))
    identity = reg.Registration(reg.Transform((np.eye(4),)), reg.Transform((np.eye(4),)))
    grid = reg.GRIDS["mni_3mm"]
    target = nibabel.Nifti1Image(np.zeros(grid.shape, np.float32), grid.affine)

    def regions():
        labels = reg.resample(bold.load_atlas().image, reg.Grid.of(image), interpolation="nearest")
        table = bold.confounds(image, bold.tissue_shares(identity.to_template, reference), still, motion_regressors=24)
        return bold.clean(bold.region_means(image, labels)[1], t_r, table)

    return {
        "slice times": lambda: bold.correct_slice_times(image, bold.acquisition_times(shape[2], t_r), t_r),
        "motion": lambda: reg.estimate_motion(image),
        "affine": lambda: reg.register_to_template(reference),
        "affine and warp": lambda: reg.register_to_template(reference, kind="syn"),
        "into MNI152 (3 mm)": lambda: bold.in_template(image, identity, grid, still),
        "into MNI152 (3 mm), nilearn": lambda: resample_to_img(
            image, target, interpolation="linear", copy_header=True, force_resample=True
        ),
        "regions and nuisance": regions,
    }[step]


def private_memory() -> int:
    """Bytes of this process that belong to no file (RssAnon on Linux; elsewhere the largest resident set so far)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _rate(read: Callable, indices) -> float:
    started = time.perf_counter()
    for index in indices:
        read(index)
    return len(indices) / (time.perf_counter() - started)


#: Benchmarks by name.
BENCHMARKS: dict[str, Callable[[], list[dict]]] = {"windows": windows, "preprocessing": preprocessing}
