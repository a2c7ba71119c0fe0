"""What transformer_cnn costs at the published size: one simulated subject from files to windows, a training step, a run of autoregression,
and the whole protocol projected from them.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from eegfmri import device as devices
from eegfmri import project
from eegfmri.bench.measure import timed
from eegfmri.errors import EegFmriError
from eegfmri.estimators.training import one_thread
from eegfmri.machine import tether

#: The published protocol: subjects for training and validation, pairs of each, training epochs.
N_TRAINING, N_VALIDATION, N_TEST, N_PAIRS, N_TRAINING_EPOCHS = 8, 4, 4, 295, 100
N_CHANNELS, N_BANDS, N_SEGMENTS = 63, 4, 6

#: Where is measured: on one core, as the estimators train and predict so that sums repeat to the last bit; on all. An accelerator comes
#: third, where one is meant.
PLACES = ("one core", "all cores")

#: Stages of preparing one subject, in order.
STAGES = (
    "export: read, filter, reference",
    "export: spectrograms",
    "recorder's file: artefacts, resampling, filter",
    "recorder's file: spectrograms",
    "volumes: affine map, one interpolation",
    "volumes: affine map and warp, one interpolation",
    "windows and their scaling",
)


def transformer_cnn() -> list[dict]:
    """Time a full-size simulated subject stage by stage, training steps and autoregression at the paper's size.

    Returns
    -------
    list of dict
        Seconds, and GiB of private memory at its highest above what was there before the stage; hours for 100 training
        epochs of the published protocol on this machine.
    """
    from eegfmri.simulation import simulate

    scratch = project.data_dir()
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
        root = Path(folder) / "rest"
        started = time.perf_counter()
        simulate.simulate("rest", root, scale="full", n_subjects=1)
        rows = [{"case": "one subject", "measure": "simulated", "value": time.perf_counter() - started, "unit": "s"}]
        rows += subject(root, Path(folder) / "cache")
    return rows + autoregression() + steps()


def subject(root: Path, cache: Path) -> list[dict]:
    """Time the stages from files to windows, each in a process of its own.

    Parameters
    ----------
    root : pathlib.Path
        Dataset with one subject.
    cache : pathlib.Path
        Where what is prepared is kept, empty at first.

    Returns
    -------
    list of dict
        Seconds and GiB of each of `STAGES`.
    """
    import os

    rows = []
    for stage in STAGES:
        code = f"from eegfmri.bench.transformer_cnn import run_stage; run_stage({stage!r}, {str(root)!r})"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | tether() | {"EEGFMRI_CACHE": str(cache), "EEGFMRI_ROOT": str(project.root())},
        )
        if done.returncode:
            raise EegFmriError(f"The stage {stage!r} failed: {done.stderr.strip().splitlines()[-1]}")
        seconds, memory = json.loads(done.stdout.strip().splitlines()[-1])
        rows.append({"case": "one subject", "measure": f"{stage}: time", "value": seconds, "unit": "s"})
        rows.append({"case": "one subject", "measure": f"{stage}: memory", "value": memory, "unit": "GiB"})
    return rows


def run_stage(stage: str, root: str) -> None:
    """Time one stage and print seconds and GiB as JSON; stages before it have been run."""
    print(json.dumps(timed(_stage(stage, root), 0.05)))


def _stage(stage: str, root: str) -> Callable[[], object]:
    """Return what the stage does; libraries are loaded, and what comes before it is found prepared."""
    from dataclasses import replace

    import scipy.signal  # noqa: F401

    from eegfmri.datasets import rest
    from eegfmri.preprocessing.eeg import prepare
    from eegfmri.preprocessing.spectra import SpectrogramSettings, prepare_spectrograms
    from eegfmri.preprocessing.volumes import VolumeScaling, VolumeSettings, prepare_volumes, template_space
    from eegfmri.windows import volume_windows

    export = SpectrogramSettings()
    recorded = replace(export, eeg=replace(export.eeg, sfreq=1000.0))
    volumes = VolumeSettings(grid="mni_64x64x30", mask="brain", n_dropped=5)
    template_space(volumes.grid, volumes.mask)
    source = "raw" if stage.startswith("recorder") else "export"
    [recording] = rest.read(root, source)
    if stage == STAGES[0]:
        return lambda: prepare(recording, export.eeg)
    if stage == STAGES[1]:
        return lambda: prepare_spectrograms(recording, export)
    if stage == STAGES[2]:
        return lambda: prepare(recording, recorded.eeg)
    if stage == STAGES[3]:
        return lambda: prepare_spectrograms(recording, recorded)
    if stage == STAGES[4]:
        return lambda: prepare_volumes(recording, volumes)
    if stage == STAGES[5]:
        return lambda: prepare_volumes(recording, replace(volumes, registration="syn"))

    def windows():
        made = volume_windows(
            [recording],
            lambda r: prepare_spectrograms(r, export),
            lambda r: prepare_volumes(r, replace(volumes, registration="syn")),
            eeg_seconds=N_SEGMENTS * recording.t_r,
            target="end",
        )
        targets = VolumeScaling("standardised").fit(made).targets(made)
        return made.eeg[:], targets[np.arange(16)]

    return windows


def paper_size():
    """Return the auto-encoder and the transformer at the paper's grid, with the sizes of profile ``full``."""
    import torch
    import yaml

    from eegfmri.models.transformer_cnn import (
        Autoencoder,
        AutoencoderConfig,
        TransformerCnn,
        TransformerConfig,
        UNet,
        UNetConfig,
    )
    from eegfmri.preprocessing.volumes import template_space

    profiles = yaml.safe_load((project.book_dir() / "profiles.yml").read_text(encoding="utf-8"))
    full = profiles["full"]["synthesis/transformer_cnn"]
    mask = torch.from_numpy(template_space(full["grid"], "brain").mask)
    torch.manual_seed(0)
    autoencoder = Autoencoder(mask, AutoencoderConfig(tuple(full["features"]), full["embedding"]))
    config = TransformerConfig(
        full["width"], full["n_heads"], full["n_layers"], full["n_layers"], full["feedforward"], n_past=full["n_past"]
    )
    model = TransformerCnn(autoencoder, N_CHANNELS, N_BANDS, N_SEGMENTS, config)
    unet = UNet(mask, N_CHANNELS, N_BANDS, N_SEGMENTS, UNetConfig(full["embedding"] // 2, tuple(full["unet_features"])))
    return model, unet, full


def autoregression(n_volumes: int = N_PAIRS, repeats: int = 5, places: Sequence[str] | None = None) -> list[dict]:
    """Time autoregression through one run, with kept keys and naively.

    Parameters
    ----------
    n_volumes : int, default=295
        Length of the run.
    repeats : int, default=5
        Runs of the fast way; the median is given.
    places : sequence of str or None
        ``"one core"``, as the estimators predict; ``"all cores"``; an accelerator. None: the former two, and the accelerator that is meant
        (`eegfmri.device.resolve`).

    Returns
    -------
    list of dict
        Seconds of both, their ratio, seconds for four runs side by side, and the largest difference between their predictions.
    """
    import torch

    model = paper_size()[0].eval()
    generator = torch.Generator().manual_seed(0)
    eeg = torch.randn(4, n_volumes, N_CHANNELS, N_BANDS, N_SEGMENTS, generator=generator)
    position = torch.arange(n_volumes).expand(4, -1)
    rows = []
    for place in _places() if places is None else places:
        device = _device_of(place)
        model, eeg, position = (part.to(device) for part in (model, eeg, position))

        def median(action: Callable[[], object], device=device) -> float:
            return float(np.median([_seconds(action, device) for _ in range(repeats)]))

        with torch.no_grad(), one_thread() if place == "one core" else nullcontext():
            model.generate(eeg[:1, :4], position[:1, :4])
            one = median(lambda model=model, eeg=eeg, position=position: model.generate(eeg[:1], position[:1]))
            four = median(lambda model=model, eeg=eeg, position=position: model.generate(eeg, position)) / 4
            started = time.perf_counter()
            naive = model.generate_naively(eeg[:1], position[:1])
            devices.wait(device)
            anew = time.perf_counter() - started
            apart = float((model.generate(eeg[:1], position[:1]) - naive).abs().max())
        measured = (
            ("keys and values kept", one, "s"),
            ("the past anew for every volume", anew, "s"),
            ("speed-up", anew / one, ""),
            ("kept, four runs side by side, each", four, "s"),
            ("speed-up, four runs", anew / four, ""),
            ("largest difference of a token", apart, ""),
        )
        case = f"autoregression, {n_volumes} volumes, {place}"
        rows += [{"case": case, "measure": m, "value": value, "unit": unit} for m, value, unit in measured]
    return rows


def steps(batch: int = 16, repeats: int = 3, places: Sequence[str] | None = None) -> list[dict]:
    """Time training steps at the paper's size and project the protocol from them.

    Parameters
    ----------
    batch : int, default=16
        Volumes per step of auto-encoder and U-Net; the transformer's step is a training sequence of profile ``full``.
    repeats : int, default=3
        Steps timed after one that is not; the median is given.
    places : sequence of str or None
        ``"one core"``, as the estimators train, so that sums repeat to the last bit; ``"all cores"``; an accelerator. None: the former two,
        and the accelerator if one is meant.

    Returns
    -------
    list of dict
        Seconds per step and milliseconds per volume of each network; hours of 100 training epochs on the published training
        subjects, the validation subjects predicted after each.
    """
    rows = []
    for place in _places() if places is None else places:
        with one_thread() if place == "one core" else nullcontext():
            rows += _steps(place, batch, repeats)
    return rows


def _places() -> list[str]:
    device = devices.resolve()
    return [*PLACES, *([] if device == "cpu" else [device])]


def _device_of(place: str) -> str:
    return "cpu" if place in PLACES else place


def _steps(place: str, batch: int, repeats: int) -> list[dict]:
    import torch

    device = _device_of(place)
    model, unet, full = paper_size()
    model, unet, stretch = model.to(device).train(), unet.to(device), full["stretch"]
    autoencoder, most = model.autoencoder, max(batch, full["stretch"])
    volumes = torch.randn(most, len(autoencoder.inside), device=device)
    eeg = torch.randn(1, N_PAIRS, N_CHANNELS, N_BANDS, N_SEGMENTS, device=device)
    position = torch.arange(N_PAIRS, device=device)[None]
    tokens = torch.randn(1, stretch, full["embedding"], device=device)
    cases = {
        "auto-encoder": (autoencoder, lambda: autoencoder(volumes[:batch]), batch),
        "U-Net": (unet, lambda: unet(eeg[0, :batch]), batch),
        "transformer": (model, lambda: model(eeg[:, :stretch], position[:, :stretch], tokens), stretch),
    }
    rows, per_volume = [], {}
    for name, (module, forward, n_volumes) in cases.items():
        autoencoder.requires_grad_(name == "auto-encoder")  # frozen behind the transformer
        seconds = _training_step(module, forward, volumes[:n_volumes], repeats, device)
        per_volume[name] = seconds / n_volumes
        case = f"training step, {place}"
        rows += [
            {"case": case, "measure": f"{name}, {n_volumes} volumes", "value": seconds, "unit": "s"},
            {"case": case, "measure": f"{name}, a volume", "value": 1e3 * per_volume[name], "unit": "ms"},
        ]
    with torch.no_grad():
        model.eval()
        rendered = _seconds(lambda: model.render(tokens[0]), device) / stretch
        run = _seconds(lambda: model.generate(eeg, position), device)
    training, validation = N_TRAINING * N_PAIRS, N_VALIDATION * (run + N_PAIRS * rendered)
    hours = {
        "auto-encoder, 100 training epochs": training * per_volume["auto-encoder"],
        "transformer, 100 training epochs with validation": training * per_volume["transformer"] + validation,
        # a step is a third forward, two thirds backward, or about so
        "U-Net, 100 training epochs with validation": (training + N_VALIDATION * N_PAIRS / 3) * per_volume["U-Net"],
    }
    case = f"published protocol, one split, {place}"
    return rows + [
        {"case": case, "measure": name, "value": N_TRAINING_EPOCHS * value / 3600, "unit": "h"}
        for name, value in hours.items()
    ]


def _training_step(module, forward: Callable, truth, repeats: int, device: str) -> float:
    """Median seconds of forward, backward and Adam."""
    import torch

    optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], 1e-5)

    def step() -> None:
        loss = (forward() - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    _seconds(step, device)
    return float(np.median([_seconds(step, device) for _ in range(repeats)]))


def _seconds(action: Callable[[], object], device: str) -> float:
    started = time.perf_counter()
    action()
    devices.wait(device)
    return time.perf_counter() - started
