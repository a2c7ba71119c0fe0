"""The gate that every EEG passes: real numbers, finite or a gap that is named, of the size that a head makes.

A header can say anything; what a scalp gives is known to within a few orders of magnitude, so a unit that was misread shows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from eegfmri import cache
from eegfmri.errors import DataError, reading
from eegfmri.examined import remembered, require_unchanged, stamp_of

#: Root mean square (V) of scalp EEG: the least, the most once the scanner's artefacts are gone, the most with them.
LEAST, MOST, MOST_IN_SCANNER = 1e-7, 1e-3, 1e-1

#: More (V) than any amplifier for EEG takes: a sample beyond it is no measurement, and is treated like one that is NaN.
LARGEST = 1.0

#: How many times a channel may be larger or smaller than the median channel before it is named.
MOST_UNLIKE = 100.0

#: What is left (V) of a signal that does not vary once its mean is subtracted.
SMALLEST = 1e-15

#: A recording of which more than this share has a channel without values is of no use.
MOST_GAPS = 0.5

#: Seconds that are looked at for the size of a signal, and of a block that is searched for gaps.
_SECONDS, _LOOKS = 1.0, 20

#: How MNE's measurement info marks channels of voltages of the body: EEG, EOG, EMG, ECG (``FIFFV_EEG_CH`` and so on).
_BODY = (2, 202, 302, 402)

#: What the annotation of a gap is called; names that begin with BAD are left out by MNE as well.
GAP = "BAD_gap"


@dataclass(frozen=True)
class Signals:
    """What was found in the samples of an EEG.

    Attributes
    ----------
    rms : float
        Median over scalp channels and moments of the root mean square about the mean, in V.
    gaps : tuple of (int, int)
        First sample and the one after the last of every stretch in which a channel has no value, or one beyond `LARGEST`.
    unlike : dict of str to float
        Root mean square (V) of channels that are `MOST_UNLIKE` times larger or smaller than the median channel.
    lacking : dict of str to int
        Samples without a value of channels off the scalp: eyes, heart, muscles.
    """

    rms: float
    gaps: tuple[tuple[int, int], ...] = ()
    unlike: dict[str, float] = field(default_factory=dict)
    lacking: dict[str, int] = field(default_factory=dict)

    def facts(self) -> dict:
        """What JSON can hold."""
        gaps = [list(gap) for gap in self.gaps]
        return {"rms": self.rms, "gaps": gaps, "unlike": self.unlike, "lacking": self.lacking}

    @classmethod
    def of(cls, facts: dict) -> "Signals":
        """Read `facts`."""
        gaps = tuple((int(first), int(last)) for first, last in facts["gaps"])
        return cls(float(facts["rms"]), gaps, dict(facts["unlike"]), dict(facts["lacking"]))


def examine(raw, picks: Sequence[str], *files: Path) -> Signals:
    """Look at the samples of an EEG once and remember what was found.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Not loaded.
    picks : sequence of str
        Its scalp channels.
    *files : pathlib.Path
        Files that the samples come from.

    Returns
    -------
    Signals
        Size and gaps. Files of 16 bits have no gaps; of those some moments are read, of others everything.
    """
    stamp = [[cache.file_stamp(path) for path in files], list(picks), cache.code_digest(__name__)]
    return Signals.of(remembered(stamp, lambda: _look(raw, picks).facts()))


def _look(raw, picks: Sequence[str]) -> Signals:
    rows = [raw.ch_names.index(name) for name in picks]
    whole = raw.orig_format != "short"

    def blocks(starts, length) -> Iterator[tuple[int, np.ndarray]]:
        for start in starts:
            yield start, raw[rows, start : min(start + length, raw.n_times)][0]

    length = max(1, min(raw.n_times, round(_SECONDS * raw.info["sfreq"])))
    starts = np.unique(np.linspace(0, raw.n_times - length, _LOOKS).astype(int))
    rms, unlike = _sizes((block for _, block in blocks(starts, length)), picks)
    step = max(length, 20_000)
    if not whole:
        return Signals(rms, (), unlike)
    starts = range(0, raw.n_times, step)
    gaps, lacking = _gaps(blocks(starts, step)), Counter()
    others = [i for i, channel in enumerate(raw.info["chs"]) if channel["kind"] in _BODY and i not in rows]
    for start in starts if others else ():
        missing = ~(np.abs(raw[others, start : min(start + step, raw.n_times)][0]) <= LARGEST)
        lacking.update({raw.ch_names[i]: int(count) for i, count in zip(others, missing.sum(axis=1), strict=True)})
    return Signals(rms, gaps, unlike, {name: count for name, count in lacking.items() if count})


def examine_array(data: np.ndarray, sfreq: float, names: Sequence[str]) -> Signals:
    """Look at samples in memory, shape (n_channels, n_times), V, see `examine`."""
    length = max(1, min(data.shape[1], round(_SECONDS * sfreq)))
    starts = np.unique(np.linspace(0, data.shape[1] - length, _LOOKS).astype(int))
    rms, unlike = _sizes((data[:, start : start + length] for start in starts), names)
    return Signals(rms, _gaps([(0, data)]), unlike)


def _sizes(blocks: Iterable[np.ndarray], names: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Return the median root mean square over channels and moments, and the channels that are not of its kind."""
    sizes = np.full((0, len(names)), np.nan)
    for block in blocks:
        plain = np.asarray(block, dtype=float)
        with np.errstate(all="ignore"):
            spread = np.where(np.isfinite(plain).all(axis=1), np.std(plain, axis=1), np.nan)
        sizes = np.vstack([sizes, spread])
    if not np.isfinite(sizes).any():
        return 0.0, {}
    rms, unlike = float(np.nanmedian(sizes)), {}
    for name, column in zip(names, sizes.T, strict=True):
        own = float(np.median(column[np.isfinite(column)])) if np.isfinite(column).any() else None
        if own is not None and not rms / MOST_UNLIKE <= own <= rms * MOST_UNLIKE:
            unlike[name] = own
    return rms, unlike


def _gaps(blocks) -> tuple[tuple[int, int], ...]:
    gaps: list[list[int]] = []
    for start, block in blocks:
        missing = ~(np.abs(block) <= LARGEST).all(axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2] + start, edges[1::2] + start, strict=True):
            if gaps and gaps[-1][1] == first:
                gaps[-1][1] = int(last)
            else:
                gaps.append([int(first), int(last)])
    return tuple((first, last) for first, last in gaps)


def judge(
    signals: Signals, name: str, unit: str, n_times: int, sfreq: float, in_scanner: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Refuse signals that no scalp gives; say where they have gaps, and which channels are not like the others.

    Parameters
    ----------
    signals : Signals
        What was found.
    name : str
        Of the file, for what is said.
    unit : str
        As the file states it.
    n_times : int
        Samples.
    sfreq : float
        Hz.
    in_scanner : bool
        Whether the scanner's artefacts are still there.

    Returns
    -------
    repaired : tuple of str
        A sentence if there are gaps.
    notes : tuple of str
        A sentence if there are channels of another size.

    Raises
    ------
    DataError
        If the root mean square is below `LEAST`, or above `MOST` (`MOST_IN_SCANNER`), or most of the recording is a gap.
    """
    if signals.rms < SMALLEST:
        raise DataError(f"{name} is empty: its samples do not vary; fetch it again.")
    most = MOST_IN_SCANNER if in_scanner else MOST
    if not LEAST <= signals.rms <= most:
        raise DataError(
            f"{name}: read in its unit {unit!r}, the scalp channels have a root mean square of {1e6 * signals.rms:.3g} µV, where "
            f"{1e6 * LEAST:g} to {1e6 * most:g} µV are due; correct unit, resolution or number format of the header."
        )
    sizes = ", ".join(f"{name} {1e6 * rms:.3g} µV" for name, rms in list(signals.unlike.items())[:6])
    n_unlike = len(signals.unlike)
    notes = (
        f"{name}: {n_unlike} channel{'s are' if n_unlike != 1 else ' is'} not of the others' size ({sizes}, where the median is "
        f"{1e6 * signals.rms:.3g} µV): see whether an electrode was off, or the header is wrong about a unit.",
    ) * bool(n_unlike)
    for channel, count in signals.lacking.items():
        notes += (f"{name}: {channel} has no value for {count / sfreq:.3g} s, read as a straight line.",)
    missing = sum(last - first for first, last in signals.gaps)
    if not missing:
        return (), notes
    if missing > MOST_GAPS * n_times:
        raise DataError(
            f"{name}: for {missing / sfreq:.1f} of {n_times / sfreq:.1f} s a channel has no values; leave it out."
        )
    number = len(signals.gaps)
    repaired = (
        f"{name}: for {missing / sfreq:.2f} s in {number} place{'s' * (number != 1)} a channel has no values; annotated {GAP}, read as a "
        "straight line between what lies around.",
    )
    return repaired, notes


def guarded(raw, gaps: Sequence[tuple[int, int]] = ()):
    """Have whatever fails while samples are read name the file, and gaps annotated and bridged.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Not loaded, uncropped.
    gaps : sequence of (int, int)
        See `Signals`. A bridge is a straight line, so that no filter spreads the gap; the annotation `GAP` says where
        nothing was measured.

    Returns
    -------
    mne.io.BaseRaw
        The same.
    """
    body = [channel["kind"] in _BODY for channel in raw.info["chs"]]
    # by their places in the file, which stay when channels are picked
    in_file = frozenset(int(place) for place in np.asarray(raw._read_picks[0])[body])
    stamps = tuple((str(file), stamp_of(file)) for file in raw.filenames if file is not None)
    raw.__class__ = _guarded_class(type(raw), in_file, stamps)
    if raw.preload:
        for row, of_body in zip(raw._data, body, strict=True):
            _bridge(row, LARGEST if of_body else np.inf)
    for first, last in gaps:
        raw.annotations.append(first / raw.info["sfreq"], (last - first) / raw.info["sfreq"], GAP)
    return raw


@lru_cache(maxsize=256)
def _guarded_class(kind: type, body: frozenset[int], stamps: tuple) -> type:
    class Guarded(kind):
        """One of MNE's readers, whose failures name the file."""

        # MNE calls this with a stand-in for the reader, which `super` would not take
        def _read_segment_file(self, data, idx, fi, start, stop, cals, mult):
            for file, stamp in stamps:
                require_unchanged(file, stamp)
            with reading(self.filenames[fi]):
                kind._read_segment_file(self, data, idx, fi, start, stop, cals, mult)
            places = range(idx.stop)[idx] if isinstance(idx, slice) and idx.stop else np.arange(1 << 16)[idx]
            for place, row in zip(places, data, strict=False):
                # with `mult`, rows are mixtures of channels
                _bridge(row, LARGEST if mult is None and int(place) in body else np.inf)

    Guarded.__name__ = kind.__name__
    return Guarded


def _bridge(row: np.ndarray, largest: float) -> None:
    """Put a straight line in place of what is not finite, or larger (V)."""
    finite = np.isfinite(row) & (np.abs(row) <= largest)
    if finite.all():
        return
    places = np.arange(len(row))
    row[:] = np.interp(places, places[finite], row[finite]) if finite.any() else 0.0
