"""BrainVision as others wrote it: header, markers and signal file are compared before MNE reads them.

A header that MNE would misread or refuse, though it can be understood, is written again into the cache and read from there:
other encodings than it says, marks of byte order, indented lines, units spelt otherwise.
"""

import contextlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from eegfmri import cache, project
from eegfmri.datasets.formats import listed, name_channels, not_downloaded
from eegfmri.datasets.signals import Signals, examine, guarded, judge
from eegfmri.errors import DataError, reading
from eegfmri.forgiven import forgive, listening
from eegfmri.recordings import Recording
from eegfmri.text import decode, number, require_regular

#: Bytes per sample of the number formats that there are.
WIDTHS = {"INT_16": 2, "INT_32": 4, "IEEE_FLOAT_32": 4}

#: Spellings of units of voltage, after compatible characters (the micro sign, the Greek letter) were made one.
_UNITS = {"μv": "µV", "uv": "µV", "microv": "µV", "microvolt": "µV", "microvolts": "µV", "mv": "mV", "millivolt": "mV"}
_UNITS |= {"v": "V", "volt": "V", "nv": "nV", "nanovolt": "nV", "": "µV"}

_SIMULATED = re.compile(r"^;\s*SIMULATED", re.MULTILINE)


@dataclass(frozen=True)
class Channel:
    """A line of ``[Channel Infos]``: name, resolution as written, unit as written and as understood (None: not)."""

    name: str
    resolution: str
    written: str
    unit: str | None


@dataclass(frozen=True)
class Header:
    """What a ``.vhdr`` says.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    common : dict of str to str
        ``[Common Infos]``, names in small letters.
    binary : str or None
        Number format; None for text.
    channels : tuple of Channel
        In file order.
    sfreq : float
        Hz.
    simulated : bool
        Whether it says that the recording was simulated.
    text : str
        As MNE can read it.
    mended : tuple of str
        What others might have stumbled over, one sentence each; empty if the file can be read as it is.
    """

    path: Path
    common: dict[str, str]
    binary: str | None
    channels: tuple[Channel, ...]
    sfreq: float
    simulated: bool
    text: str
    mended: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """Units of the channels as written, each once."""
        return "/".join(dict.fromkeys(channel.written for channel in self.channels))


#: Characters of a name and of a value in a header; MNE's parser takes a time that grows with their square.
MOST_NAME, MOST_VALUE = 100, 1000


def read_header(path: str | Path) -> Header:
    """Read a ``.vhdr`` and see that it can be believed.

    Parameters
    ----------
    path : str or pathlib.Path
        The header.

    Returns
    -------
    Header
        What it says.

    Raises
    ------
    DataError
        If it is no BrainVision header, contradicts itself, or states a rate, resolution or number of channels that cannot be.
    """
    path = Path(path)
    require_regular(path)
    with reading(path):
        content = path.read_bytes()
    mended: list[str] = []
    with listening() as heard:
        text, stated = _decoded(content, path)
        lines = text.splitlines()
        if not lines or not re.match(r"brain ?vision data exchange header file", lines[0].strip(), re.IGNORECASE):
            raise DataError(f"{path} does not begin as a BrainVision header does; fetch it again.")
        if not heard and _as_mne_decodes(content, stated) != text:
            forgive(path, f"encoded otherwise than it says ({stated or 'nothing'})")
        sections, kept, clean = _sections(path, lines, mended)
        common = sections.get("common infos", {})
        channels = _channels(path, sections.get("channel infos", {}), common, mended)
    mended = [*heard.sentences(), *mended]
    interval = number(common.get("samplinginterval"))
    if interval is None or not 1 <= interval <= 1e6:
        raise DataError(
            f"{path.name} states a sampling interval of {common.get('samplinginterval', 'nothing')!r} µs; correct the header or fetch it "
            "again."
        )
    binary = None
    if common.get("dataformat", "BINARY").upper() != "ASCII":
        binary = sections.get("binary infos", {}).get("binaryformat", "INT_16").upper()
        if binary not in WIDTHS:
            raise DataError(f"{path.name} states the number format {binary!r}; known are {', '.join(WIDTHS)}.")
        for channel in channels:
            _check_resolution(path, channel, binary)
    units = {f"Ch{i}": c for i, c in enumerate(channels, start=1)}
    written = "\r\n".join([*_with_units(kept, units), *clean]) + "\r\n"
    return Header(
        path,
        common,
        binary,
        channels,
        1e6 / interval,
        bool(_SIMULATED.search(text[:4000])),
        written,
        tuple(mended),
    )


def _decoded(content: bytes, path: Path) -> tuple[str, str]:
    """Return the text of a header or of markers, and the encoding that it states, as written."""
    stated = re.search(
        r"^[ \t]*Codepage[ \t]*=[ \t]*([^\r\n]*)", content.decode("latin-1"), re.IGNORECASE | re.MULTILINE
    )
    stated = stated[1].strip() if stated else ""
    return decode(content, path, "cp1252" if stated.upper() == "ANSI" else stated or None), stated


def _as_mne_decodes(content: bytes, stated: str) -> str | None:
    codepage = "cp1252" if stated == "ANSI" else stated or "utf-8"
    try:
        return content.decode(codepage)
    except UnicodeDecodeError:
        return content.decode("latin-1")
    except LookupError:
        return None


#: Blanks that mean nothing, in lines of headers and markers that say something.
_BLANKS = {
    "indented lines": re.compile(r"^[ \t]"),
    "blanks at the ends of lines": re.compile(r"[ \t]$"),
    "lines with blanks around the sign of equality": re.compile(r"^[^=]*(?:[ \t]=|=[ \t])"),
}


def _forgive_blanks(path: Path, lines: Sequence[str]) -> None:
    said = [line for line in lines if line.strip() and not line.strip().startswith(";")]
    for fault, pattern in _BLANKS.items():
        if count := sum(bool(pattern.search(line)) for line in said):
            forgive(path, f"{fault} ({count})")


def _sections(path: Path, lines: list[str], mended: list[str]) -> tuple[dict, list[str], list[str]]:
    """Split a header into sections of names and values; return them, its lines without blanks around, and the comment after."""
    sections: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    kept = [lines[0].strip()]
    comment = next((i for i, line in enumerate(lines) if i and line.strip().lower() == "[comment]"), len(lines))
    _forgive_blanks(path, lines[:comment])
    for place, line in enumerate(lines[1:comment], start=2):
        bare = line.strip()
        if not bare or bare.startswith(";"):
            kept.append(bare)
        elif bare.startswith("["):
            current = sections.setdefault(bare.strip("[]").strip().lower(), {})
            kept.append(bare)
        else:
            name, sign, value = (part.strip() for part in bare.partition("="))
            if len(name) > MOST_NAME or len(value) > MOST_VALUE:
                raise DataError(
                    f"{path.name}, line {place}, begins with {bare[:20]!r} and has {len(bare)} characters, which no header needs; fetch "
                    "the file again."
                )
            if not sign:
                raise DataError(f"{path.name}, line {place}: {bare[:60]!r} is not 'name=value'; fetch the file again.")
            if name.lower() in current:
                if current[name.lower()] != value:
                    raise DataError(
                        f"{path.name}, line {place}: {name} is stated twice and differently; correct the header."
                    )
                mended.append(f"{path.name}, line {place}: {name} is stated twice; once is enough.")
                continue
            current[name.lower()] = value
            kept.append(f"{name}={value}")
    return sections, kept, lines[comment:]


def _channels(
    path: Path, section: Mapping[str, str], common: Mapping[str, str], mended: list[str]
) -> tuple[Channel, ...]:
    stated = number(common.get("numberofchannels"))
    expected = [f"ch{i + 1}" for i in range(len(section))]
    if stated is None or stated != len(section) or set(section) != set(expected):
        raise DataError(
            f"{path.name} states {common.get('numberofchannels', 'no number of')} channels and describes {len(section)}: which holds would "
            "be a guess, and a wrong number shifts every sample; fetch it again."
        )
    channels = []
    respelt = {}
    for key in expected:
        value = section[key]
        name, _, resolution, unit, *_ = [*(part.strip() for part in value.split(",")), "", "", "", ""]
        understood = understand_unit(unit)
        if understood is not None and unit not in ("", understood):
            respelt[unit] = understood
        channels.append(Channel(name.replace("\\1", ","), resolution, unit or "µV", understood))
    mended += [f"{path.name}: the unit {unit!r} was read as {understood}." for unit, understood in respelt.items()]
    return tuple(channels)


def understand_unit(text: str) -> str | None:
    """Return the unit of voltage that a text means.

    Parameters
    ----------
    text : str
        As written: ``µV`` with the micro sign or the Greek letter, ``uV``, ``microV``, … Nothing at all is µV, by the format's
        definition.

    Returns
    -------
    {"µV", "mV", "V", "nV"} or None
        None for what is no voltage or cannot be understood.

    Examples
    --------
    >>> understand_unit("μv"), understand_unit("microV"), understand_unit("µ")
    ('µV', 'µV', None)
    """
    with contextlib.suppress(UnicodeError):
        # UTF-8 that was once read as Windows-1252 and written again
        text = text.encode("cp1252").decode("utf-8")
    if text.startswith("M"):
        return None
    return _UNITS.get(unicodedata.normalize("NFKC", text).strip().casefold())


def _check_resolution(path: Path, channel: Channel, binary: str) -> None:
    if channel.resolution == "" and binary == "IEEE_FLOAT_32":
        return
    value = number(channel.resolution)
    if value is None or value <= 0:
        raise DataError(
            f"{path.name} states a resolution of {channel.resolution!r} for {channel.name}, by which every sample is multiplied; correct "
            "the header or fetch it again."
        )


def _with_units(lines: Sequence[str], channels: Mapping[str, Channel]) -> list[str]:
    """Spell units as MNE reads them."""
    written, inside = [], False
    for line in lines:
        if line.startswith("["):
            inside = line.lower() == "[channel infos]"
        elif inside and line[:2].lower() == "ch" and "=" in line:
            key, _, value = line.partition("=")
            channel = channels.get("Ch" + key[2:])
            parts = [part.strip() for part in value.split(",")]
            if channel is not None and channel.unit is not None and len(parts) > 3 and parts[3]:
                parts[3] = channel.unit
                line = f"{key}={','.join(parts)}"
        written.append("Codepage=UTF-8" if line.lower().startswith("codepage=") else line)
    return written


def require_voltage(header: Header, scalp: Sequence[str]) -> None:
    """Raise `DataError` if a scalp channel's unit is not understood as one of voltage."""
    wanted = {name.lower() for name in scalp}
    for channel in header.channels:
        if channel.unit is None and channel.name.lower() in wanted:
            raise DataError(
                f"{header.path.name} states the unit {channel.written!r} for {channel.name}, which is none of voltage; write µV, mV or V "
                "where the values are."
            )


def unlike_gains(header: Header, scalp: Sequence[str]) -> tuple[str, ...]:
    """Say which scalp channels state another resolution or unit than most do, and which others a unit that is not understood.

    One recorder gives all scalp channels the same.

    Parameters
    ----------
    header : Header
        Of a run.
    scalp : sequence of str
        Its scalp channels.

    Returns
    -------
    tuple of str
        One sentence each, or none.
    """
    wanted = {name.lower() for name in scalp}
    strange = [f"{c.name} {c.written!r}" for c in header.channels if c.unit is None and c.name.lower() not in wanted]
    said = (
        f"{header.path.name}: units that are none of voltage ({listed(strange)}): how large the values are is not known.",
    )
    said *= bool(strange)
    gains = {c.name: (number(c.resolution), c.unit) for c in header.channels if c.name.strip().lower() in wanted}
    usual, _ = Counter(gains.values()).most_common(1)[0] if gains else ((None, None), 0)
    odd = [f"{name} {gain or 1:g} {unit}" for name, (gain, unit) in gains.items() if (gain, unit) != usual]
    if not odd:
        return said
    return (
        *said,
        f"{header.path.name} states another resolution for {listed(odd)} than for the other scalp channels ({usual[0] or 1:g} {usual[1]}): "
        "values of theirs may be too large or too small.",
    )


# --- the three files -------------------------------------------------------------------------------------------------


def header_overrides(header: Header, repaired: list[str], suffix: str = ".eeg") -> dict:
    """Find signal and marker file by the header's own stem where it names others.

    Parameters
    ----------
    header : Header
        Of a run.
    repaired : list of str
        One sentence is appended for each file that was found under another name.
    suffix : str, default=".eeg"
        Of the signal file.

    Returns
    -------
    dict
        ``data_fname`` and ``marker_fname`` where they differ from the header, as MNE's reader takes them.

    Raises
    ------
    DataError
        If neither the named file nor the one of the header's stem is there.
    """
    path, overrides = header.path, {}
    for key, name, own_suffix in (("data_fname", "datafile", suffix), ("marker_fname", "markerfile", ".vmrk")):
        written = header.common.get(name, "")
        named = Path(written.replace("$b", path.stem).replace("\\", "/")).name
        own, there = path.with_suffix(own_suffix), bool(named) and (path.parent / named).is_file()
        if there and any(sign in written for sign in "/\\"):
            forgive(path, f"a folder in {name} ({written!r})")
        if named == own.name and there:
            if written != named:
                overrides[key] = str(own)
            continue
        if not own.is_file() or not_downloaded(own):
            if there:
                if written != named:
                    overrides[key] = str(path.parent / named)
                continue
            raise DataError(
                f"{path.name} names {named!r}, and neither that file nor {own.name} is there; fetch {own.name}."
            )
        overrides[key] = str(own)
        reason = "another recording's name" if there else "which does not exist"
        repaired.append(f"{path.name} names {named!r}, {reason}; {own.name} was read.")
    return overrides


def check_length(header: Header, data_file: Path, repaired: list[str]) -> None:
    """Compare the size of a signal file with channels times samples times width.

    Parameters
    ----------
    header : Header
        Of the run.
    data_file : pathlib.Path
        Its signal file.
    repaired : list of str
        Gets a sentence if the file ends early.

    Raises
    ------
    DataError
        If the size shows that channels or number format are others than the header says, or a file that holds channel after
        channel is not whole.
    """
    if header.binary is None:
        return
    require_regular(data_file)
    n_channels, width, size = len(header.channels), WIDTHS[header.binary], data_file.stat().st_size
    promised = number(header.common.get("datapoints"))
    due = None if promised is None or promised <= 0 else int(promised) * n_channels * width
    if header.common.get("dataorientation", "").upper() == "VECTORIZED":
        if size != due:
            raise DataError(
                f"{data_file.name} has {size} bytes where {due or 'an unknown number'} are due, channel after channel: every channel would "
                "be shifted; fetch it again."
            )
        return
    if due is not None and size > due:
        raise DataError(
            f"{data_file.name} has {size} bytes where {due} are due by {header.path.name} ({n_channels} channels, {header.binary}): one of "
            "these is not true; fetch the header again."
        )
    surplus = size % (width * n_channels)
    if surplus:
        repaired.append(
            f"{data_file.name} ends {surplus} bytes into a sample of {width * n_channels}: the transfer broke off; "
            "the partial sample is ignored."
        )
    n_times = size // (width * n_channels)
    if due is not None and promised > n_times:
        repaired.append(f"{data_file.name} holds {n_times} samples of the {int(promised)} that its header promises.")


def open_brainvision(header: Header, overrides: Mapping[str, str]):
    """Open a BrainVision recording lazily, from a corrected copy of header or markers where MNE needs one.

    Parameters
    ----------
    header : Header
        Of the run.
    overrides : Mapping of str to str
        See `header_overrides`.

    Returns
    -------
    mne.io.BaseRaw
        Not loaded.

    Raises
    ------
    DataError
        If MNE cannot read it.
    """
    import mne

    path = header.path
    files = {
        "data_fname": Path(overrides.get("data_fname", path.parent / header.common.get("datafile", ""))),
        "marker_fname": Path(overrides.get("marker_fname", path.parent / header.common.get("markerfile", ""))),
    }
    for file in files.values():
        require_regular(file)
    options = dict(overrides)
    if files["marker_fname"].is_file():
        markers = _plain_markers(files["marker_fname"])
        if markers is not None:
            options["marker_fname"] = str(_copy(files["marker_fname"], markers))
    read = path
    if header.mended:
        read = _copy(path, header.text)
        options = {key: str(file.absolute()) for key, file in files.items()} | options
    with reading(f"{path} as BrainVision"):
        return mne.io.read_raw_brainvision(
            read, eog=("EOG",), overrides=options or None, preload=False, verbose="error"
        )


def _plain_markers(path: Path) -> str | None:
    """Return the text of a marker file as ASCII without stray blanks, or None if it is so already.

    MNE opens it in the locale's encoding and counts only what stands at the beginning of a line.
    """
    with reading(path):
        content = path.read_bytes()
    if content.isascii() and not re.search(rb"^[ \t]+(Mk|\[)|^Mk\d+[ \t]|=[ \t]|[ \t]\r?$", content, re.MULTILINE):
        return None
    lines = _decoded(content, path)[0].splitlines()
    _forgive_blanks(path, lines)
    lines = [re.sub(r"^(Mk\d+)\s*=\s*", r"\1=", line.strip()) for line in lines]
    return "\n".join(lines).encode("ascii", "backslashreplace").decode() + "\n"


def _copy(path: Path, text: str) -> Path:
    """Write a corrected copy of a small text file into the cache."""
    copy = project.cache_dir() / "headers" / cache.digest(str(path.absolute()), text) / path.name
    content = text.encode("utf-8")
    if not copy.is_file() or copy.read_bytes() != content:
        with cache.written_whole(copy) as temporary:
            temporary.write_bytes(content)
    return copy


# --- recordings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class BrainVisionRecording(Recording):
    """A run whose EEG is BrainVision; `overrides` holds what its header says wrongly, as MNE's reader takes it.

    `gaps` are stretches (first sample and the one after the last, of the file) in which a channel has no values.
    """

    overrides: dict = field(default_factory=dict)
    gaps: tuple[tuple[int, int], ...] = ()

    #: Channels off the scalp, with their MNE types.
    other_channels: ClassVar[Mapping[str, str]] = {}

    @property
    def signal_suffix(self) -> str:
        """Of the signal file."""
        return ".eeg"

    @property
    def expected_channels(self) -> tuple[str, ...]:
        """Scalp channels that the file is expected to hold."""
        return self.scalp_channels

    def raw(self):
        """Open the EEG lazily from the first volume on, in volts: scalp channels under canonical names, the others typed."""
        raw = self.raw_uncut()
        with reading(self.eeg_file):
            raw.crop(tmin=self.first_sample / self.sfreq)
        return raw

    def raw_uncut(self):
        """Open the EEG lazily as it lies on disk, lead-in and tail included."""
        self.require_signals()
        raw = open_brainvision(read_header(self.eeg_file), self.overrides)
        with reading(self.eeg_file):
            name_channels(raw, self.expected_channels, self.other_channels)
            return guarded(raw, self.gaps)

    def files(self) -> list[Path]:
        """Return header, signal and marker file of the EEG, and the image."""
        paths = super().files()
        if self.eeg_file is not None:
            data = self.overrides.get("data_fname", self.eeg_file.with_suffix(self.signal_suffix))
            marker = self.overrides.get("marker_fname", self.eeg_file.with_suffix(".vmrk"))
            paths += [Path(data), Path(marker)]
        return paths


@dataclass(frozen=True)
class Opened:
    """A BrainVision triple that passed every gate: MNE's reader, header, what it holds, where its files are."""

    raw: object
    header: Header
    overrides: dict
    signals: Signals


def open_run(
    path: Path,
    scalp: Sequence[str],
    others: Mapping[str, str],
    repaired: list[str],
    suffix: str = ".eeg",
    in_scanner: bool | None = None,
    notes: list[str] | None = None,
) -> Opened:
    """Open a triple and see that header, sizes and samples can be believed.

    Parameters
    ----------
    path : pathlib.Path
        The ``.vhdr``.
    scalp : sequence of str
        The scalp channels that the dataset promises.
    others : Mapping of str to str
        The other channels, with their MNE types.
    repaired : list of str
        Gets a sentence for everything that was mended.
    suffix : str, default=".eeg"
        Of the signal file.
    in_scanner : bool or None
        Whether the scanner's artefacts are still there; None tells it by a rate of 1000 Hz or more.
    notes : list of str or None
        Gets a sentence for what is odd and was left as it is.

    Returns
    -------
    Opened
        Channels under canonical names.

    Raises
    ------
    DataError
        If anything cannot be believed, with the reason.
    """
    header = read_header(path)
    repaired += header.mended
    overrides = header_overrides(header, repaired, suffix)
    data_file = Path(overrides.get("data_fname", path.parent / header.common["datafile"]))
    require_voltage(header, scalp)
    check_length(header, data_file, repaired)
    raw = open_brainvision(header, overrides)
    with reading(path):
        name_channels(raw, scalp, others, path, repaired)
        picks = [name for name in raw.ch_names if name in scalp]
        signals = examine(raw, picks, path, data_file)
    sfreq = float(raw.info["sfreq"])
    in_scanner = sfreq >= 1000 if in_scanner is None else in_scanner
    mended, doubts = judge(signals, data_file.name, header.unit, raw.n_times, sfreq, in_scanner)
    repaired += mended
    if notes is not None:
        notes += (*unlike_gains(header, scalp), *doubts)
    return Opened(raw, header, overrides, signals)
