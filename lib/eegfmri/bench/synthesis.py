"""What the networks of synthesis cost at the published size: 34 × 30 000 samples in, 53 × 63 × 52 voxels out, 8 windows at once."""

import time
from collections.abc import Callable

import numpy as np

from eegfmri.bench.measure import timed

N_CHANNELS, N_TIMES, SFREQ, BATCH = 34, 30_000, 1000.0, 8
GRID = "mni_3mm"

#: Timed repetitions of a step; the median is reported.
N_STEPS = 7

#: What the authors' public code takes for one training step on a machine like the one this was written on, quiet: s and GiB.
PUBLIC_CODE = {"siamese": (0.50, 1.1), "transformer": (0.17, 0.8), "convolutional_all": (6.5, 1.9)}


def synthesis() -> list[dict]:
    """Time training and inference of each network at full size, each in a process of its own.

    All voxels of the grid are predicted, as the public code does, and once more only those of grey and white matter, as the pipeline
    of this book does. Weights, EEG and volumes are random: only sizes matter.

    Returns
    -------
    list of dict
        Per network: weights; seconds of a training step and of its forward pass, backward pass and optimiser; seconds to predict; private
        memory above what the process held before the network was built. For the transformer, generation with and without kept keys
        and values, and the teacher-forced pass that the public code validates with.
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
            if not masked and name in PUBLIC_CODE:
                seconds, memory = PUBLIC_CODE[name]
                found = {measure: value for measure, value, _ in measured}
                rows += [
                    {"case": case, "measure": "training step, public code", "value": seconds, "unit": "s"},
                    {"case": case, "measure": "private memory, public code", "value": memory, "unit": "GiB"},
                    {
                        "case": case,
                        "measure": "speed-up over public code",
                        "value": seconds / found["training step"],
                        "unit": "",
                    },
                ]
    return rows


def full_size_mask(masked: bool) -> np.ndarray:
    """Return the voxels that are predicted, bool, shape (53, 63, 52): all, or those of grey and white matter."""
    from eegfmri.registration import GRIDS

    if not masked:
        return np.ones(GRIDS[GRID].shape, dtype=bool)
    from eegfmri.volumes import mask_of

    return mask_of(GRIDS[GRID], "grey_white")


def _network(name: str, masked: bool) -> list[tuple[str, float, str]]:
    """Measure one network in this process; return measure, value and unit."""
    import torch

    from eegfmri.models import synthesis as models

    torch.manual_seed(0)
    mask = torch.from_numpy(full_size_mask(masked))
    torch.ones(64, 64) @ torch.ones(64, 64)  # the library's own threads and buffers are there before memory is counted
    state: dict = {}
    parts: dict[str, list[float]] = {}

    def clocked(part: str, action: Callable):
        started = time.perf_counter()
        out = action()
        parts.setdefault(part, []).append(time.perf_counter() - started)
        return out

    def train() -> None:
        module = models.build(name, N_CHANNELS, N_TIMES, SFREQ, mask, models.full_config(name)).train()
        eeg = torch.randn(BATCH, N_CHANNELS, N_TIMES)
        volume = 0.02 * torch.randn(BATCH, int(mask.sum()))
        given = (eeg, volume) if name.startswith("transformer") else (eeg,)
        optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
        for _ in range(N_STEPS + 1):
            started = time.perf_counter()
            optimiser.zero_grad()
            predicted = clocked("forward pass", lambda: module(*given))
            loss = torch.nn.functional.mse_loss(predicted, volume)
            clocked("backward pass", loss.backward)
            clocked("optimiser", optimiser.step)
            parts.setdefault("training step", []).append(time.perf_counter() - started)
        state.update(module=module, eeg=eeg, volume=volume)

    _, training_memory = timed(train)
    module, eeg, volume = state["module"].eval(), state["eeg"], state["volume"]
    module.zero_grad(set_to_none=True)

    @torch.no_grad()
    def infer() -> None:
        for _ in range(N_STEPS):
            clocked("prediction of 8 volumes", lambda: module(eeg))
            if name.startswith("transformer"):
                clocked("the same, teacher-forced", lambda: module.teacher_forced(eeg, volume))

    infer()
    if name.startswith("transformer"):
        with torch.no_grad():
            for _ in range(2):
                clocked("the same, keys and values not kept", lambda: module.generate(eeg, cached=False))
    n_weights = sum(p.numel() for p in module.parameters())
    # The first repetition loads kernels and allocates the optimiser's state: it is no part of the median.
    found = [(part, float(np.median(seconds[1:])), "s") for part, seconds in parts.items()]
    found.sort(
        key=lambda row: (
            ("training step", "forward pass", "backward pass", "optimiser").index(row[0])
            if row[0] in parts and row[0] in ("training step", "forward pass", "backward pass", "optimiser")
            else 9
        )
    )
    return [
        ("voxels", int(mask.sum()), ""),
        ("weights", n_weights / 1e6, "million"),
        *found,
        ("private memory, training", training_memory, "GiB"),
    ]
