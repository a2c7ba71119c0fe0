"""What each step of preprocessing costs on recordings of the real sizes."""

from collections.abc import Callable

import numpy as np

from eegfmri.bench.measure import timed
from eegfmri.errors import EegFmriError
from eegfmri.machine import tether


def preprocessing() -> list[dict]:
    """Time every step of preprocessing on one recording of each dataset's full size, beside MNE's and nilearn's plain way.

    Arrays hold noise (BOLD: a head-like mean volume with noise), since only their size matters here. Each step runs once in a
    process of its own, so that its memory can be told from the others'.

    Returns
    -------
    list of dict
        Seconds, and GiB of private memory at its highest above what was there before the step.
    """
    import json
    import os
    import subprocess
    import sys

    rows = []
    for case, steps in PREPROCESSING.items():
        for step in steps:
            code = (
                f"from eegfmri.bench.preprocessing import _preprocessing_step; _preprocessing_step({case!r}, {step!r})"
            )
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code],
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | tether(),
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
    """Time one step and print seconds and GiB as JSON."""
    import json

    size = _SIZES[case.partition(",")[0]]
    action = _eeg_step(step, *size) if "EEG" in case else _bold_step(step, *size)
    seconds, memory = timed(action)
    print(json.dumps([round(seconds, 3), round(memory, 3)]))


def _eeg_step(step: str, n_channels: int, seconds: int, sfreq: float, t_r: float) -> Callable[[], object]:
    import mne
    import scipy.signal  # noqa: F401

    from eegfmri.preprocessing import eeg, spectra

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
        "power per volume": lambda: spectra.volume_spectra(data, rate, t_r),
    }[step]


def _bold_step(step: str, shape: tuple, zooms: tuple, n_volumes: int, t_r: float) -> Callable[[], object]:
    import nibabel
    from nilearn.image import resample_to_img

    from eegfmri.preprocessing import bold
    from eegfmri.preprocessing import registration as reg

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
