"""Preparing EEG: from a recorder's file to a clean array at a working rate. Its power is `eegfmri.preprocessing.spectra`'s matter.

Each step is a function on MNE's Raw or on an array; `prepare` strings them together for one recording and keeps the
result on disk. Everything here looks at one run alone; where a step uses a statistic of the whole run, its docstring
calls it transductive and names the variant that uses the first minutes only.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eegfmri import cache, project
from eegfmri.errors import RequestError
from eegfmri.machine import cores
from eegfmri.recordings import Recording, Stream

#: Frequency bands in Hz, lower edge inclusive.
BANDS = {"delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0), "gamma": (30.0, 45.0)}

#: Rate in Hz at which the pulse artefact is removed: it ends below 30 Hz, and at 5 kHz the same fit costs twenty times more.
PULSE_RATE = 250.0

#: Channels that the pulse artefact is removed from together.
_CHANNELS_AT_ONCE = 8

#: Fewer beats than this have no artefact in common that could be taken away.
_FEWEST_BEATS = 2

#: Samples (channels × times) that are read from a recorder's file at once; 256 MiB in double precision.
SAMPLES_AT_ONCE = 2**25

#: MNE's types of the channels that the gradient artefact is removed from.
_IN_SCANNER = ("eeg", "eog", "ecg")

#: Pairs of electrodes that stand for the mastoids, in the order in which they are looked for.
MASTOIDS = (("TP9", "TP10"), ("M1", "M2"), ("A1", "A2"), ("LM", "RM"))


@dataclass(frozen=True)
class EegSettings:
    """How EEG is prepared; every field is part of the cache key.

    Attributes
    ----------
    sfreq : float
        Working rate in Hz.
    l_freq, h_freq : float or None
        Edges of the band-pass in Hz; None for no edge.
    remove_artefacts : bool or None
        Remove gradient and pulse artefacts; None does so for recordings at the scanner's own rate.
    reference : str or tuple of str
        What the signals are referenced to, see `rereference`.
    recover : str or None
        Name of the electrode that the recorder used as reference, to be given back as a channel (``"FCz"``).
    """

    sfreq: float = 100.0
    l_freq: float | None = 0.5
    h_freq: float | None = 45.0
    remove_artefacts: bool | None = None
    reference: str | tuple[str, ...] = "average"
    recover: str | None = None


def prepare(recording: Recording, settings: EegSettings | None = None) -> Stream:
    """Prepare one recording's EEG, or find it prepared.

    The steps: open from the first volume on; remove gradient and pulse artefacts where they are; interpolate channels
    the header lacks; resample by a polyphase filter; band-pass by a zero-phase FIR filter; re-reference. What happens at the
    recorder's rate happens to a few channels at a time (`SAMPLES_AT_ONCE`): a run is in memory at the lower rate only.

    Parameters
    ----------
    recording : Recording
        A usable recording.
    settings : EegSettings or None
        Rate, filter and artefact removal.

    Returns
    -------
    Stream
        Volts, float32, shape (n_channels, n_times). Its notes say where the pulse artefact could not be removed. Its gaps are the spans
        that annotations call bad; the array has values there, so that filters may follow, and `with_gaps` makes them NaN.

    Raises
    ------
    DataError
        If the recording is not usable.
    """
    settings = settings or EegSettings()
    recording.require_signals()
    key = cache.digest(
        "eeg",
        [cache.file_stamp(path) for path in recording.files() if path != recording.bold_file],
        recording.first_sample,
        recording.t_r,
        recording.n_volumes,
        asdict(settings),
        cache.code_digest("eegfmri.preprocessing.eeg", type(recording).__module__),
        cache.versions("mne", "scipy"),
    )
    path = project.cache_dir() / "eeg" / f"{recording.name}-{key}.npy"
    names = recording.scalp_channels
    found = _kept(path)
    if found is None:
        with cache.making(path):
            found = _kept(path) or _prepare(recording, settings, path)
    return Stream(
        path,
        settings.sfreq,
        with_recovered(names, settings.recover),
        notes=tuple(found["notes"]),
        gaps=tuple((onset, duration) for onset, duration in found["gaps"]),
    )


def _kept(path: Path) -> dict | None:
    """Return what stands beside prepared EEG, its notes and gaps; None if either is not there, whole."""
    return cache.kept_json(path.with_suffix(".json")) if cache.is_whole(path) else None


def _prepare(recording: Recording, settings: EegSettings, path: Path) -> dict:
    """Prepare a recording's EEG, keep it and what stands beside it, and return the latter."""
    names = recording.scalp_channels
    raw, notes = recording.raw(), []
    gaps = [(onset, duration) for onset, duration in bad_spans(raw) if duration > 0]
    if gaps:
        seconds = sum(duration for _, duration in gaps)
        notes.append(
            f"{recording.name}: {seconds:.1f} s of EEG are called bad, and windows that touch them are left out."
        )
    scanner = recording.has_gradient_artefact if settings.remove_artefacts is None else settings.remove_artefacts
    wanted = [name for name in raw.ch_names if name in names]
    if not scanner:
        raw = _resampled(raw, settings.sfreq, wanted)
    else:
        wanted += [name for name in _of_types(raw, ("ecg",)) if name not in wanted]
        clean = _gradient_remover(raw, recording.t_r, recording.n_volumes)
        raw = _resampled(raw, min(raw.info["sfreq"], max(PULSE_RATE, settings.sfreq)), wanted, clean)
        beats = heart_beats(raw)
        if len(beats) < _FEWEST_BEATS:
            why = "its ECG shows no heart beats" if "ecg" in raw.get_channel_types() else "it has no ECG channel"
            notes.append(f"{recording.name}: the pulse artefact is still in the EEG, because {why}.")
        raw = remove_pulse_artefact(raw, beats=beats)
    raw = with_channels(raw, names)
    data = resample(raw.get_data(), raw.info["sfreq"], settings.sfreq)
    data = band_pass(data, settings.sfreq, settings.l_freq, settings.h_freq)
    data, _ = rereference(data, names, settings.reference, settings.recover)
    found = {"notes": notes, "gaps": gaps}
    cache.keep_json(path.with_suffix(".json"), found)
    cache.save_array(path, data.astype(np.float32))
    return found


def remove_gradient_artefact(raw, t_r: float, n_volumes: int, window: int = 8):
    """Subtract the average gradient artefact around each volume :cite:p:`allen2000`.

    The scanner repeats itself exactly, the brain does not: the mean over neighbouring volumes is the artefact plus an
    n-th of the brain's variance. MNE leaves the half window at either end of a run as it is; there, the template is made of
    as many volumes to one side.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded, starting with the first volume.
    t_r : float
        Repetition time in s; a volume should last a whole number of samples, to within one.
    n_volumes : int
        Number of volumes.
    window : int, default=8
        Volumes averaged into each template, even. More keep more of the brain (a template adds 1/window of its
        variance), fewer follow a moving head better.

    Returns
    -------
    mne.io.BaseRaw
        A copy without the artefact in every volume that the signal covers whole; the rest is as it was.

    Raises
    ------
    RequestError
        If the window is odd, or the run has too few volumes for it.
    """
    clean = _gradient_remover(raw, t_r, n_volumes, window)
    raw = raw.copy()
    for name in _of_types(raw, _IN_SCANNER):
        clean(raw._data[raw.ch_names.index(name)])
    return raw


def _of_types(raw, types: Sequence[str]) -> list[str]:
    """Names of the channels of some types, in order."""
    return [name for name, kind in zip(raw.ch_names, raw.get_channel_types(), strict=True) if kind in types]


def _gradient_remover(raw, t_r: float, n_volumes: int, window: int = 8) -> Callable[[np.ndarray], None]:
    """Return what takes the gradient artefact out of one channel's signal, shape (n_times,), in place."""
    samples = t_r * raw.info["sfreq"]
    length, starts = round(samples), np.round(np.arange(n_volumes) * samples).astype(int)
    starts = starts[starts + length <= raw.n_times]
    if window < 2 or window % 2 or len(starts) <= window:
        raise RequestError(
            f"A template of {window} volumes cannot be made in a run of {len(starts)} whole volumes: give an even number below it."
        )
    line = np.arange(length) - (length - 1) / 2
    line /= np.linalg.norm(line)

    def clean(signal: np.ndarray) -> None:
        volumes = np.stack([signal[start : start + length] for start in starts])
        for number, start in enumerate(starts):
            before, after = _neighbours(number, len(starts), window)
            others = volumes[number - before : number].sum(axis=0)
            others += volumes[number + 1 : number + 1 + after].sum(axis=0)
            # MNE takes its straight line from each volume first; that is linear, so it may as well be taken from the difference
            left = volumes[number] - others / window
            left -= left.mean()
            signal[start : start + length] = left - (line @ left) * line

    return clean


def _neighbours(number: int, n_volumes: int, window: int) -> tuple[int, int]:
    """How many volumes before and after one make its template: half of them each, at the ends all to one side if there are as many."""
    half = window // 2
    before = 0 if number < half else window if number >= n_volumes - half else half
    before = max(min(before, number), window - (n_volumes - 1 - number))
    return before, window - before


def remove_pulse_artefact(raw, n_components: int = 4, beats: np.ndarray | None = None):
    """Remove the pulse artefact by optimal basis sets on the heart's beats :cite:p:`niazy2005`.

    The algorithm is that of MNE's ``apply_pca_obs``, which fits and bridges beat by beat in each channel anew; here all beats of a
    channel are fitted together and a gap between two beats is bridged in several channels at once.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded.
    n_components : int, default=4
        Number of principal components of the artefact to subtract.
    beats : numpy.ndarray or None
        Times of the R peaks in s from the first sample; found in the ECG channel if None.

    Returns
    -------
    mne.io.BaseRaw
        A copy without the artefact; ``raw`` itself where there are fewer than two beats, which `prepare` notes.
    """
    beats = heart_beats(raw) if beats is None else np.asarray(beats, dtype=float)
    if len(beats) < _FEWEST_BEATS:
        return raw
    peaks = raw.time_as_index(beats)
    peaks = peaks[peaks < raw.n_times]
    if len(peaks) < _FEWEST_BEATS:
        return raw
    raw = raw.copy()
    rows = [raw.ch_names.index(name) for name in _of_types(raw, ("eeg",))]
    for start in range(0, len(rows), _CHANNELS_AT_ONCE):
        some = rows[start : start + _CHANNELS_AT_ONCE]
        centred = raw._data[some] - raw._data[some].mean(axis=1, keepdims=True)
        raw._data[some] = centred - _pulse_artefact(centred, peaks, n_components)
    return raw


def _pulse_artefact(data: np.ndarray, peaks: np.ndarray, n_components: int) -> np.ndarray:
    """Estimate the pulse artefact, shape (n_channels, n_times), from R peaks in samples.

    A beat is what lies half a median interval around its peak. Each is fitted by the mean beat and the components of all; where the
    next begins later than half an interval after this one, a monotone cubic leads from one fit to the other.
    """
    from scipy.interpolate import PchipInterpolator

    half = round(np.median(np.diff(peaks)) / 2)
    peaks = peaks[peaks + half < data.shape[1]]
    intervals = np.minimum(np.diff(peaks) // 2, half)
    before, after = np.r_[half, intervals], np.r_[intervals, half]
    fitted = np.flatnonzero((peaks >= half) & (peaks > before))
    around = peaks[:, None] + np.arange(-half, half + 1)
    learnt = around[1:][peaks[1:] >= half]
    if not len(learnt):
        return np.zeros_like(data)
    fits = np.stack([_fitted_beats(signal, learnt, around[fitted], n_components) for signal in data])
    artefact, n_knots, end = np.zeros_like(data), round(half / 8), None
    for place, number in enumerate(fitted):
        first = peaks[number] - before[number]
        # as in MNE, a fit lies one sample earlier than what it was fitted to
        artefact[:, first - 1 : peaks[number] + after[number]] = fits[
            :, place, half - before[number] : half + 1 + after[number]
        ]
        if end is not None and end < first:
            knots = np.r_[end - n_knots : end + 1, first : first + n_knots + 1]
            bridge = PchipInterpolator(knots, artefact[:, knots], axis=1)
            artefact[:, end : first + 1] = bridge(np.arange(end, first + 1))
        end = peaks[number] + after[number]
    return artefact


def _fitted_beats(signal: np.ndarray, learnt: np.ndarray, fitted: np.ndarray, n_components: int) -> np.ndarray:
    """Fit the beats of one channel, samples of shape (n_beats, n_samples), by the mean and the first components of those to learn from."""
    from scipy.linalg import eigh

    beats = signal[learnt]
    beats = beats - beats.mean(axis=1, keepdims=True)
    mean = beats.mean(axis=0)
    beats -= mean
    basis = mean[:, None]
    n_components = min(n_components, *beats.shape)
    if n_components > 0:
        # of the decomposition only these few are needed: the eigenvectors of the covariance are had for less than all singular vectors
        last = beats.shape[1] - 1
        values, vectors = eigh(beats.T @ beats, subset_by_index=[last + 1 - n_components, last])
        sizes = np.sqrt(np.maximum(values, 0) / max(1, len(beats) - 1))
        basis = np.column_stack([mean, vectors * sizes])  # (n_samples, 1 + n_components)
    wanted = signal[fitted]
    wanted = wanted - wanted.mean(axis=1, keepdims=True)
    return (basis @ np.linalg.lstsq(basis, wanted.T, rcond=None)[0]).T


def heart_beats(raw) -> np.ndarray:
    """Find the R peaks in the ECG channel.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded.

    Returns
    -------
    numpy.ndarray
        Times in s from the first sample; empty without an ECG channel.
    """
    from mne.preprocessing import find_ecg_events

    if "ecg" not in raw.get_channel_types():
        return np.empty(0)
    return (find_ecg_events(raw, verbose="error")[0][:, 0] - raw.first_samp) / raw.info["sfreq"]


def with_channels(raw, ch_names: tuple[str, ...]):
    """Pick channels in a given order; those that are lacking are interpolated by spherical splines.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded; channels under canonical names of the extended 10–20 system.
    ch_names : tuple of str
        The channels wanted.

    Returns
    -------
    mne.io.BaseRaw
        Exactly these channels, in this order.
    """
    import mne

    raw = raw.copy().pick([name for name in ch_names if name in raw.ch_names])
    lacking = [name for name in ch_names if name not in raw.ch_names]
    if lacking:
        empty = mne.io.RawArray(
            np.zeros((len(lacking), raw.n_times)),
            mne.create_info(lacking, raw.info["sfreq"], "eeg"),
            raw.first_samp,
            verbose="error",
        )
        raw = raw.add_channels([empty], force_update_info=True)
        raw.set_montage("standard_1020", match_case=False, verbose="error")
        raw.info["bads"] = lacking
        raw.interpolate_bads(verbose="error")
    return raw.reorder_channels(list(ch_names))


def resample(data: np.ndarray, sfreq: float, new_sfreq: float) -> np.ndarray:
    """Resample along time by a polyphase filter.

    Parameters
    ----------
    data : numpy.ndarray
        Shape (..., n_times).
    sfreq, new_sfreq : float
        Rates in Hz; their ratio must be rational with a denominator up to 1000.

    Returns
    -------
    numpy.ndarray
        Shape (..., ceil(n_times * new_sfreq / sfreq)).
    """
    from fractions import Fraction

    from scipy.signal import resample_poly

    ratio = Fraction(new_sfreq / sfreq).limit_denominator(1000)
    if ratio == 1:
        return data
    data = np.asarray(data)
    data = data if data.dtype == np.float32 else data.astype(float, copy=False)
    rows = data.reshape(-1, data.shape[-1])
    n_new = -(-data.shape[-1] * ratio.numerator // ratio.denominator)
    out = np.empty((len(rows), n_new), dtype=data.dtype)

    def fill(number: int) -> None:
        out[number] = resample_poly(rows[number], ratio.numerator, ratio.denominator, padtype="line")

    # row by row stays in the processor's cache, and scipy filters without holding the interpreter
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(fill, range(len(rows))))
    return out.reshape(*data.shape[:-1], n_new)


def resample_raw(raw, new_sfreq: float):
    """Resample all channels of MNE's Raw by `resample`.

    MNE's own polyphase resampling takes the new number of samples over the old one as its ratio. Where that is not exactly the ratio
    of the rates it stretches time to fit, and its filter becomes as long as the run.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Loaded.
    new_sfreq : float
        Rate wanted, in Hz.

    Returns
    -------
    mne.io.BaseRaw
        A copy that starts with the same sample; channels, their types and positions, bad channels and annotations are kept. ``raw``
        itself if it has this rate already.
    """
    return raw if new_sfreq == raw.info["sfreq"] else _resampled(raw, new_sfreq, raw.ch_names)


def _resampled(raw, new_sfreq: float, names: Sequence[str], clean: Callable[[np.ndarray], None] | None = None):
    """Resample some channels, in the order of ``raw``, after taking the gradient artefact out of those that have it.

    Neighbours are read together, with what lies between them: where the recorder wrote sample after sample, one channel costs a
    passage through the whole file, and MNE copies all channels for a choice with gaps.
    """
    import mne

    names = [name for name in raw.ch_names if name in names]
    if not names:
        raise RequestError("None of the channels wanted is in the recording: see what its header names.")
    sfreq, rows = raw.info["sfreq"], np.array([raw.ch_names.index(name) for name in names])
    in_scanner = set(_of_types(raw, _IN_SCANNER))
    n_at_once = max(1, SAMPLES_AT_ONCE // raw.n_times)
    data, done = None, 0
    while done < len(rows):
        n = np.count_nonzero(rows[done:] < rows[done] + n_at_once)
        first, last = rows[done], rows[done + n - 1]
        block = raw.get_data(picks=np.arange(first, last + 1))
        if len(block) > n:
            block = block[rows[done : done + n] - first]
        for name, signal in zip(names[done : done + n], block, strict=True):
            if clean is not None and name in in_scanner:
                clean(signal)
        block = resample(block, sfreq, new_sfreq)
        if data is None:
            data = np.empty((len(rows), block.shape[1]))
        data[done : done + n] = block
        done += n
        del block  # before the next is read
    kinds = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    new = mne.io.RawArray(data, mne.create_info(names, new_sfreq, [kinds[name] for name in names]), verbose="error")
    new.set_montage(raw.get_montage(), on_missing="ignore", verbose="error")
    new.info["bads"] = [name for name in raw.info["bads"] if name in names]
    kept = raw.annotations
    onset = kept.onset - _first_time(raw)
    kept = mne.Annotations(onset, kept.duration, kept.description, ch_names=kept.ch_names)
    return new.set_annotations(kept, emit_warning=False)  # of those that lie before or after the signal


def band_pass(data: np.ndarray, sfreq: float, l_freq: float | None, h_freq: float | None) -> np.ndarray:
    """Band-pass with MNE's zero-phase FIR filter, which reaches 1.65 / l_freq s to each side (less for edges above 2 Hz)."""
    from mne.filter import filter_data

    h_freq = None if h_freq is not None and h_freq >= sfreq / 2 else h_freq
    return filter_data(np.asarray(data, dtype=float), sfreq, l_freq, h_freq, verbose="error")


def average_reference(data: np.ndarray) -> np.ndarray:
    """Subtract the mean over channels, shape (..., n_channels, n_times)."""
    return data - data.mean(axis=-2, keepdims=True)


def rereference(
    data: np.ndarray, ch_names: Sequence[str], to: str | Sequence[str] = "average", recover: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reference signals to other electrodes, by name.

    Parameters
    ----------
    data : numpy.ndarray
        Shape (..., n_channels, n_times), all against one common electrode.
    ch_names : sequence of str
        Names of the channels.
    to : str or sequence of str, default="average"
        ``"average"`` of all channels; ``"mastoids"``, the mean of the pair in `MASTOIDS` that is there; a channel;
        several, for their mean; ``"recorded"`` to leave it.
    recover : str or None
        The electrode that ``data`` is referenced to. Its own signal is zero throughout; it is added as the last channel
        before anything else, and takes part in an average.

    Returns
    -------
    data : numpy.ndarray
        Shape (..., n_channels, n_times), one more channel if one was recovered.
    ch_names : tuple of str
        Their names.

    Raises
    ------
    RequestError
        If a channel is not there, or the one to recover is.

    Examples
    --------
    Two electrodes recorded against a third, which comes back and takes part in the average:

    >>> import numpy as np
    >>> data, names = rereference(np.array([[3.0], [6.0]]), ("Cz", "Oz"), "average", recover="FCz")
    >>> print(dict(zip(names, data[:, 0].tolist())))
    {'Cz': 0.0, 'Oz': 3.0, 'FCz': -3.0}
    """
    names = tuple(ch_names)
    if recover is not None:
        if recover in names:
            raise RequestError(f"{recover} is a channel of the data already, so it is not the recorded reference.")
        data = np.concatenate([data, np.zeros_like(data[..., :1, :])], axis=-2)
        names = with_recovered(names, recover)
    if to == "recorded":
        return data, names
    if to == "average":
        return average_reference(data), names
    if to == "mastoids":
        wanted = next((pair for pair in MASTOIDS if set(pair) <= set(names)), None)
        if wanted is None:
            pairs = ", ".join("/".join(pair) for pair in MASTOIDS)
            raise RequestError(
                f"No pair of mastoid electrodes ({pairs}) is among the channels: choose another reference."
            )
    else:
        wanted = (to,) if isinstance(to, str) else tuple(to)
    lacking = [name for name in wanted if name not in names]
    if lacking or not wanted:
        raise RequestError(
            f"The reference {', '.join(lacking) or '()'} is not among the channels {', '.join(names)}: "
            "name channels, 'average', 'mastoids' or 'recorded'."
        )
    rows = [names.index(name) for name in wanted]
    return data - data[..., rows, :].mean(axis=-2, keepdims=True), names


def with_recovered(ch_names: Sequence[str], recover: str | None) -> tuple[str, ...]:
    """Names of the channels after `rereference` with the same ``recover``."""
    return (*ch_names, recover) if recover else tuple(ch_names)


def whitening(windows: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
    """Inverse square root of the mean spatial covariance, for Euclidean alignment :cite:p:`he2020`.

    With the windows Xᵢ of one subject, R = mean of Xᵢ Xᵢᵀ / n_times; the result is R^(-1/2) on the range of R and 0 outside
    it. An average reference takes one dimension away, so R has no inverse; there is nothing there to whiten either.

    Parameters
    ----------
    windows : numpy.ndarray
        Shape (n_windows, n_channels, n_times); windows that hold a NaN are left out.
    tolerance : float, default=1e-9
        Eigenvalues below this share of the largest count as 0.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels, n_channels), symmetric, in 1/V for windows in V.

    Raises
    ------
    RequestError
        If no window without a gap is left, or all are 0.
    """
    windows = np.asarray(windows)
    whole = ~np.isnan(windows).any(axis=(1, 2))
    if not whole.any():
        raise RequestError(f"None of {len(windows)} windows is free of gaps: alignment needs at least one.")
    covariance = np.zeros((windows.shape[1],) * 2)
    for window in windows[whole]:
        window = window.astype(float)
        covariance += window @ window.T / window.shape[1]
    values, vectors = np.linalg.eigh(covariance / whole.sum())
    kept = values > tolerance * values[-1]
    if values[-1] <= 0:
        raise RequestError("The windows are 0 throughout: alignment needs signals.")
    return (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T


def euclidean_alignment(
    eeg: np.ndarray, sfreq: float, seconds: float = 30.0, calibration_minutes: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Whiten a run by its own mean spatial covariance, so that subjects become comparable :cite:p:`he2020`.

    Without ``calibration_minutes`` this is **transductive**: the covariance is that of the whole run, unlabelled test windows
    included. With it, only the first minutes are used, as a calibration that could be recorded before anything is predicted;
    a test score that is meant to hold for subjects yet to come should use that variant, or show both.

    Parameters
    ----------
    eeg : numpy.ndarray
        Shape (n_channels, n_times).
    sfreq : float
        Hz.
    seconds : float, default=30.0
        Length of the windows that covariances are averaged over; the last incomplete one is left out.
    calibration_minutes : float or None
        Use only so many minutes from the start.

    Returns
    -------
    aligned : numpy.ndarray
        Shape (n_channels, n_times), without unit; the mean covariance of the windows used is the identity on its range.
    matrix : numpy.ndarray
        What it was multiplied with, shape (n_channels, n_channels).

    Raises
    ------
    RequestError
        If there is not one whole window to learn from.
    """
    eeg = np.asarray(eeg)
    length = round(seconds * sfreq)
    n_times = (
        eeg.shape[1] if calibration_minutes is None else min(eeg.shape[1], round(60 * calibration_minutes * sfreq))
    )
    n_windows = n_times // length
    if n_windows < 1:
        raise RequestError(
            f"{n_times / sfreq:g} s of EEG hold no window of {seconds:g} s: take more minutes or shorter windows."
        )
    windows = eeg[:, : n_windows * length].reshape(len(eeg), n_windows, length).swapaxes(0, 1)
    matrix = whitening(windows)
    return (matrix @ eeg).astype(eeg.dtype), matrix


def bad_spans(raw) -> list[tuple[float, float]]:
    """Spans that annotations call bad, as (onset, duration) in s from the first sample: descriptions that begin with "bad"."""
    first = _first_time(raw)
    return [
        (float(a["onset"] - first), float(a["duration"]))
        for a in raw.annotations
        if a["description"].lower().startswith("bad")
    ]


def _first_time(raw) -> float:
    """Time of the first sample in s, on the clock of the onsets of annotations."""
    return raw.first_time if raw.annotations.orig_time is not None else 0.0


def with_gaps(data: np.ndarray, sfreq: float, spans: Iterable[tuple[float, float]]) -> np.ndarray:
    """Set spans to NaN, after filters and before power is measured.

    Parameters
    ----------
    data : numpy.ndarray
        Shape (..., n_times).
    sfreq : float
        Hz.
    spans : iterable of (float, float)
        Onset and duration in s from the first sample.

    Returns
    -------
    numpy.ndarray
        A copy; every sample that a span touches is NaN.
    """
    data = np.array(data, dtype=np.result_type(np.asarray(data).dtype, np.float32))
    for onset, duration in spans:
        first, last = int(np.floor(onset * sfreq)), int(np.ceil((onset + duration) * sfreq))
        data[..., max(first, 0) : max(last, 0)] = np.nan
    return data
