"""Windows over made-up runs of volumes whose relation to the EEG is known."""

from pathlib import Path

import numpy as np

from eegfmri import cache
from eegfmri.preprocessing.registration import Grid
from eegfmri.preprocessing.volumes import Space, VolumeStream
from eegfmri.recordings import Stream
from eegfmri.windows import Windows, volume_windows
from windows_made import MadeRecording

SFREQ, T_R = 100.0, 2.0
CHANNELS = ("Cz", "Oz", "Fz")


def made_space(size: int = 12) -> Space:
    """A ball in a cube, voxels of 10 mm."""
    at = np.indices((size, size, size)) - (size - 1) / 2
    return Space(Grid((size, size, size), np.diag([10.0, 10, 10, 1])), (at**2).sum(axis=0) < (size / 2) ** 2)


def made_runs(
    folder: Path, n_subjects: int = 4, n_runs: int = 2, n_volumes: int = 60, coupling: float = 1.0, seed: int = 0
) -> list[MadeRecording]:
    """Runs in which the power of Oz, one to two volumes earlier, raises the left half of the ball and lowers the right one.

    Intensities are 1000 times a subject's own anatomy, times 1 + 2 % of that signal, and noise of 0.5 %.
    """
    rng = np.random.default_rng(seed)
    space = made_space()
    left = np.where(np.argwhere(space.mask)[:, 0] < space.grid.shape[0] / 2, 1.0, -1.0)
    made = []
    for number in range(n_subjects):
        anatomy = 1000 * rng.uniform(0.5, 1.5, space.n_voxels)
        for run in range(n_runs):
            drive = rng.normal(size=n_volumes + 2)
            smooth = np.convolve(drive, [0.5, 0.5])[1 : n_volumes + 1]
            samples = round(T_R * SFREQ)
            eeg = rng.normal(size=(3, n_volumes * samples))
            # the drive of volume v shows in the EEG one and two volumes before it
            amplitude = np.exp(0.7 * drive[1 : n_volumes + 1])
            eeg[1] *= np.repeat(np.roll(amplitude, -1), samples)
            signal = coupling * 0.02 * smooth[:, None] * left
            volumes = anatomy * (1 + signal + rng.normal(0, 0.005, (n_volumes, space.n_voxels)))
            stem = f"sub-{number + 1:02d}_run-{run + 1}"
            streams = {
                "eeg": Stream(cache.save_array(folder / f"{stem}_eeg.npy", eeg.astype(np.float32)), SFREQ, CHANNELS),
                "volumes": VolumeStream(
                    cache.save_array(folder / f"{stem}_volumes.npy", np.asfortranarray(volumes.T.astype(np.float32))),
                    1 / T_R,
                    range(space.n_voxels),
                    start=T_R / 2,
                    space=space,
                ),
            }
            made.append(
                MadeRecording(
                    "oddball", f"{number + 1:02d}", f"run-{run + 1}", n_volumes=n_volumes, t_r=T_R, streams=streams
                )
            )
    return made


def cut_volumes(recordings, **context) -> Windows:
    """Cut windows from made runs."""
    return volume_windows(recordings, lambda r: r.streams["eeg"], lambda r: r.streams["volumes"], **context)
