"""Every reader with small sound files, what it makes of them, and which damage nobody could see.

A damage is *undetectable* by rule: if only fields were changed that nothing else states (a sample within what amplifiers give, a
gain, a time in a table), `Reader.free` says so from the two contents, without a look at what the reader made of them.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
from scipy.io import loadmat, savemat

import oddball_layout
import rest_layout
import sleep_layout
from eegfmri import project, results
from eegfmri.datasets import download, oddball, rest, sleep
from eegfmri.datasets.events import read_events
from eegfmri.datasets.label_tables import read_labels
from eegfmri.datasets.single_files import open_bold, open_eeg
from eegfmri.errors import DataError
from eegfmri.images import image_facts, open_anatomy, read_slice_times
from eegfmri.ledger import claims, verdicts
from eegfmri.preprocessing.eeg import EegSettings, prepare
from fuzz_mutations import fields, parsed

#: Volts that no amplifier gives: one sample of that size is seen, of any smaller not.
MOST_VOLTS = 1.0


@dataclass(frozen=True)
class Reading:
    """What a reader made of files: values by part (a recording, a table), and what it said."""

    values: dict[str, object]
    said: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """A reader on trial.

    Attributes
    ----------
    make : callable
        Writes sound files into a folder; returns those that are damaged.
    read : callable
        Reads the folder.
    free : callable
        (name of the file, sound content, damaged content) → whether nobody could see the damage.
    parts : callable
        Path of the damaged file → beginnings of the parts of `Reading.values` that may suffer from it; None for all.
    opened : callable or None
        Opens the folder and returns what reads it, which is called when a file has been damaged in between.
    """

    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Reading]
    free: Callable[[str, bytes, bytes], bool]
    parts: Callable[[Path], set[str] | None] = lambda path: None
    opened: Callable[[Path], Callable[[], Reading]] | None = None


def mark(*values: object) -> str:
    """Hash values, arrays and tables included."""
    hashed = hashlib.sha1()
    for value in values:
        if isinstance(value, np.ndarray):
            hashed.update(f"{value.dtype}{value.shape}".encode())
            hashed.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, pd.DataFrame):
            hashed.update(value.to_csv(index=False).encode())
        else:
            hashed.update(repr(value).encode())
    return hashed.hexdigest()[:12]


# --- what nobody could see -------------------------------------------------------------------------------------------


def never(name: str, sound: bytes, damaged: bytes) -> bool:
    """For what is checked by checksums, or made again."""
    return False


def _samples(dtype: str, scale: float, width: int, fixed: bool) -> Callable[[str, bytes, bytes], bool]:
    """Samples changed within what an amplifier gives; without a stated length also whole samples more or fewer."""

    def free(name: str, sound: bytes, damaged: bytes) -> bool:
        if len(damaged) != len(sound) and (fixed or len(damaged) % width):
            return False
        if np.dtype(dtype).kind == "i":
            return True
        values = np.frombuffer(damaged, dtype).astype(float) * scale
        return bool(np.isfinite(values).all() and np.abs(values).max() < MOST_VOLTS)

    return free


def _same_after(*patterns: tuple[str, str]) -> Callable[[str, bytes, bytes], bool]:
    """Texts that are the same once what is free in them has been struck out."""

    def free(name: str, sound: bytes, damaged: bytes) -> bool:
        try:
            texts = [content.decode("utf-8") for content in (sound, damaged)]
        except UnicodeDecodeError:
            return False
        for pattern, kept in patterns:
            texts = [re.sub(pattern, kept, text, flags=re.MULTILINE) for text in texts]
        return texts[0] == texts[1]

    return free


#: Of a single file nobody knows names, rate and gain better than its header.
_header_of_one_file = _same_after(
    (r"^(Ch\d+=)[^,\r\n]*,[^,\r\n]*,\s*[\d.eE+-]*,", r"\1"),
    (r"^SamplingInterval=[+\d.e]+", "SamplingInterval="),
    (r"^;.*$", ""),
)
#: Names and rate are compared with montage and scan, and gains with those of other channels.
_header_of_a_run = _same_after((r"^(Ch\d+=(?:EOG|ECG)),[^,\r\n]*,\s*[\d.eE+-]*,", r"\1"), (r"^;.*$", ""))


def _markers(sound: bytes, damaged: bytes, step: float) -> bool:
    """Triggers that moved by less than a hundredth of a repetition time, or markers that are none of the scan's."""
    found = []
    for content in (sound, damaged):
        text = content.decode("utf-8", "replace")
        found.append(
            [int(at) for at in re.findall(r"^Mk\d+=[^,\r\n]*,\s*R\s*128\s*,\s*(\d{1,9})\s*(?:,|$)", text, re.MULTILINE)]
        )
    first, second = found
    return len(first) == len(second) and all(
        abs(a - b) <= 0.02 * step + 1 for a, b in zip(sorted(first), sorted(second), strict=True)
    )


def _triple(step: float, samples: Callable, header: Callable) -> Callable[[str, bytes, bytes], bool]:
    def free(name: str, sound: bytes, damaged: bytes) -> bool:
        if name.endswith(".vhdr"):
            return header(name, sound, damaged)
        if name.endswith(".vmrk"):
            return _markers(sound, damaged, step)
        return samples(name, sound, damaged)

    return free


#: Bytes of a NIfTI header that nothing else states: names, display, scaling, gaps of the standard.
_NIFTI_FREE = ((4, 40), (50, 70), (72, 76), (96, 108), (112, 123), (124, 252), (328, 344), (348, 352))
#: And where the image lies, which is stated three times (twice as matrix or quaternion, once as voxel sizes) by codes.
_NIFTI_PLACE = ((76, 92), (252, 328))


def _nifti_inside(sound: bytes, damaged: bytes, stated: bool, place: bool = True) -> bool:
    if len(sound) != len(damaged):
        return False
    first, second = bytearray(sound), bytearray(damaged)
    spans = [*_NIFTI_FREE, *(_NIFTI_PLACE if place else ()), *(() if stated else ((92, 96), (123, 124)))]
    slope, inter = struct.unpack("<2f", damaged[112:120])
    if not (np.isfinite([slope, inter]).all() or damaged[112:120] == sound[112:120]):
        return False
    for start, stop in [*spans, (352, len(sound))]:
        first[start:stop] = second[start:stop] = bytes(stop - start)
    # lengths of axes that the image has not
    n_axes = struct.unpack("<h", sound[40:42])[0]
    first[42 + 2 * n_axes : 56] = second[42 + 2 * n_axes : 56] = bytes(14 - 2 * n_axes)
    # whole numbers with and without sign have one width
    for content in (first, second):
        if content[70:72] == struct.pack("<h", 512):
            content[70:72] = struct.pack("<h", 4)
    return first == second


def _image(stated: bool) -> Callable[[str, bytes, bytes], bool]:
    """Voxels that are whole numbers, scaling, place; ``stated`` if something else states the repetition time."""

    def free(name: str, sound: bytes, damaged: bytes) -> bool:
        if not name.endswith(".gz"):
            return _nifti_inside(sound, damaged, stated)
        try:
            return _nifti_inside(gzip.decompress(sound), gzip.decompress(damaged), stated)
        except (OSError, EOFError, ValueError, struct.error, zlib.error):
            return False

    return free


def _within(expected: object, found: object) -> bool:
    """Whether everything expected is there and alike; what nobody reads may have come beside it."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return all(name in found and _within(value, found[name]) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_within, expected, found))
    return expected == found


#: Fields of EEGLAB structures that may be lacking, called otherwise or hold something else: nobody reads them, or one trial is assumed.
_UNREAD = frozenset({"xmin", "xmax", "icawinv", "setname", "trials"})


def _matlab(name: str, sound: bytes, damaged: bytes) -> bool:
    """Numbers changed in arrays that kept name, type and shape, as another reader sees them, within what an amplifier gives."""
    import io
    import warnings

    def skeleton(value: object) -> object:
        if isinstance(value, np.ndarray) and value.dtype.names:
            read = [part for part in value.dtype.names if part not in _UNREAD]
            return {part: skeleton(value[part].flat[0]) for part in read}
        if isinstance(value, np.ndarray) and value.dtype.kind == "O":
            return [skeleton(part) for part in value.flat]
        if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
            return (value.dtype.kind, value.shape)
        return str(getattr(value, "dtype", type(value)))[:2]

    def largest(value: object) -> float:
        if isinstance(value, np.ndarray) and value.dtype.names:
            return max((largest(value[part].flat[0]) for part in value.dtype.names), default=0.0)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.size:
            plain = value.astype(float)
            return float(np.abs(plain).max()) if np.isfinite(plain).all() else np.inf
        return 0.0

    skeletons = []
    for content in (sound, damaged):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = {key: value for key, value in loadmat(io.BytesIO(content)).items() if key[:1] != "_"}
        except Exception:  # noqa: BLE001
            return False
        skeletons.append({key: skeleton(value) for key, value in found.items()})
    return _within(*skeletons) and max(map(largest, found.values()), default=0) * 1e-6 < MOST_VOLTS


def _matlab_of_a_run(name: str, sound: bytes, damaged: bytes) -> bool:
    """The same, but the rate is held against the scan."""
    import io

    if not _matlab(name, sound, damaged):
        return False
    rates = [loadmat(io.BytesIO(content)).get("sfreq") for content in (sound, damaged)]
    return rates[0] == rates[1]


def _edf(name: str, sound: bytes, damaged: bytes) -> bool:
    """Names, dates, ranges, filters, the duration of a record, samples."""
    if len(sound) != len(damaged):
        return False
    n_signals = int(sound[252:256])
    spans = [
        (0, 184),
        (192, 236),
        (244, 252),
        (256, 256 + 96 * n_signals),
        (256 + 104 * n_signals, 256 + 216 * n_signals),
    ]
    spans += [(256 + 224 * n_signals, len(sound))]
    first, second = bytearray(sound), bytearray(damaged)
    for start, stop in spans:
        first[start:stop] = second[start:stop] = bytes(stop - start)
    return first == second


def _rows(
    numbers: tuple[int, ...], lines_may_go: bool = True, texts: tuple[int, ...] = ()
) -> Callable[[str, bytes, bytes], bool]:
    """Tables whose cells hold other numbers (in some columns) or texts, or which lack rows; the line of names is the same."""

    def table(content: bytes) -> list[list[str]]:
        try:
            lines = re.split("\r?\n", content.decode("utf-8"))
        except UnicodeDecodeError:
            lines = re.split("\r?\n", content.decode("latin-1"))
        rows = [[cell.strip() for cell in line.split("\t")] for line in lines if line.strip()]
        rows[0] = [name.lower() for name in rows[0]]
        for row in rows[1:]:
            for place in numbers:
                float(row[place])
                row[place] = "0"
            for place in texts:
                row[place] = (
                    "text" if row[place].lower() not in ("", "n/a", "na", "nan", "none", "null") else row[place]
                )
        return rows

    def free(name: str, sound: bytes, damaged: bytes) -> bool:
        try:
            first, second = table(sound), table(damaged)
        except (ValueError, IndexError, UnicodeDecodeError):
            return False
        if not lines_may_go:
            return first == second
        return first[:1] == second[:1] and all(row in first for row in second) and len(second) > 1

    return free


_ANY_STAGE = re.compile(r"^(?:[wW]|[123])(?: \((?:uncertain|unscorable)\))?$|^(?:2 or 3 \(unscorable\)|[uU]nscorable)$")


def _label_rows(name: str, sound: bytes, damaged: bytes) -> bool:
    """Stages other than scored, and rows lost at the end of a run."""

    def runs(content: bytes) -> tuple[str, dict[str, list[int]]]:
        head, *lines = content.decode("utf-8").splitlines()
        found: dict[str, list[int]] = {}
        for line in lines:
            if line.strip():
                run, onset, stage = (cell.strip() for cell in line.split("\t"))
                if not _ANY_STAGE.match(stage):
                    raise ValueError(stage)
                found.setdefault(run, []).append(int(onset))
        return head, found

    try:
        head, (other, second) = runs(sound)[0], runs(damaged)
    except (ValueError, UnicodeDecodeError):
        return False
    # each block of rows stands for itself, under whatever name of a run
    blocks = sorted(tuple(onsets) for onsets in second.values())
    return head == other and all(block == tuple(30 * i for i in range(len(block))) for block in blocks)


def _sidecar(name: str, sound: bytes, damaged: bytes) -> bool:
    """Other times of slices, or names that are lacking: the repetition time stands in the image too."""
    first, second = parsed(sound), parsed(damaged)
    if not isinstance(second, dict) or first.get("RepetitionTime") != second.get(
        "RepetitionTime", first["RepetitionTime"]
    ):
        return False
    if any(len(re.findall(re.escape(json.dumps(key)), damaged.decode("utf-8", "replace"))) > 1 for key in second):
        return False
    times = second.get("SliceTiming")
    return isinstance(times, list) and len(times) == len(first["SliceTiming"])


def _leaves(load: Callable[[bytes], object]) -> Callable[[str, bytes, bytes], bool]:
    """Documents of the same names and kinds with other values, or with fewer entries."""

    def within(whole: object, part: object) -> bool:
        if isinstance(whole, dict) and isinstance(part, dict):
            return all(name in whole and within(whole[name], value) for name, value in part.items())
        if isinstance(whole, list) and isinstance(part, list):
            return all(any(within(entry, value) for entry in whole) for value in part)
        return whole == part or {str(whole), str(part)} <= {"number", "str", "NoneType", "bool"}

    def free(name: str, sound: bytes, damaged: bytes) -> bool:
        try:
            first, second = load(sound), load(damaged)
        except Exception:  # noqa: BLE001
            return False
        return isinstance(second, type(first)) and within(fields(first), fields(second))

    return free


def _yaml(content: bytes) -> object:
    import yaml

    if re.search(rb"[&*]\w", content):
        raise ValueError("aliases")
    return yaml.safe_load(content)


# --- single files ----------------------------------------------------------------------------------------------------


def _eeg(name: str, folder: Path) -> Reading:
    (recording,) = open_eeg(folder / name)
    raw = recording.raw()
    values = mark(recording.sfreq, recording.ch_names, recording.scalp_channels, recording.n_times, raw.get_data())
    return Reading({"file": values}, (*recording.repaired, *recording.problems, *recording.notes))


def _make_brainvision(folder: Path, **options) -> list[Path]:
    header = rest_layout.write_eeg(
        folder, sfreq=100.0, lead_in=3.0, n_volumes=4, names=("Fp1", "Cz", "Pz", "O1", "ECG"), **options
    )
    for path in header.parent.iterdir():
        path.rename(folder / f"mine{path.suffix}")
        text = folder / f"mine{path.suffix}"
        if path.suffix != ".dat":
            text.write_bytes(text.read_bytes().replace(header.stem.encode(), b"mine"))
    shutil.rmtree(folder / "EEG1")
    return sorted(folder.glob("mine.*"))


def _make_edf(folder: Path) -> list[Path]:
    names, rate, n_records = ("Fp1", "Cz", "Pz", "O1", "ECG"), 100, 12
    count = len(names)

    def text(value: object, width: int) -> bytes:
        return str(value).encode().ljust(width)

    head = [
        text(0, 8),
        text("X X X X", 80),
        text("Startdate 24-APR-2013 X X X", 80),
        text("24.04.13", 8),
        text("12.00.00", 8),
    ]
    head += [text(256 * (count + 1), 8), text("", 44), text(n_records, 8), text(1, 8), text(count, 4)]
    columns = [[text(name, 16) for name in names], [text("cup", 80)] * count, [text("uV", 8)] * count]
    columns += [[text(value, 8)] * count for value in (-3276.8, 3276.7, -32768, 32767)]
    columns += [[text("HP:0.1Hz", 80)] * count, [text(rate, 8)] * count, [text("", 32)] * count]
    samples = np.random.default_rng(1).normal(0, 200, (n_records, count, rate)).astype("<i2")
    content = b"".join(head) + b"".join(field for column in columns for field in column) + samples.tobytes()
    (folder / "mine.edf").write_bytes(content)
    return [folder / "mine.edf"]


def _make_set(folder: Path, compressed: bool) -> list[Path]:
    rng = np.random.default_rng(2)
    places = np.zeros(4, dtype=[("labels", object), ("type", object)])
    for place, name in zip(places, ("Fp1", "Cz", "Pz", "O1"), strict=True):
        place["labels"], place["type"] = name, "EEG"
    eeg = {
        "data": rng.normal(0, 20, (4, 1500)).astype(np.float32),
        "srate": 100.0,
        "nbchan": 4.0,
        "pnts": 1500.0,
        "trials": 1.0,
        "xmin": 0.0,
        "xmax": 14.99,
        "chanlocs": places,
        "event": np.zeros(0),
        "icawinv": np.zeros(0),
        "setname": "mine",
    }
    savemat(folder / "mine.set", {"EEG": eeg}, do_compression=compressed, oned_as="row")
    return [folder / "mine.set"]


AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -120], [0, 0, 4, -60], [0, 0, 0, 1]])


def _save_image(path: Path, n_volumes: int = 12, dtype: type = np.int16) -> None:
    data = np.random.default_rng(3).integers(100, 900, (6, 7, 5, n_volumes)[: 4 if n_volumes else 3]).astype(dtype)
    image = nibabel.Nifti1Image(data, AFFINE)
    if n_volumes:
        image.header.set_zooms((3, 3, 4, 2.1))
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=1)
    nibabel.save(image, path)


def _make_image(folder: Path, name: str, dtype: type = np.int16) -> list[Path]:
    _save_image(folder / name, dtype=dtype)
    return [folder / name]


def _bold(name: str, folder: Path) -> Reading:
    (recording,) = open_bold(folder / name)
    image = recording.image()
    values = mark(
        round(recording.t_r, 5),
        recording.n_volumes,
        recording.volume_shape,
        np.round(image.affine, 4),
        image.get_fdata(),
    )
    return Reading({"file": values}, (*recording.repaired, *recording.problems, *recording.notes))


def _make_anatomy(folder: Path) -> list[Path]:
    _save_image(folder / "t1.nii.gz", 0)
    return [folder / "t1.nii.gz"]


def _anatomy(folder: Path) -> Reading:
    image = open_anatomy(folder / "t1.nii.gz")
    return Reading(
        {"file": mark(np.round(image.affine, 4), image.get_fdata())}, image_facts(folder / "t1.nii.gz").repaired
    )


def _make_sidecar(folder: Path) -> list[Path]:
    _save_image(folder / "mine.nii.gz")
    facts = {"Modality": "MR", "RepetitionTime": 2.1, "SliceTiming": [0.0, 0.4, 0.8, 1.2, 1.6], "TaskName": "rest"}
    (folder / "mine.json").write_text(json.dumps(facts, indent=1))
    return [folder / "mine.json"]


def _with_sidecar(folder: Path) -> Reading:
    (recording,) = open_bold(folder / "mine.nii.gz")
    times = read_slice_times(folder / "mine.nii.gz")
    return Reading({"file": mark(round(recording.t_r, 5), times)}, recording.repaired)


# --- tables ----------------------------------------------------------------------------------------------------------


def _make_labels(folder: Path) -> list[Path]:
    rows = [*sleep_layout.epochs(labels="WW1122W1"), *sleep_layout.epochs("task-sleep_run-1", "W12W12")]
    return [sleep_layout.write_labels(folder, "07", rows)]


def _labels(folder: Path) -> Reading:
    labels = read_labels(folder / "sourcedata/sub-07-sleep-stage.tsv")
    said = [text for texts in (*labels.repaired.values(), *labels.problems.values()) for text in texts]
    return Reading({"file": mark(*(part for pair in sorted(labels.runs.items()) for part in pair))}, tuple(said))


def _make_events(folder: Path) -> list[Path]:
    rows = [f"{2.5 * i}\t0.5\t{('go', 'stop')[i % 2]}" for i in range(12)]
    (folder / "events.tsv").write_text("\n".join(["onset\tduration\ttrial_type", *rows, ""]))
    return [folder / "events.tsv"]


def _events(folder: Path) -> Reading:
    table = read_events(folder / "events.tsv")
    return Reading({"file": mark(table.events)}, table.said)


BIDS_TABLE = "sub-01_task-auditoryoddballwithbuttonresponsetotargetstimuli_run-01_events.tsv"


def _make_bids(folder: Path) -> list[Path]:
    return [oddball_layout.write_bids(folder / BIDS_TABLE, oddball_layout.bids_rows(6, 3))]


def _bids(folder: Path) -> Reading:
    behaviour = oddball.read_bids_events(folder / BIDS_TABLE)
    return Reading({"file": mark(behaviour.events)}, (*behaviour.repaired, *behaviour.problems))


def _bids_rows(name: str, sound: bytes, damaged: bytes) -> bool:
    """Times and durations that are numbers; the words are compared with each other."""
    try:
        tables = [[line.split("\t") for line in content.decode().splitlines()] for content in (sound, damaged)]
        for table in tables:
            for row in table[1:]:
                for place in (0, 1, 3, 5):
                    if row[place] not in ("n/a", "standard", "target"):
                        float(row[place])
                        row[place] = "0"
    except (ValueError, IndexError, UnicodeDecodeError):
        return False
    first, second = ([tuple(row) for row in table] for table in tables)
    # a trial may be lacking, or have changed its kind: nothing else in the table says so
    words = [(row[0] == "0", *row[2:]) for row in first]
    return first[:1] == second[:1] and all((row[0] == "0", *row[2:]) in words for row in second)


# --- datasets --------------------------------------------------------------------------------------------------------


def _dataset(module, folder: Path, **options) -> Reading:
    recordings = module.read(folder, **options)
    recordings.check()
    values, refused, said = {"dataset": str(recordings.simulated)}, {}, list(recordings.notes)
    for recording in recordings:
        said += [*recording.repaired, *recording.problems, *recording.notes]
        tables = (recording.epochs, recording.events)
        if not recording.usable:
            refused[recording.name] = " ".join(recording.problems)
            values[recording.name] = mark(recording.status)
            continue
        facts = (recording.ch_names, recording.sfreq, recording.first_sample, recording.n_times, recording.t_r)
        image, raw = recording.image(), recording.raw()
        signals = (image.get_fdata(), np.round(image.affine, 4), raw.get_data(picks=list(_there(recording, raw))))
        values[recording.name] = mark(*facts, recording.n_volumes, recording.scalp_channels, *tables, *signals)
    return Reading(values, tuple(said), refused)


def _late(folder: Path) -> Callable[[], Reading]:
    """Open three datasets with all their signals, which are read when something has happened to the files."""
    recordings = [
        r
        for name, module in (("sleep", sleep), ("oddball", oddball), ("rest", rest))
        for r in module.read(folder / name)
    ]
    handles = [(recording, recording.raw(), recording.image()) for recording in recordings]

    def read() -> Reading:
        values, refused = {}, {}
        for recording, raw, image in handles:
            try:
                values[recording.name] = mark(
                    raw.get_data(), image.get_fdata(), recording.raw().get_data(), recording.image().get_fdata()
                )
            except DataError as error:
                values[recording.name], refused[recording.name] = "refused", str(error)
        return Reading(values, refused=refused)

    return read


def _make_late(folder: Path) -> list[Path]:
    files = []
    for name, make in (("sleep", _make_sleep), ("oddball", _make_oddball), ("rest", _make_rest)):
        (folder / name).mkdir()
        files += make(folder / name)
    return [path for path in files if path.name.endswith((".vhdr", ".vmrk", ".eeg", ".dat", ".nii.gz", ".mat"))]


def _there(recording, raw) -> list[str]:
    return [name for name in recording.scalp_channels if name in raw.ch_names]


def _owner(names: dict[str, str]) -> Callable[[Path], set[str] | None]:
    def parts(path: Path) -> set[str] | None:
        for word, recording in names.items():
            if word in str(path):
                return {recording, "dataset"}
        return None

    return parts


def _make_sleep(folder: Path) -> list[Path]:
    for subject in ("01", "02"):
        sleep_layout.write_run(folder, subject)
        sleep_layout.write_labels(folder, subject, sleep_layout.epochs())
    facts = {"TaskName": "rest", "RepetitionTime": 2.1, "SliceTiming": [0.0, 0.4, 0.8, 1.2, 1.6]}
    (folder / "task-rest_bold.json").write_text(json.dumps(facts, indent=1))
    (folder / "task-rest_eeg.json").write_text(
        json.dumps({"SamplingFrequency": 50, "PowerLineFrequency": 60}, indent=1)
    )
    return sorted(path for path in folder.rglob("*") if path.is_file() and "sub-02" not in path.name)


def _make_oddball(folder: Path) -> list[Path]:
    for subject in ("001", "002"):
        data = np.random.default_rng(5).normal(0, 20, (37, 1200))
        data[-2:] = 0
        data[-2, 40:60] = 25
        for onset, level, reaction in oddball_layout.default_trials():
            data[-2, round(onset * 100) : round(onset * 100) + 20] = level
            if reaction:
                data[-1, round((onset + reaction) * 100) : round((onset + reaction) * 100) + 5] = 100
        oddball_layout.write_run(folder, subject, reref=data, extra={"sfreq": 100.0})
    return sorted(path for path in (folder / "sub001").rglob("*") if path.is_file() and path.name != "cond003.txt")


def _make_rest(folder: Path) -> list[Path]:
    for subject in ("32", "35"):
        rest_layout.write_eeg(folder, subject, sfreq=100.0, lead_in=5.0, points=True)
        rest_layout.write_images(folder, subject)
    (folder / "task-rest_bold.json").write_text(json.dumps({"TaskName": "rest", "RepetitionTime": 2.16}, indent=1))
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "35" not in str(path.relative_to(folder)) and "t1" not in path.name
    )


def _in_sleep(name: str, sound: bytes, damaged: bytes) -> bool:
    if name.endswith((".vhdr", ".vmrk", ".eeg")):
        return _triple(105, _samples("<i2", 1e-7, 64, fixed=False), _header_of_a_run)(name, sound, damaged)
    if name.endswith(".tsv"):
        return _label_rows(name, sound, damaged)
    if name.endswith(".nii.gz"):
        return _image(stated=True)(name, sound, damaged)
    return _leaves(json.loads)(name, sound, damaged)


def _in_rest(name: str, sound: bytes, damaged: bytes) -> bool:
    if name.endswith((".vhdr", ".vmrk", ".dat")):
        return _triple(216, _samples("<f4", 1e-6, 256, fixed=True), _header_of_a_run)(name, sound, damaged)
    if name.endswith(".nii.gz"):
        return _image(stated=True)(name, sound, damaged)
    return _leaves(json.loads)(name, sound, damaged)


def _in_oddball(name: str, sound: bytes, damaged: bytes) -> bool:
    if name.endswith(".mat"):
        return _matlab_of_a_run(name, sound, damaged)
    if name.endswith(".nii.gz"):
        return _image(stated=True)(name, sound, damaged)
    if name.startswith("cond"):  # which trials were clean stands nowhere else
        return bool(damaged.strip()) and set(damaged.splitlines()) <= set(sound.splitlines())
    if (
        name == "behavdata.txt"
    ):  # answers and reaction times stand nowhere else; onsets and kinds do for trials that count
        return _behaviour_rows(sound, damaged)
    return False


def _behaviour_rows(sound: bytes, damaged: bytes) -> bool:
    try:
        tables = [
            [line.split() for line in content.decode().splitlines() if line.strip()] for content in (sound, damaged)
        ]
    except UnicodeDecodeError:
        return False
    first, second = tables
    if first[:1] != second[:1] or any(len(row) != 4 for row in second):
        return False
    # the last trial is in none of the model's files
    stated = [(float(row[0]), row[2]) for row in first[1:] if row[0] != "9.000"]
    try:
        kept = [(float(row[0]), row[2]) for row in second[1:]]
    except ValueError:
        return False
    return all(any(abs(at - onset) < 0.05 and kind == name for at, name in kept) for onset, kind in stated)


# --- the ledger, results, manifests ----------------------------------------------------------------------------------


def _make_claims(folder: Path) -> list[Path]:
    text = (project.data_dir() / "claims.yml").read_text(encoding="utf-8")
    (folder / "claims.yml").write_text("\n".join(_some_claims(text)) + "\n", encoding="utf-8")
    return [folder / "claims.yml"]


def _some_claims(text: str) -> list[str]:
    """The papers, and the claims that stand for themselves, up to twenty of them, and what the papers' headlines need."""
    import yaml

    document = yaml.safe_load(text)
    papers = {name: {**paper, "headlines": {}} for name, paper in document["papers"].items()}
    kept = [claim for claim in document["claims"] if "uses" not in claim][:20]
    return yaml.safe_dump(
        {"schema": 1, "papers": papers, "claims": kept}, sort_keys=False, allow_unicode=True
    ).splitlines()


def _claims(folder: Path) -> Reading:
    return Reading({"file": mark(claims.load(folder / "claims.yml"))})


def _document() -> dict:
    return {
        "schema": 1,
        "chapter": "fusion/graph_fusion",
        "parameters": {"seed": 0, "n_subjects": 23},
        "data": {"dataset": "sleep", "simulated": False, "digest": "0123456789ab"},
        "environment": {},
        "seconds": 3.5,
        "results": [
            {"key": f"graph_fusion/loso/{name}/kappa", "value": 0.5, "low": 0.25, "high": 0.75, "unit": "", "n": 23}
            for name in ("fusion", "eeg_gcn")
        ],
    }


def _make_results(folder: Path) -> list[Path]:
    (folder / "results.json").write_text(json.dumps(_document(), indent=1))
    return [folder / "results.json"]


def _imported(folder: Path) -> Reading:
    return Reading({"file": mark(verdicts.verify([], imported=[folder / "results.json"])["claims"])})


def _make_runs(folder: Path) -> list[Path]:
    (folder / "book").mkdir()
    (folder / "book" / "_toc.yml").write_text("")
    for name in ("one", "two"):
        (folder / "runs" / name).mkdir(parents=True)
        (folder / "runs" / name / "results.json").write_text(
            json.dumps(_document() | {"chapter": f"fusion/{name}"}, indent=1)
        )
    return [folder / "runs" / "one" / "results.json"]


def _latest(folder: Path) -> Reading:
    kept = os.environ.get("EEGFMRI_ROOT")
    os.environ["EEGFMRI_ROOT"] = str(folder)
    try:
        documents, said = results.latest(), tuple(results.damaged())
    finally:
        os.environ.pop("EEGFMRI_ROOT") if kept is None else os.environ.update(EEGFMRI_ROOT=kept)
    # a run that is damaged may be left out, if that is said; the other is there
    values = {
        document["chapter"] if document["chapter"] == "fusion/two" else "fusion/one": mark(
            [document.get(name) for name in ("data", "results")]
        )
        for document in documents
    }
    return Reading(values, said)


def _of_another_schema(name: str, sound: bytes, damaged: bytes) -> bool:
    """Results that another version has written are left to it; of this one's, other values can be seen by nobody."""
    try:
        other = json.loads(damaged)["schema"] != results.SCHEMA
    except (ValueError, TypeError, KeyError, RecursionError):
        other = False
    return other or _leaves(json.loads)(name, sound, damaged)


def _make_manifest(folder: Path) -> list[Path]:
    lines = (project.data_dir() / "manifests" / "sleep.tsv").read_text(encoding="utf-8").splitlines()
    (folder / "sleep.tsv").write_text("\n".join(lines[:40]) + "\n", encoding="utf-8")
    return [folder / "sleep.tsv"]


def _manifest(folder: Path) -> Reading:
    if hasattr(download._manifest, "cache_clear"):
        download._manifest.cache_clear()
    return Reading({"file": mark(download._manifest(folder / "sleep.tsv"))})


def _manifest_rows(name: str, sound: bytes, damaged: bytes) -> bool:
    """Other names, sizes and checksums that could be some, and rows that are lacking."""
    texts = [content.decode("latin-1") for content in (sound, damaged)]
    kept = [[line for line in re.split(r"\r?\n", text) if line and not line.startswith("#")] for text in texts]
    row = re.compile(r"[^\t]+\t[0-9]+\t[0-9a-f]{32}")
    return kept[0][:1] == kept[1][:1] and all(row.fullmatch(line) for line in kept[1][1:])


def _make_record(folder: Path) -> list[Path]:
    files = {
        f"ds116_sub00{n}.tgz": {"bytes": 7, "md5": f"{n:032x}", "complete": True, "unpacked": [f"sub00{n}"]}
        for n in (1, 2)
    }
    download._write_record(folder, files)
    return [folder / download.RECORD]


def _record(folder: Path) -> Reading:
    record = download._record(folder)
    return Reading({"file": mark(record, [download._is_unpacked(folder, name, record) for name in record])})


# --- caches ----------------------------------------------------------------------------------------------------------


def _make_cached(folder: Path) -> list[Path]:
    """Everything that the cache holds after the three datasets were opened and one recording was prepared."""
    (folder / "sleep").mkdir()
    _make_sleep(folder / "sleep")
    header = next((folder / "sleep").rglob("sub-01*.vhdr"))
    header.write_bytes(header.read_bytes().replace("µV".encode(), "μV".encode()))  # so that a corrected copy is made
    (folder / "oddball").mkdir()
    _make_oddball(folder / "oddball")
    with _cache_at(folder / "cache"):
        _read_cached(folder)
    return sorted(path for path in (folder / "cache").rglob("*") if path.is_file() and not path.name.endswith(".lock"))


class _cache_at:
    def __init__(self, folder: Path):
        self.folder, self.kept = folder, os.environ.get("EEGFMRI_CACHE")

    def __enter__(self):
        os.environ["EEGFMRI_CACHE"] = str(self.folder)

    def __exit__(self, *_):
        os.environ.pop("EEGFMRI_CACHE") if self.kept is None else os.environ.update(EEGFMRI_CACHE=self.kept)


def _read_cached(folder: Path) -> Reading:
    first, second = sleep.read(folder / "sleep")
    stream = prepare(second, EegSettings(sfreq=25.0, l_freq=1.0, h_freq=10.0))
    trials = oddball.read(folder / "oddball")[0]
    values = {
        "header": mark(first.raw().get_data()),
        "prepared": mark(np.asarray(stream.load()), stream.sfreq, stream.names, stream.notes, stream.gaps),
        "converted": mark(trials.raw().get_data(), trials.stimulus_events()),
        "facts": mark([recording.summary() for recording in (first, second, trials)]),
    }
    return Reading(values)


def _cached(folder: Path) -> Reading:
    with _cache_at(folder / "cache"):
        return _read_cached(folder)


READERS: dict[str, Reader] = {
    "brainvision": Reader(
        partial(_make_brainvision, binary="INT_16"),
        partial(_eeg, "mine.vhdr"),
        _triple(216, _samples("<i2", 5e-7, 10, fixed=False), _header_of_one_file),
    ),
    "brainvision_float": Reader(
        partial(_make_brainvision, points=True, orientation="VECTORIZED"),
        partial(_eeg, "mine.vhdr"),
        _triple(216, _samples("<f4", 1e-6, 20, fixed=True), _header_of_one_file),
    ),
    "edf": Reader(_make_edf, partial(_eeg, "mine.edf"), _edf),
    "set": Reader(partial(_make_set, compressed=True), partial(_eeg, "mine.set"), _matlab),
    "set_uncompressed": Reader(partial(_make_set, compressed=False), partial(_eeg, "mine.set"), _matlab),
    "nifti_gz": Reader(partial(_make_image, name="mine.nii.gz"), partial(_bold, "mine.nii.gz"), _image(stated=False)),
    "nifti": Reader(partial(_make_image, name="mine.nii"), partial(_bold, "mine.nii"), _image(stated=False)),
    "anatomy": Reader(_make_anatomy, _anatomy, _image(stated=False)),
    "sidecar": Reader(_make_sidecar, _with_sidecar, _sidecar),
    "labels": Reader(_make_labels, _labels, _label_rows),
    "events": Reader(_make_events, _events, _rows((0, 1), texts=(2,))),
    "bids_events": Reader(_make_bids, _bids, _bids_rows),
    "sleep": Reader(
        _make_sleep,
        partial(_dataset, sleep),
        _in_sleep,
        _owner({"sub-01": "sub-01"}),
    ),
    "oddball": Reader(
        _make_oddball, partial(_dataset, oddball), _in_oddball, _owner({"sub001": "sub-001_task001_run001"})
    ),
    "rest": Reader(_make_rest, partial(_dataset, rest), _in_rest, _owner({"/32/": "sub-32_rest"})),
    "late": Reader(
        _make_late,
        lambda folder: _late(folder)(),
        never,
        _owner({"sub-01": "sub-01", "sub001": "sub-001", "/32/": "sub-32"}),
        _late,
    ),
    "claims": Reader(_make_claims, _claims, _leaves(_yaml)),
    "results": Reader(_make_results, _imported, _leaves(json.loads)),
    "latest_results": Reader(_make_runs, _latest, _of_another_schema, lambda path: {"fusion/one"}),
    "manifest": Reader(_make_manifest, _manifest, _manifest_rows),
    "download_record": Reader(_make_record, _record, _leaves(json.loads)),
    "cache": Reader(_make_cached, _cached, never),
}
