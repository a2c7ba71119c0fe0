"""The gate that every EEG passes: real numbers, finite or a gap that is named, of the size that a head makes.

A header can say anything; what a scalp gives is known to within a few orders of magnitude, so a unit that was misread shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from eegfmri import cache
from eegfmri.errors import DataError, reading
from eegfmri.examined import remembered

#: Root mean square (V) of scalp EEG: the least, the most once the scanner's artefacts are gone, the most with them.
LEAST, MOST, MOST_IN_SCANNER = 1e-7, 1e-3, 1e-1

#: What is left (V) of a signal that does not vary once its mean is subtracted.
SMALLEST = 1e-15

#: A recording of which more than this share has a channel without values is of no use.
MOST_GAPS = 0.5

#: Seconds that are looked at for the size of a signal, and of a block that is searched for gaps.
_SECONDS, _LOOKS = 1.0, 20

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
        First sample and the one after the last of every stretch in which a channel has no finite value.
    """

    rms: float
    gaps: tuple[tuple[int, int], ...] = ()

    def facts(self) -> dict:
        """What JSON can hold."""
        return {"rms": self.rms, "gaps": [list(gap) for gap in self.gaps]}

    @classmethod
    def of(cls, facts: dict) -> "Signals":
        """Read `facts`."""
        return cls(float(facts["rms"]), tuple((int(first), int(last)) for first, last in facts["gaps"]))


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
        Size and gaps. Files of integers have no gaps; of those some moments are read, of others everything.
    """
    stamp = [[cache.file_stamp(path) for path in files], list(picks), cache.code_digest(__name__)]
    return Signals.of(remembered(stamp, lambda: _look(raw, picks).facts()))


def _look(raw, picks: Sequence[str]) -> Signals:
    rows = [raw.ch_names.index(name) for name in picks]
    whole = raw.orig_format not in ("short", "int")

    def blocks(starts, length) -> Iterator[tuple[int, np.ndarray]]:
        for start in starts:
            yield start, raw[rows, start : min(start + length, raw.n_times)][0]

    length = max(1, min(raw.n_times, round(_SECONDS * raw.info["sfreq"])))
    starts = np.unique(np.linspace(0, raw.n_times - length, _LOOKS).astype(int))
    rms = _rms(block for _, block in blocks(starts, length))
    step = max(length, 20_000)
    gaps = _gaps(blocks(range(0, raw.n_times, step), step)) if whole else ()
    return Signals(rms, gaps)


def examine_array(data: np.ndarray, sfreq: float) -> Signals:
    """Look at samples in memory, shape (n_channels, n_times), V, see `examine`."""
    length = max(1, min(data.shape[1], round(_SECONDS * sfreq)))
    starts = np.unique(np.linspace(0, data.shape[1] - length, _LOOKS).astype(int))
    return Signals(_rms(data[:, start : start + length] for start in starts), _gaps([(0, data)]))


def _rms(blocks) -> float:
    sizes = []
    for block in blocks:
        finite = np.isfinite(block).all(axis=1)
        sizes += list(np.std(np.asarray(block[finite], dtype=float), axis=1))
    return float(np.median(sizes)) if sizes else 0.0


def _gaps(blocks) -> tuple[tuple[int, int], ...]:
    gaps: list[list[int]] = []
    for start, block in blocks:
        missing = ~np.isfinite(block).all(axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2] + start, edges[1::2] + start, strict=True):
            if gaps and gaps[-1][1] == first:
                gaps[-1][1] = int(last)
            else:
                gaps.append([int(first), int(last)])
    return tuple((first, last) for first, last in gaps)


def judge(signals: Signals, name: str, unit: str, n_times: int, sfreq: float, in_scanner: bool) -> tuple[str, ...]:
    """Refuse signals that no scalp gives; say where they have gaps.

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
    tuple of str
        A sentence if there are gaps.

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
    missing = sum(last - first for first, last in signals.gaps)
    if not missing:
        return ()
    if missing > MOST_GAPS * n_times:
        raise DataError(
            f"{name}: for {missing / sfreq:.1f} of {n_times / sfreq:.1f} s a channel has no values; leave it out."
        )
    number = len(signals.gaps)
    return (
        f"{name}: for {missing / sfreq:.2f} s in {number} place{'s' * (number != 1)} a channel has no values; annotated {GAP}, read as a "
        "straight line between what lies around.",
    )


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
    raw.__class__ = _guarded_class(type(raw))
    if raw.preload:
        for row in raw._data:
            _bridge(row)
    for first, last in gaps:
        raw.annotations.append(first / raw.info["sfreq"], (last - first) / raw.info["sfreq"], GAP)
    return raw


@lru_cache
def _guarded_class(kind: type) -> type:
    class Guarded(kind):
        """One of MNE's readers, whose failures name the file."""

        # MNE calls this with a stand-in for the reader, which `super` would not take
        def _read_segment_file(self, data, idx, fi, *arguments, **options):
            with reading(self.filenames[fi]):
                kind._read_segment_file(self, data, idx, fi, *arguments, **options)
            for row in data:
                _bridge(row)

    Guarded.__name__ = kind.__name__
    return Guarded


def _bridge(row: np.ndarray) -> None:
    """Put a straight line in place of what is not finite."""
    finite = np.isfinite(row)
    if finite.all():
        return
    places = np.arange(len(row))
    row[:] = np.interp(places, places[finite], row[finite]) if finite.any() else 0.0
