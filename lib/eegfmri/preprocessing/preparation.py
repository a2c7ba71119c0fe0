"""EEG and BOLD of many recordings, several prepared at once."""

from collections.abc import Callable, Iterable
from functools import partial

from eegfmri import machine
from eegfmri.preprocessing import bold, eeg
from eegfmri.preprocessing.side_by_side import prepared
from eegfmri.recordings import Recording, Stream


def prepare_all(
    recordings: Iterable[Recording],
    eeg_settings: eeg.EegSettings | None = None,
    bold_settings: bold.BoldSettings | None = None,
    n_jobs: int | None = None,
    memory: float | None = None,
) -> list[tuple[Stream | None, Stream | None]]:
    """Prepare EEG and BOLD of many recordings, several at once, or find them prepared.

    Parameters
    ----------
    recordings : iterable of Recording
        Usable ones.
    eeg_settings : EegSettings or None
        How EEG is prepared; None leaves EEG out, unless both are None.
    bold_settings : BoldSettings or None
        How BOLD is prepared; None leaves BOLD out. If both are None, both are prepared with their defaults.
    n_jobs : int or None
        Processes; as many as there are cores if None. Fewer are used where the memory is not enough for so many.
    memory : float or None
        Bytes that may be used; what is free on this machine if None.

    Returns
    -------
    list of (Stream or None, Stream or None)
        EEG and BOLD of each recording, in the order given.

    Raises
    ------
    EegFmriError
        If some cannot be prepared: one sentence that names each of them. All others are prepared then.
    """
    if eeg_settings is None and bold_settings is None:
        eeg_settings, bold_settings = eeg.EegSettings(), bold.BoldSettings()
    steps: list[Callable[[Recording], Stream | None]] = [
        nothing if eeg_settings is None else partial(eeg.prepare, settings=eeg_settings),
        nothing if bold_settings is None else partial(bold.prepare, settings=bold_settings),
    ]
    n_jobs = machine.cores() if n_jobs is None else n_jobs
    return prepared(list(recordings), steps, n_jobs, memory)


def nothing(recording: Recording) -> None:
    """Prepare nothing, for a modality that is left out."""
