"""Images and sidecars as people bring them: mended with the right value and said, or refused in one sentence."""

import gzip
import json
import os

import nibabel
import numpy as np
import pytest

import sleep_layout
from eegfmri.datasets import sleep
from eegfmri.datasets.single_files import open_bold
from eegfmri.errors import DataError
from eegfmri.images import image_facts, open_anatomy, open_image, read_slice_times, repetition_time

RUN = "task-rest_run-1"
AFFINE = np.array([[-3.0, 0, 0, 90], [0, 3, 0, -120], [0, 0, 4, -60], [0, 0, 0, 1]])


@pytest.fixture
def root(tmp_path):
    for subject in ("01", "02"):
        sleep_layout.write_run(tmp_path, subject)
        sleep_layout.write_labels(tmp_path, subject, sleep_layout.epochs())
    return tmp_path


def image_of(root, subject="01"):
    return root / f"sub-{subject}/func/sub-{subject}_{RUN}_bold.nii.gz"


def opened(root):
    first, second = sleep.read(root)
    assert second.status == "ok", second.problems
    return first


def assert_refused(recording, *words):
    assert recording.status == "refused", recording.repaired
    said = recording.problems[0]
    assert "\n" not in said
    for word in words:
        assert word in said, said


def volumes(dtype=np.int16, n_volumes=29):
    return np.random.default_rng(3).integers(100, 900, (6, 7, 5, n_volumes)).astype(dtype)


def save(path, data=None, t_r=2.1, unit="sec", affine=AFFINE, change=None):
    image = nibabel.Nifti1Image(volumes() if data is None else data, affine)
    if image.ndim > 3:
        image.header.set_zooms((*image.header.get_zooms()[:3], t_r, *image.header.get_zooms()[4:]))
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, path)
    if change is not None:
        content = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        change(content)
        path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


def put(offset, dtype, *values):
    """Return a change that writes values into the header."""

    def change(content):
        piece = np.array(values, dtype).tobytes()
        content[offset : offset + len(piece)] = piece

    return change


# --- position --------------------------------------------------------------------------------------------------------

SFORM, QUATERNION, SFORM_CODE, QFORM_CODE, DIM, DATATYPE, PIXDIM = 280, 256, 254, 252, 40, 70, 76


def both_forms(path, change):
    image = nibabel.Nifti1Image(volumes(), AFFINE)
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=1)
    image.header.set_zooms((3, 3, 4, 2.1))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    content = bytearray(gzip.decompress(path.read_bytes()))
    change(content)
    path.write_bytes(gzip.compress(bytes(content)))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_sform_that_is_empty_gives_way_to_the_qform(tmp_path, value):
    path = tmp_path / "bold.nii.gz"
    both_forms(path, put(SFORM, "<f4", *[value] * 12))
    facts = image_facts(path)
    np.testing.assert_allclose(facts.affine, AFFINE, atol=1e-4)
    np.testing.assert_allclose(open_image(path).affine, AFFINE, atol=1e-4)
    assert "qform was used" in facts.repaired[0]
    np.testing.assert_array_equal(np.asarray(open_image(path).dataobj), volumes())


def test_a_quaternion_longer_than_one_by_rounding_is_normalised(tmp_path):
    path = tmp_path / "bold.nii.gz"

    def change(content):
        put(SFORM_CODE, "<i2", 0)(content)
        put(QUATERNION, "<f4", 0.0, 1.00001, 0.0)(content)

    both_forms(path, change)
    with pytest.raises((nibabel.spatialimages.HeaderDataError, ValueError), match="w2"):
        nibabel.load(path)
    facts = image_facts(path)
    assert "rounding" in facts.repaired[0]
    np.testing.assert_allclose(np.abs(facts.affine[:3, :3]), np.abs(AFFINE[:3, :3]), atol=1e-3)
    assert open_bold(path)[0].status == "repaired"


# --- kinds of image --------------------------------------------------------------------------------------------------

COLOURS = np.zeros((4, 4, 4, 12), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
COLOURS["R"] = np.arange(12)


def blank(*places):
    data = volumes()
    for place in places:
        data[..., place] = 0
    return data


NO_IMAGES = {
    "colours": (lambda path: nibabel.save(nibabel.Nifti1Image(COLOURS, AFFINE), path), "colours"),
    "complex numbers": (
        lambda path: nibabel.save(nibabel.Nifti1Image(volumes(np.complex64), AFFINE), path),
        "complex64",
    ),
    "no type": (lambda path: save(path, change=put(DATATYPE, "<i2", 0)), "cannot be read"),
    "an unknown type": (lambda path: save(path, change=put(DATATYPE, "<i2", 4711)), "cannot be read"),
    "three axes": (lambda path: save(path, volumes()[..., 0]), "four dimensions"),
    "five axes": (lambda path: save(path, volumes()[..., None, :], t_r=2.1), "four dimensions"),
    "one volume": (lambda path: save(path, volumes()[..., :1]), "four dimensions"),
    "a blank first volume": (lambda path: save(path, blank(0)), "volume 1 of 29 is blank"),
    "blank last volumes": (lambda path: save(path, blank(27, 28)), "volume 28, 29 of 29 is blank"),
    "nothing but zeros": (lambda path: save(path, 0 * volumes()), "blank"),
    "nothing but NaN": (lambda path: save(path, np.full((6, 7, 5, 29), np.nan, np.float32)), "blank"),
    "more claimed than there is": (lambda path: save(path, change=put(DIM, "<i2", 4, 6, 7, 5, 3000)), "truncated"),
    "far more claimed than there is": (
        lambda path: save(path, change=put(DIM, "<i2", 4, 30000, 30000, 30000, 30000)),
        "truncated",
    ),
    "fewer claimed than there are": (lambda path: save(path, change=put(DIM, "<i2", 4, 6, 7, 5, 10)), "damaged"),
    "an axis of 0": (lambda path: save(path, change=put(DIM, "<i2", 4, 0, 7, 5, 29)), ""),
    "an axis below 0": (lambda path: save(path, change=put(DIM, "<i2", 4, -6, 7, 5, 29)), ""),
    "more axes than there can be": (lambda path: save(path, change=put(DIM, "<i2", 300)), ""),
    "nothing": (lambda path: path.write_bytes(b""), ""),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 40), "gzip"),
    "an empty gzip": (lambda path: path.write_bytes(gzip.compress(b"")), ""),
    "gzip of text": (lambda path: path.write_bytes(gzip.compress(b"<html>not found</html>" * 100)), ""),
    "half of it": (lambda path: os.truncate(save(path), path.stat().st_size // 2), "truncated"),
    "its last bytes missing": (lambda path: os.truncate(save(path), path.stat().st_size - 20), "truncated"),
    "its checksum missing": (lambda path: os.truncate(save(path), path.stat().st_size - 8), "truncated"),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_run_refuses_its_recording_alone(root, kind):
    write, word = NO_IMAGES[kind]
    path = image_of(root)
    path.unlink()
    write(path)
    recording = opened(root)
    assert_refused(recording, path.name, word)


@pytest.mark.parametrize("seed", range(10))
def test_one_flipped_bit_of_a_compressed_image_is_never_read_as_data(root, seed):
    path = image_of(root)
    content = bytearray(path.read_bytes())
    content[int(np.random.default_rng(seed).integers(400, len(content) - 8))] ^= 1 << (seed % 8)
    path.write_bytes(bytes(content))
    assert_refused(opened(root), path.name)


def test_gzip_of_several_members_or_with_padding_is_read(root):
    path = image_of(root)
    content = gzip.decompress(path.read_bytes())
    expected = np.asarray(nibabel.load(path).dataobj)
    first, second = gzip.compress(content[:5000]), gzip.compress(content[5000:])
    for written, faults in (
        (first + second, "compressed in pieces, one behind the other (2)"),
        (gzip.compress(content) + bytes(512), "filled up with zeros (512 bytes)"),
        (first + bytes(5) + second + bytes(2), "one behind the other (2); filled up with zeros (7 bytes)"),
    ):
        path.write_bytes(written)
        for _ in range(2):  # what was found once is remembered, and said again
            recording = opened(root)
            assert recording.status == "repaired", recording.problems
            assert len(recording.repaired) == 1
            assert recording.repaired[0].startswith(path.name)
            assert recording.repaired[0].endswith(f"{faults}; read as meant.")
        np.testing.assert_array_equal(np.asarray(recording.image().dataobj), expected)
    path.write_bytes(gzip.compress(content) + b"\0\1")
    assert_refused(opened(root), path.name)


def test_a_background_of_nan_is_read_as_0_and_said(root):
    data = volumes(np.float32)
    data[0] = np.nan
    save(image_of(root), data)
    recording = opened(root)
    assert recording.status == "repaired"
    assert "16.7% of its values" in recording.repaired[0]
    image = recording.image()
    assert np.isfinite(image.get_fdata()).all()
    assert (np.asarray(image.slicer[..., 3].dataobj)[0] == 0).all()
    np.testing.assert_array_equal(np.asarray(image.dataobj)[1:], data[1:])


def test_an_image_that_is_damaged_after_opening_names_its_file(root):
    recording = opened(root)
    image = recording.image()
    os.truncate(image_of(root), 3000)
    with pytest.raises(DataError, match=image_of(root).name):
        np.asarray(image.dataobj)
    with pytest.raises(DataError, match=image_of(root).name):
        recording.image()


def test_an_image_that_changed_is_examined_again(root):
    assert opened(root).status == "ok"
    save(image_of(root), blank(0))
    assert_refused(opened(root), "blank")


def test_an_anatomical_image_with_an_axis_of_one_is_read(tmp_path):
    data = volumes()[..., 0]
    for shape in (data.shape, (*data.shape, 1), (*data.shape, 1, 1)):
        image = open_anatomy(save(tmp_path / "t1.nii.gz", data.reshape(shape), t_r=1))
        np.testing.assert_array_equal(np.asarray(image.dataobj), data)
        np.testing.assert_allclose(image.affine, AFFINE)
    with pytest.raises(DataError, match="three axes"):
        open_anatomy(save(tmp_path / "t1.nii.gz"))


def test_the_simulators_mark_counts_in_an_image(root):
    image = nibabel.load(image_of(root))
    image.header["descrip"] = b"SIMULATED by eegfmri"
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), image_of(root))
    assert sleep.read(root).simulated
    assert open_bold(image_of(root)).simulated
    assert not open_bold(image_of(root, "02")).simulated


# --- repetition time -------------------------------------------------------------------------------------------------


def sidecar(root, facts, subject="01"):
    path = root / f"sub-{subject}/func/sub-{subject}_{RUN}_bold.json"
    path.write_text(facts if isinstance(facts, str) else json.dumps(facts), encoding="utf-8")


@pytest.mark.parametrize(("value", "unit"), [(2.1, "sec"), (2100, "msec"), (2_100_000, "usec"), (2.1, "unknown")])
@pytest.mark.parametrize("stated", [2.1, "2.1", " 2.1 ", None])
def test_every_unit_of_the_header_is_read(root, value, unit, stated):
    save(image_of(root), t_r=value, unit=unit)
    sidecar(root, {} if stated is None else {"RepetitionTime": stated})
    recording = opened(root)
    assert recording.t_r == pytest.approx(2.1), recording.problems
    said = (f"sub-01_{RUN}_bold.json: RepetitionTime is written as a text; read as meant.",)
    assert recording.repaired == said * isinstance(stated, str)
    assert recording.status == ("repaired" if isinstance(stated, str) else "ok")


@pytest.mark.parametrize("header", [0.0, 1.0, np.nan])
def test_a_header_that_is_plainly_empty_gives_way_and_this_is_said(root, header):
    save(image_of(root), change=put(PIXDIM + 16, "<f4", header))
    recording = opened(root)
    assert (recording.status, recording.t_r) == ("repaired", 2.1), recording.problems
    assert "repetition time" in recording.repaired[0]


@pytest.mark.parametrize("header", [2.0, 3.0, 21.0])
def test_two_statements_that_differ_are_named_and_nothing_is_guessed(root, header):
    save(image_of(root), t_r=header)
    assert_refused(opened(root), f"header {header:g} s", "sidecar 2.1 s", "guess")


def test_a_sidecar_that_differs_from_triggers_and_header_is_refused(root):
    sidecar(root, {"RepetitionTime": 2.5})
    assert_refused(opened(root), "sidecar 2.5 s", "header 2.1 s", "triggers 2.1 s")


@pytest.mark.parametrize("value", ["n/a", None, [], {}, "two", -1, 0, float("nan")])
def test_a_repetition_time_that_is_no_number_counts_as_none(root, value):
    sidecar(root, {"RepetitionTime": value})
    assert (opened(root).status, opened(root).t_r) == ("ok", pytest.approx(2.1))


@pytest.mark.parametrize("text", ["[2.1]", '{"RepetitionTime": 2.1,}', "", "null", "\x00\x01", "[" * 100_000])
def test_a_damaged_sidecar_refuses_its_run_alone_and_is_named(root, text):
    sidecar(root, text)
    assert_refused(opened(root), "_bold.json")


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_sidecar_with_a_mark_of_byte_order_is_read(root, mark):
    path = root / f"sub-01/func/sub-01_{RUN}_bold.json"
    path.write_bytes(json.dumps({"RepetitionTime": 2.1, "Place": "Köln"}).encode(mark))
    recording = opened(root)
    fault = "a mark of byte order before its text" if mark == "utf-8-sig" else "encoded in UTF-16"
    assert (recording.status, recording.repaired) == ("repaired", (f"{path.name}: {fault}; read as meant.",))


@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig"])
def test_what_every_run_inherits_is_one_note_on_the_dataset(root, mark):
    for subject in ("01", "02"):
        sidecar(root, {}, subject)
    (root / "task-rest_bold.json").write_text(json.dumps({"RepetitionTime": "2.1"}), encoding=mark)
    recordings = sleep.read(root)
    assert [(recording.status, recording.t_r) for recording in recordings] == [("ok", 2.1)] * 2
    (note,) = [note for note in recordings.notes if "task-rest_bold.json" in note]
    order = "a mark of byte order before its text; " * (mark == "utf-8-sig")
    assert note == f"task-rest_bold.json: {order}RepetitionTime is written as a text; read as meant."
    alone = open_bold(image_of(root))
    assert (alone[0].status, alone.notes) == ("ok", (note,))
    sidecar(root, {"RepetitionTime": "2.1"})
    alone = open_bold(image_of(root))
    assert alone[0].repaired == (f"sub-01_{RUN}_bold.json: RepetitionTime is written as a text; read as meant.",)
    assert alone.notes == (note,)


def test_slice_times_as_texts_are_said_when_the_run_is_opened(root):
    sidecar(root, {"RepetitionTime": 2.1, "SliceTiming": ["0.0", "0.4", 0.8, "1.2", "1.6"]})
    assert opened(root).repaired == (f"sub-01_{RUN}_bold.json: SliceTiming is written as a text; read as meant.",)
    np.testing.assert_allclose(read_slice_times(image_of(root)), [0, 0.4, 0.8, 1.2, 1.6])


def test_a_single_image_compares_header_and_sidecar_and_can_be_told(tmp_path):
    path = save(tmp_path / "mine.nii.gz", t_r=1.0)
    assert open_bold(path)[0].t_r == 1.0
    (tmp_path / "mine.json").write_text('{"RepetitionTime": 2}')
    with pytest.raises(DataError, match=r"header 1 s, its sidecar 2 s.*t_r"):
        open_bold(path)
    assert open_bold(path, 2.0)[0].t_r == 2.0
    save(path, t_r=0.0)
    (recording,) = open_bold(path)
    assert (recording.t_r, recording.status) == (2.0, "repaired")
    (tmp_path / "mine.json").unlink()
    with pytest.raises(DataError, match="t_r"):
        open_bold(path)


def test_triggers_alone_tell_an_empty_header():
    assert repetition_time("x", None, None, 2.0)[0] == 2.0
    assert repetition_time("x", None, None, None) == (None, ())
    with pytest.raises(DataError, match="differ"):
        repetition_time("x", 1.0, None, 2.0)


# --- slice times -----------------------------------------------------------------------------------------------------


def times_of(tmp_path, facts):
    (tmp_path / "x_bold.json").write_text(json.dumps(facts))
    return read_slice_times(tmp_path / "x_bold.nii.gz")


def test_slices_counted_from_the_other_end_are_reversed(tmp_path):
    np.testing.assert_array_equal(times_of(tmp_path, {"SliceTiming": [0, 0.5, 1]}), [0, 0.5, 1])
    np.testing.assert_array_equal(
        times_of(tmp_path, {"SliceTiming": [0, 0.5, 1], "SliceEncodingDirection": "k"}), [0, 0.5, 1]
    )
    np.testing.assert_array_equal(
        times_of(tmp_path, {"SliceTiming": [0, "0.5", 1], "SliceEncodingDirection": "k-"}), [1, 0.5, 0]
    )


@pytest.mark.parametrize(
    "value", [[], "n/a", None, "", ["n/a", 0.5], [0, None], "0, 1", [0, -1], [[0, 1]], {"0": 1}, 7]
)
def test_slice_times_that_are_none_are_a_sentence(tmp_path, value):
    with pytest.raises(DataError, match="SliceTiming"):
        times_of(tmp_path, {"SliceTiming": value})


@pytest.mark.parametrize("direction", ["j", "i-", "up"])
def test_slices_along_another_axis_are_refused(tmp_path, direction):
    with pytest.raises(DataError, match="SliceEncodingDirection"):
        times_of(tmp_path, {"SliceTiming": [0, 1], "SliceEncodingDirection": direction})


def test_a_sidecar_of_the_task_is_inherited_and_the_images_own_wins(tmp_path):
    func = tmp_path / "sub-01" / "func"
    func.mkdir(parents=True)
    (tmp_path / "task-rest_bold.json").write_text('{"SliceTiming": [0, 1]}')
    (tmp_path / "task-other_bold.json").write_text('{"SliceTiming": [9, 9]}')
    image = func / "sub-01_task-rest_run-1_bold.nii.gz"
    np.testing.assert_array_equal(read_slice_times(image), [0, 1])
    (func / "sub-01_task-rest_run-1_bold.json").write_text('{"SliceTiming": [1, 0]}')
    np.testing.assert_array_equal(read_slice_times(image), [1, 0])
