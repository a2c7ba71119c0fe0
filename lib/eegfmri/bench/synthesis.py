"""What synthesis costs at the published size: 34 × 30 000 samples in, 53 × 63 × 52 voxels out, 8 windows at once; and one whole subject.

Beside each network the same one is trained by plain means, in the same process and in turn: torch's own pooling and dropout, and an
optimiser that goes through the weights tensor by tensor. What is called a speed-up is the ratio of these two.
"""

import copy
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from eegfmri import device as devices
from eegfmri.bench.measure import timed

N_CHANNELS, N_TIMES, SFREQ, BATCH = 34, 30_000, 1000.0, 8
GRID = "mni_3mm"

#: Timed repetitions of a step; the median is reported.
N_STEPS = 7

#: What a step of the same network by plain means is called.
PLAIN = "training step by plain means"

#: Simulated subject that goes through the whole pipeline, and how.
SUBJECT_SCALE = "full"


def synthesis() -> list[dict]:
    """Time training and inference of each network at full size, and one full-size subject end to end, each in a process of its own.

    All voxels of the grid are predicted, as the public code does, and once more only those of grey and white matter, as the pipeline
    of this book does. Weights, EEG and volumes are random: only sizes matter.

    Returns
    -------
    list of dict
        Per network: weights; seconds of a training step and of its forward pass, backward pass and optimiser; of a step of the same network
        by plain means, and the ratio; seconds to predict; private memory above what the process held before the network was built.
        For the transformer, generation with and without kept keys and values, and the teacher-forced pass that the public code
        validates with. For the subject: seconds of each stage, and private memory against the size of its windows if they were
        written out.
    """
    import multiprocessing

    from eegfmri.models.synthesis import MODELS

    rows = []
    spawn = multiprocessing.get_context("spawn")
    for name in MODELS:
        for masked in (False, True):
            with spawn.Pool(1) as pool:
                measured = pool.apply(_network, (name, masked))
            case = f"{name}, {'grey and white matter' if masked else 'all voxels'}"
            rows += [{"case": case, "measure": m, "value": value, "unit": unit} for m, value, unit in measured]
    with spawn.Pool(1) as pool:
        measured = pool.apply(_subject)
    case = f"one simulated subject, scale {SUBJECT_SCALE}"
    return rows + [{"case": case, "measure": m, "value": value, "unit": unit} for m, value, unit in measured]


def full_size_mask(masked: bool) -> np.ndarray:
    """Return the voxels that are predicted, bool, shape (53, 63, 52): all, or those of grey and white matter."""
    from eegfmri.preprocessing.volumes import template_space

    space = template_space(GRID, "grey_white")
    return space.mask if masked else np.ones(space.grid.shape, dtype=bool)


def plain(module):
    """Copy a network with torch's own layers in place of those that this library writes for speed.

    Parameters
    ----------
    module : torch.nn.Module
        From `eegfmri.models.synthesis.build`.

    Returns
    -------
    torch.nn.Module
        The same weights and, dropout aside, the same numbers.
    """
    from torch import nn

    from eegfmri.models.synthesis import AveragePool, Dropout

    made = copy.deepcopy(module)
    for inner in list(made.modules()):
        for name, child in list(inner.named_children()):
            if isinstance(child, AveragePool):
                setattr(inner, name, nn.AvgPool1d(child.size))
            elif isinstance(child, Dropout):
                setattr(inner, name, nn.Dropout(child.share))
    return made.train(module.training)


def _network(name: str, masked: bool) -> list[tuple[str, float, str]]:
    """Measure one network in this process; return measure, value and unit."""
    import torch

    from eegfmri.models import synthesis as models

    place = devices.resolve()
    torch.manual_seed(0)
    mask = torch.from_numpy(full_size_mask(masked))
    torch.ones(64, 64) @ torch.ones(64, 64)  # the library's own threads and buffers are there before memory is counted
    parts: dict[str, list[float]] = {}
    made: dict = {}

    def clocked(part: str, action: Callable):
        started = time.perf_counter()
        out = action()
        devices.wait(place)
        parts.setdefault(part, []).append(time.perf_counter() - started)
        return out

    def step(module, given, volume, optimiser, suffix: str = "") -> None:
        optimiser.zero_grad()
        predicted = clocked(f"forward pass{suffix}", lambda: module(*given))
        loss = torch.nn.functional.mse_loss(predicted, volume)
        clocked(f"backward pass{suffix}", loss.backward)
        clocked(f"optimiser{suffix}", optimiser.step)

    def begin() -> None:
        module = models.build(name, N_CHANNELS, N_TIMES, SFREQ, mask, models.full_config(name)).train().to(place)
        eeg = torch.randn(BATCH, N_CHANNELS, N_TIMES).to(place)
        volume = 0.02 * torch.randn(BATCH, int(mask.sum())).to(place)
        given = (eeg, volume) if name.startswith("transformer") else (eeg,)
        optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
        made.update(module=module, eeg=eeg, volume=volume, given=given, optimiser=optimiser)
        clocked("training step", lambda: step(module, given, volume, optimiser))

    _, memory = timed(begin)
    module, eeg, volume = made["module"], made["eeg"], made["volume"]
    other = plain(module)
    tensor_by_tensor = torch.optim.AdamW(other.parameters(), lr=1e-4, foreach=False, fused=False)
    clocked(PLAIN, lambda: step(other, made["given"], volume, tensor_by_tensor, ", plain"))
    for _ in range(N_STEPS):  # in turn, so that whatever else the machine does meets both alike
        clocked("training step", lambda: step(module, made["given"], volume, made["optimiser"]))
        clocked(PLAIN, lambda: step(other, made["given"], volume, tensor_by_tensor, ", plain"))
    module.eval()
    with torch.no_grad():
        for _ in range(N_STEPS):
            clocked(f"prediction of {BATCH} volumes", lambda: module(eeg))
            if name.startswith("transformer"):
                clocked("the same, teacher-forced", lambda: module.teacher_forced(eeg, volume))
        for _ in range(2 if name.startswith("transformer") else 0):
            clocked("the same, keys and values not kept", lambda: module.generate(eeg, cached=False))
    # The first repetition loads kernels and makes the optimiser's state: it is no part of the median.
    seconds = {part: float(np.median(values[1:])) for part, values in parts.items()}
    ours, others = seconds.pop("training step"), seconds.pop(PLAIN)
    return [
        ("voxels", int(mask.sum()), ""),
        ("weights", sum(p.numel() for p in module.parameters()) / 1e6, "million"),
        ("training step", ours, "s"),
        (PLAIN, others, "s"),
        ("speed-up over plain means", others / ours, ""),
        *((part, value, "s") for part, value in seconds.items()),
        ("private memory, training", memory, "GiB"),
    ]


def _subject() -> list[tuple[str, float, str]]:
    """Simulate one subject at full size, prepare it, cut windows, train one epoch on some blocks of time and predict another."""
    from eegfmri import project
    from eegfmri.datasets import oddball
    from eegfmri.estimators.synthesis import VolumeSynthesiser
    from eegfmri.evaluation.splits import BlockedTogether
    from eegfmri.preprocessing import eeg
    from eegfmri.preprocessing.volumes import VolumeScaling, VolumeSettings, prepare_together
    from eegfmri.simulation.simulate import simulate
    from eegfmri.windows import volume_windows

    scratch, rows, made = project.data_dir(), [], {}
    scratch.mkdir(parents=True, exist_ok=True)

    def stage(name: str, action: Callable) -> None:
        seconds, memory = timed(action, 0.2)
        rows.extend([(f"{name}: time", seconds, "s"), (f"{name}: private memory", memory, "GiB")])

    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as folder:
        root = Path(folder) / "oddball"
        stage("simulate", lambda: simulate("oddball", root, scale=SUBJECT_SCALE, n_subjects=1))
        recordings = oddball.read(root)
        of_eeg = partial(eeg.prepare, settings=eeg.EegSettings(sfreq=SFREQ, reference="recorded"))
        of_volumes = prepare_together(recordings, VolumeSettings(grid=GRID))
        stage("prepare EEG", lambda: [of_eeg(recording) for recording in recordings])
        stage("prepare volumes", lambda: [of_volumes(recording) for recording in recordings])
        windows = volume_windows(recordings, of_eeg, of_volumes)
        fold = next(BlockedTogether(3, 20.0).split(windows))
        training, test = windows[fold.train], windows[fold.test]
        targets = VolumeScaling("normalised").fit(training).targets(training)
        network = VolumeSynthesiser("siamese", sizes="full", n_training_epochs=1, batch_size=BATCH, validation="blocks")
        stage("one training epoch, Siamese", lambda: made.update(fitted=network.fit(training, targets)))
        stage("predict a third", lambda: made.update(predicted=made["fitted"].predict(test)))
        rows += [
            ("windows", len(windows), ""),
            (
                "size of the windows, if written out",
                len(windows) * int(np.prod(windows.eeg.shape[1:])) * 4 / 2**30,
                "GiB",
            ),
        ]
    return rows
