"""Two places that state the same thing, and values that cannot be: said or refused, by one mechanism for each kind."""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

import fuzz_readers
import oddball_layout
import rest_layout
import sleep_layout
from eegfmri.datasets import oddball, rest, sleep
from eegfmri.datasets.label_tables import read_labels
from eegfmri.datasets.oddball_trials import read_behaviour
from eegfmri.datasets.single_files import open_bold, open_eeg
from eegfmri.errors import DataError, plain
from eegfmri.images import image_facts, read_slice_times
from eegfmri.preprocessing.eeg import bad_spans


@pytest.fixture
def export(tmp_path):
    header = rest_layout.write_eeg(tmp_path, points=True)
    rest_layout.write_images(tmp_path)
    return header.with_suffix(".dat")


def changed(export, place, channel, value):
    samples = np.fromfile(export, "<f4").reshape(-1, 64)
    samples[place, channel] = value
    samples.tofile(export)
    (recording,) = rest.read(export.parents[3])
    return recording


@pytest.mark.parametrize("value", [1e7, -3e38, 2e6])
def test_a_sample_that_no_amplifier_gives_is_a_gap(export, value):
    recording = changed(export, 7000, 3, value)
    assert recording.status == "repaired"
    ((onset, seconds),) = bad_spans(recording.raw())
    assert (onset, seconds) == pytest.approx((8.0, 1 / 250))
    assert np.abs(recording.raw().get_data()).max() < 1e-2


def test_such_a_sample_off_the_scalp_is_bridged_and_noted(export):
    recording = changed(export, slice(7000, 7050), 31, 1e9)
    assert recording.status == "ok"
    assert "ECG has no value for 0.2 s" in recording.notes[0]
    assert np.abs(recording.raw().get_data(picks=["ECG"])).max() < 1e-2


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_channel_of_another_size_is_named(export, factor):
    samples = np.fromfile(export, "<f4").reshape(-1, 64)
    samples[:, 5] *= factor
    samples.tofile(export)
    (recording,) = rest.read(export.parents[3])
    assert recording.usable
    (note,) = recording.notes
    assert "1 channel is not of the others' size (C4 " in note


def test_a_channel_of_another_resolution_or_unit_is_named(tmp_path):
    header = sleep_layout.write_run(tmp_path)
    sleep_layout.write_labels(tmp_path, "01", sleep_layout.epochs())
    text = header.read_text(encoding="utf-8")
    header.write_text(
        text.replace("Ch5=C3,,0.1,µV", "Ch5=C3,,0.2,µV").replace("ECG,,0.1,µV", "ECG,,0.1,µS"), encoding="utf-8"
    )
    (recording,) = sleep.read(tmp_path)
    assert recording.status == "ok"
    assert "units that are none of voltage (ECG 'µS')" in recording.notes[0]
    assert "another resolution for C3 0.2 µV" in recording.notes[1]


# --- files that are not as long as they say --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "word"), [(1000, "holds 11 of the 12 records"), (5, "holds 11 of"), (3500, "holds 8 of")]
)
def test_an_edf_file_that_is_cut_off_says_so(tmp_path, lost, word):
    (path,) = fuzz_readers._make_edf(tmp_path)
    assert open_eeg(path)[0].repaired == ()
    path.write_bytes(path.read_bytes()[:-lost])
    assert word in open_eeg(path)[0].repaired[0]


def test_an_edf_file_that_is_longer_than_it_says_is_refused(tmp_path):
    (path,) = fuzz_readers._make_edf(tmp_path)
    path.write_bytes(path.read_bytes() + bytes(1000))
    with pytest.raises(DataError, match=r"mine\.edf is longer than the 12 records"):
        open_eeg(path)


def bomb(path):
    """Four GiB of zeros behind a sound head."""
    coder, raw = zlib.compressobj(9), zlib.compressobj(9, zlib.DEFLATED, -15)
    claim = (
        struct.pack("<2I", 14, 0xFFFFFFF0) + struct.pack("<4I", 6, 8, 6, 0) + struct.pack("<2I2i", 5, 8, 37, 14_000_000)
    )
    claim += struct.pack("<2I", 1, 10) + b"data_reref".ljust(16, b"\0") + struct.pack("<2I", 9, 0xFFFFFF00)
    block = raw.compress(bytes(1 << 20)) + raw.flush(zlib.Z_FULL_FLUSH)
    body = coder.compress(claim) + coder.flush(zlib.Z_FULL_FLUSH) + 4095 * block
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<II", 15, len(body)) + body)


def too_long(path):
    """An array whose data claim to go on behind its end."""
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<2I", 9, 37 * 12000 * 8))
    content[place + 4 : place + 8] = struct.pack("<I", 37 * 12000 * 8 + 4096)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "compress", "word"),
    [(bomb, True, "grows to more than 100 times"), (too_long, False, "longer than what holds it")],
)
def test_a_matlab_file_is_measured_before_anything_is_allocated(tmp_path, harm, compress, word):
    oddball_layout.write_run(tmp_path, compress=compress)
    harm(tmp_path / "sub001/EEG/task001_run001/EEG_rereferenced.mat")
    (recording,) = oddball.read(tmp_path)
    assert recording.status == "refused"
    assert word in recording.problems[0]


def test_a_flipped_bit_of_a_compressed_array_is_seen(tmp_path):
    path = tmp_path / "mine.set"
    fuzz_readers._make_set(tmp_path, compressed=True)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"mine\.set is damaged"):
        open_eeg(path)


def test_a_matlab_7_3_array_is_refused_by_name(tmp_path):
    h5py = pytest.importorskip("h5py")
    oddball_layout.write_run(tmp_path)
    path = tmp_path / "sub001/EEG/task001_run001/EEG_rereferenced.mat"
    path.unlink()
    with h5py.File(path, "w", userblock_size=512) as file:
        file["data_reref"] = np.zeros((37, 100))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    (recording,) = oddball.read(tmp_path)
    assert "MATLAB 7.3" in recording.problems[0]


# --- images ----------------------------------------------------------------------------------------------------------


def edited(path, change):
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content), mtime=0))


@pytest.fixture
def image(tmp_path):
    (path,) = fuzz_readers._make_image(tmp_path, "mine.nii.gz")
    assert image_facts(path).repaired == ()
    return path


def put(offset, dtype, value):
    return lambda content: content.__setitem__(
        slice(offset, offset + np.dtype(dtype).itemsize), np.array(value, dtype).tobytes()
    )


STATED_TWICE = {
    "voxel sizes": (put(80, "<f4", 3.5), "its affine gives 3 x 3 x 4 mm"),
    "places": (put(292, "<f4", 97.0), "place it 7 mm apart"),
    "a form that does not exist": (put(254, "<i2", 4711), "its header was mended (sform_code 4711"),
    "units of space": (put(123, "<u1", 3 | 8), "states voxels of 3 x 3 x 4 µm, which cannot be"),
    "a size of the header": (put(0, "<i4", 340), "its header was mended (sizeof_hdr"),
}


@pytest.mark.parametrize("kind", STATED_TWICE)
def test_statements_of_a_header_that_differ_are_said(image, kind):
    change, word = STATED_TWICE[kind]
    edited(image, change)
    (recording,) = open_bold(image)
    assert recording.status == "repaired"
    assert any(word in text for text in recording.repaired), recording.repaired


def test_a_unit_of_time_that_is_none_says_nothing(image):
    edited(image, put(123, "<u1", 2 | 32))  # Hz
    with pytest.raises(DataError, match="does not say how long a volume takes"):
        open_bold(image)


@pytest.mark.parametrize(
    ("facts", "word"),
    [
        ({"SliceTiming": [0, 0.4, 0.8, 1.2]}, "4 times, mine.nii.gz has 5 slices"),
        ({"SliceTiming": [0, 400, 800, 1200, 1600]}, "goes to 1600 s, a volume takes 2.1 s"),
    ],
)
def test_slice_times_are_held_against_the_image(image, facts, word):
    image.with_name("mine.json").write_text(json.dumps(facts))
    with pytest.raises(DataError, match=word):
        read_slice_times(image)


def test_a_name_that_is_stated_twice_and_differently_is_refused(image):
    image.with_name("mine.json").write_text('{"RepetitionTime": 2.1, "RepetitionTime": 2.1}')
    assert open_bold(image)[0].status == "ok"
    image.with_name("mine.json").write_text('{"RepetitionTime": 2.1, "RepetitionTime": 2}')
    with pytest.raises(DataError, match="stated twice and differently"):
        open_bold(image)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_epochs_without_a_row_are_counted_and_strange_runs_named(tmp_path):
    rows = [*sleep_layout.epochs(labels="WW112"), "task-rest_rum-1\t0\tW"]
    del rows[2]
    labels = read_labels(sleep_layout.write_labels(tmp_path, "07", rows))
    assert "has no row for 1 of the 5 epochs" in labels.repaired["task-rest_run-1"][0]
    assert "is not the name of a run" in labels.problems["task-rest_rum-1"][0]
    assert labels.problems.keys() == {"task-rest_rum-1"}


@pytest.mark.parametrize("onset", ["²", "1_0", "١٢", "-30", "1e999", ""])
def test_a_time_that_is_no_number_is_a_problem_of_its_run(tmp_path, onset):
    labels = read_labels(sleep_layout.write_labels(tmp_path, "07", [f"task-rest_run-1\t{onset}\tW"]))
    assert "is not 'run, seconds, stage'" in labels.problems["task-rest_run-1"][0]


def test_a_table_of_trials_and_the_models_files_are_compared(tmp_path):
    folder = oddball_layout.write_run(tmp_path)
    table = folder / "behav/task001_run001/behavdata.txt"
    table.write_text(table.read_text().replace("1\ttarget", "1\tstandard"))
    (recording,) = oddball.read(tmp_path)
    assert any("1 trials are of another kind" in text for text in recording.repaired)


# --- later -----------------------------------------------------------------------------------------------------------


def test_a_file_that_changed_since_it_was_opened_is_refused(tmp_path):
    header = sleep_layout.write_run(tmp_path)
    sleep_layout.write_labels(tmp_path, "01", sleep_layout.epochs())
    (recording,) = sleep.read(tmp_path)
    raw, image = recording.raw(), recording.image()
    sleep_layout.write_run(tmp_path, seed=1)
    for read in (recording.raw, recording.image, raw.get_data, image.get_fdata):
        with pytest.raises(DataError, match="has changed since it was opened"):
            read()
    assert sleep.read(tmp_path)[0].raw().get_data().shape == (32, raw.n_times)
    header.unlink()
    with pytest.raises(DataError):
        recording.raw()


def test_a_damaged_truth_leaves_the_recordings_simulated(tmp_path):
    sleep_layout.write_run(tmp_path)
    sleep_layout.write_labels(tmp_path, "01", sleep_layout.epochs())
    for text in ("{", "[]", '{"digest": [1]}'):
        (tmp_path / "simulated.json").write_text(text)
        recordings = sleep.read(tmp_path)
        assert recordings.simulated
        assert recordings.digest


def test_what_is_quoted_fits_into_one_line_of_a_terminal():
    said = plain("a\nb\t\x1b[2J " + "x" * 10_000 + " y" * 10_000)
    assert len(said) <= 1200
    assert said.isprintable()


def test_folders_and_loops_in_the_place_of_a_file_are_named(tmp_path):
    loop = tmp_path / "loop.edf"
    loop.symlink_to(loop.name)
    for path in (loop, tmp_path, "/dev/zero", "a\0b", "~nobody_of_this_name/x.edf"):
        with pytest.raises(DataError) as error:
            open_eeg(path)
        assert "\n" not in str(error.value)


def test_sound_files_have_nothing_said_of_them(tmp_path):
    for name in ("brainvision", "edf", "set", "nifti"):
        folder = tmp_path / name
        folder.mkdir()
        reader = fuzz_readers.READERS[name]
        reader.make(folder)
        assert reader.read(folder).said == (), name


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("place", [0, 4])
@pytest.mark.parametrize("claimed", [2**29 + 1, 2**31 - 1, -1])
def test_an_array_that_claims_more_values_than_its_bytes_is_never_allocated(tmp_path, claimed, place, compressed):
    cells = np.empty((1, 3), dtype=object)
    cells[:] = "a"
    savemat(tmp_path / "mine.set", {"EEG": cells})
    content = bytearray((tmp_path / "mine.set").read_bytes())
    # flags: a tag and 8 bytes; then the tag of the shape
    at = 128 + 8 + 16 + 8 + place
    content[at : at + 4] = struct.pack("<i", claimed)
    if compressed:
        packed = zlib.compress(bytes(content[128:]))
        content[128:] = struct.pack("<2I", 15, len(packed)) + packed
    (tmp_path / "mine.set").write_bytes(content)
    with pytest.raises(DataError, match=r"array of shape .*which is more than it holds"):
        open_eeg(tmp_path / "mine.set")


@pytest.mark.parametrize("place", ["element", "array"])
@pytest.mark.parametrize("kind", [0, 8, 10, 19, 154, 255])
def test_a_type_that_there_is_none_of_is_refused_before_anything_looks_it_up(tmp_path, kind, place):
    """Another reader of such files takes the type for a place in a table, and the process ends."""
    savemat(tmp_path / "mine.set", {"EEG": np.arange(12.0)})
    content = bytearray((tmp_path / "mine.set").read_bytes())
    if place == "array":
        content[128 + 16] = kind if kind not in (8, 10) else 30
    else:
        at = content.index(struct.pack("<2I", 9, 96))
        content[at] = kind
    (tmp_path / "mine.set").write_bytes(content)
    with pytest.raises(DataError, match="of type .*which there is none of"):
        open_eeg(tmp_path / "mine.set")


@pytest.mark.parametrize("row", ["1.50", "1.500 0.2", "1.500 0.2 ", "1.500 0.2 1 1"])
def test_a_row_of_a_models_file_that_breaks_off_is_no_onset(tmp_path, row):
    folder = tmp_path / "model/model001/onsets/task001_run001"
    folder.mkdir(parents=True)
    (folder / "cond002.txt").write_text(f"0.5 0.2 1\n{row}")
    with pytest.raises(DataError, match=r"cond002.txt, line 2: .* is not 'onset duration weight'"):
        read_behaviour(tmp_path, "task001_run001")
