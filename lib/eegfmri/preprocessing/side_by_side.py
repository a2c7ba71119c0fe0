"""Whatever is done to each of many recordings, done to several at once, as far as memory allows.

What is done is given by the caller; `eegfmri.preprocessing.preparation` prepares EEG and BOLD so. A recording that fails keeps no other
from being prepared. Nothing is kept here: steps such as `eegfmri.preprocessing.eeg.prepare` keep what they make, so that an interrupted
command, repeated, prepares what is lacking.
"""

import math
from collections.abc import Callable, Sequence

from eegfmri import executors, machine
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.recordings import Recording, Stream

#: What a process that prepares a run takes at its peak: bytes for the libraries, then bytes for each sample of EEG (8 of them are the
#: sample, as MNE reads it) and each voxel of a volume (4 are its value). Peaks of the resident memory of processes that prepared one
#: simulated run each, of every dataset in scale small, of oddball (EEG at 1 kHz) and rest in scale full (Linux, ru_maxrss): EEG took
#: 0.16 GB and 3.0 to 3.3 times its samples; BOLD 0.45 GB and its volumes once, twice with motion correction, regressors and smoothing.
#: Rounded up. EEG at the scanner's rate, which `eegfmri.preprocessing.eeg` reads a few channels at a time, takes less: too few processes
#: rather than too many.
EEG_PEAK = (0.2e9, 4 * 8.0)
BOLD_PEAK = (0.5e9, 3 * 4.0)

#: The part of the free memory that is given out: other programs want some, too.
SHARE = 0.8


def prepared(
    recordings: Sequence[Recording],
    steps: Sequence[Callable[[Recording], Stream | None]],
    n_jobs: int = 1,
    memory: float | None = None,
) -> list[tuple[Stream | None, ...]]:
    """Take some steps for each of many recordings, several recordings at once.

    Parameters
    ----------
    recordings : sequence of Recording
        Usable ones.
    steps : sequence of callable
        Each gives a recording's prepared stream, and keeps it on disk.
    n_jobs : int, default=1
        Processes, as far as memory allows; on a Dask cluster where the environment variable ``EEGFMRI_SCHEDULER`` names one.
    memory : float or None
        Bytes that may be used; what is free on this machine if None.

    Returns
    -------
    list of tuple of Stream
        What the steps have given for each recording, in the order given.

    Raises
    ------
    EegFmriError
        If steps fail, of the kind of their errors where that is one: names each recording.
    """
    if n_jobs < 1:
        raise RequestError(f"n_jobs must be 1 or more, not {n_jobs}.")
    jobs = [
        executors.Job(f"preparing run {number} of {len(recordings)}", _prepare, (recording, tuple(steps)))
        for number, recording in enumerate(recordings, 1)
    ]
    executor = executors.chosen(processes(recordings, n_jobs, memory))
    done = sorted(executors.completed(jobs, executor), key=lambda done: done.position)
    failures = {recordings[one.position].name: one.error for one in done if one.error is not None}
    if failures:
        kinds = {type(error) for error in failures.values()}
        kind = kinds.pop() if len(kinds) == 1 and kinds <= {DataError, RequestError} else EegFmriError
        reasons = "; ".join(_reason(name, error) for name, error in failures.items())
        plural = "s" if len(recordings) > 1 else ""
        raise kind(
            f"{len(failures)} of {len(recordings)} recording{plural} could not be prepared: {reasons}"
        ) from next(iter(failures.values()))
    return [one.value for one in done]


def _prepare(recording: Recording, steps: tuple[Callable[[Recording], Stream | None], ...]) -> tuple:
    return tuple(step(recording) for step in steps)


def _reason(name: str, error: Exception) -> str:
    said = (str(error) if isinstance(error, EegFmriError) else f"{type(error).__name__}: {error}").rstrip(".")
    return said if said.startswith(name) else f"{name}: {said}"


def peak_bytes(recording: Recording) -> float:
    """Estimate how many bytes of memory a process takes at its peak when it prepares a recording.

    Parameters
    ----------
    recording : Recording
        Its header says how large its signals are.

    Returns
    -------
    float
        The larger of what EEG and BOLD take, one after the other; see `EEG_PEAK`.
    """
    samples = len(recording.ch_names) * (recording.n_times or 0)
    voxels = math.prod(recording.volume_shape or (0,)) * (recording.n_volumes or 0)
    return max(EEG_PEAK[0] + EEG_PEAK[1] * samples, BOLD_PEAK[0] + BOLD_PEAK[1] * voxels)


def processes(recordings: Sequence[Recording], n_jobs: int, memory: float | None = None) -> int:
    """Return how many recordings are prepared at once.

    Parameters
    ----------
    recordings : sequence of Recording
        The largest of them counts.
    n_jobs : int
        Never more than this.
    memory : float or None
        Bytes that may be used; a part, `SHARE`, of what is free on this machine if None.

    Returns
    -------
    int
        At least 1.
    """
    if n_jobs == 1 or not recordings:
        return 1
    memory = SHARE * machine.memory()[0] if memory is None else memory
    fitting = int(memory // max(peak_bytes(recording) for recording in recordings))
    return max(1, min(n_jobs, len(recordings), fitting))
