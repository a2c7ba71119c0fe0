"""What the benchmark of synthesis is given of the truth: planted BOLD as an oracle, and the head's movement.

Planted BOLD is known of simulated recordings only. Movement is planted there; in real recordings it is estimated from the volumes, which
takes minutes and is kept on disk.
"""

from collections.abc import Callable

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.preprocessing import bold
from eegfmri.preprocessing.atlas import load_atlas
from eegfmri.preprocessing.registration import estimate_motion
from eegfmri.recordings import RecordingSet
from eegfmri.recovery.planted import Truth, nearest_planted
from eegfmri.windows import Windows

#: Feature that `with_planted` attaches.
PLANTED = "planted"


def with_planted(windows: Windows, recordings: RecordingSet, settings: bold.BoldSettings) -> Windows:
    """Attach the noise-free BOLD that was planted nearest to each region, drift taken out as it is of the file.

    Parameters
    ----------
    windows : Windows
        From `eegfmri.windows.volume_windows` over regional BOLD.
    recordings : RecordingSet
        Simulated ones, from which the windows were cut.
    settings : eegfmri.preprocessing.bold.BoldSettings
        With which BOLD was prepared: atlas and drift filter. Nuisance is not regressed out, for there is none.

    Returns
    -------
    Windows
        With `PLANTED`, shape (n_windows, n_regions + 1), the mean over regions last, unit variance in each run. It is no strict bound: a
        region of the file is a mean over voxels of several planted regions, in a head of its own.

    Raises
    ------
    RequestError
        If the recordings are real.
    """
    truth, by_name = Truth(recordings), {(r.subject, r.run): r for r in recordings}
    nearest = nearest_planted(load_atlas(settings.atlas, settings.n_regions).centres)

    def planted(own: Windows) -> np.ndarray:
        recording = by_name[own.table["subject"].iloc[0], own.table["run"].iloc[0]]
        series = np.asarray(truth.of_run(recording)["bold"], dtype=float)[nearest]
        series = np.concatenate([series, series.mean(axis=0, keepdims=True)])
        cleaned = bold.clean(
            series, recording.t_r, high_pass=settings.high_pass, drift=settings.drift, standardise=None,
            detrend=settings.high_pass is None,
        )  # fmt: skip
        cleaned -= cleaned.mean(axis=1, keepdims=True)
        deviation = cleaned.std(axis=1, keepdims=True)
        return (cleaned / np.where(deviation > 0, deviation, 1.0))[:, own.bold.first].T.astype(np.float32)

    return windows.with_feature(PLANTED, planted)


def rigid_motion(recordings: RecordingSet) -> Callable[[str, str], np.ndarray]:
    """Return what gives a run's movement: the planted one of simulated recordings, the estimated one of real ones.

    Parameters
    ----------
    recordings : RecordingSet
        Any.

    Returns
    -------
    callable
        Takes subject and run, returns six parameters, shape (n_volumes, 6), mm and radians. It raises `RequestError` where there is no such
        run.
    """
    by_name = {(r.subject, r.run): r for r in recordings}
    truth = Truth(recordings) if recordings.simulated else None

    def of_run(subject: str, run: str) -> np.ndarray:
        if (subject, run) not in by_name:
            raise RequestError(f"There is no run {run!r} of subject {subject!r}.")
        recording = by_name[subject, run]
        if truth is not None:
            return np.asarray(truth.of_run(recording)["motion"])
        key = cache.digest(
            "motion", bold.sources_of(recording, None, None), cache.code_digest("eegfmri.preprocessing.registration"),
            cache.versions("simpleitk"),
        )  # fmt: skip
        path = project.cache_dir() / "motion" / f"{recording.name}-{key}.npy"
        kept = cache.kept_array(
            path, lambda: estimate_motion(recording.image().slicer[..., : recording.n_volumes]).parameters
        )
        return np.asarray(cache.load_array(kept))

    return of_run
