"""The resting reader: every trap of the NODDI archives, planted one at a time."""

import os

import nibabel
import numpy as np
import pytest

from eegfmri import opening
from eegfmri.datasets import rest, roots
from eegfmri.errors import DataError, RequestError
from rest_layout import CHANNELS, T_R, stamp, write_eeg, write_images, write_markers


def only(root, **options):
    (recording,) = rest.read(root, **options)
    return recording


@pytest.fixture
def root(tmp_path):
    write_eeg(tmp_path)
    write_images(tmp_path)
    return tmp_path


def signal(root, dtype="<f4", subject="35"):
    path = root / f"EEG1/{subject}/export/{stamp(subject)}_Pulse_Artifact_Correction_bin.dat"
    return np.fromfile(path, dtype).reshape(-1, 64)


def test_an_intact_recording_is_ok(root):
    recording = only(root)
    assert (recording.status, recording.repaired, recording.problems) == ("ok", (), ())
    assert (recording.name, recording.sfreq, recording.t_r, recording.n_volumes) == ("sub-35_rest", 250.0, T_R, 12)
    assert recording.ch_names == CHANNELS
    assert len(recording.scalp_channels) == 63
    assert recording.t1_file.name == "2_fl3D_t1_sag_fun_defaced.nii.gz"
    assert recording.image().shape == (6, 7, 5, 12)


def test_time_zero_is_the_first_volume_marker_not_the_first_sample(root):
    recording = only(root)
    assert recording.first_sample == 20 * 250
    raw = recording.raw()
    assert not raw.preload
    np.testing.assert_allclose(raw[0, :5][0][0], signal(root)[5000:5005, 0] * 1e-6, rtol=1e-6)
    assert recording.raw_uncut().n_times == len(signal(root))


def test_the_ecg_is_typed_ecg_and_all_others_are_on_the_scalp(root):
    raw = only(root).raw()
    assert raw.get_channel_types(["ECG"]) == ["ecg"]
    assert raw.get_channel_types().count("eeg") == 63


def test_channels_without_coordinates_are_on_the_scalp_all_the_same(tmp_path):
    write_eeg(tmp_path, "50", part="EEG2", coordinates=("O9", "O10", "ECG"))
    write_images(tmp_path, "50")
    raw = only(tmp_path).raw()
    assert raw.get_channel_types(["O9", "O10", "ECG"]) == ["eeg", "eeg", "ecg"]


@pytest.mark.parametrize("binary", ["IEEE_FLOAT_32", "INT_16"])
@pytest.mark.parametrize("orientation", ["MULTIPLEXED", "VECTORIZED"])
def test_number_format_and_order_come_from_the_header(tmp_path, binary, orientation):
    header = write_eeg(tmp_path, binary=binary, orientation=orientation, points=True)
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "ok"
    stored = np.fromfile(header.with_suffix(".dat"), "<i2" if binary == "INT_16" else "<f4")
    stored = stored.reshape(-1, 64) if orientation == "MULTIPLEXED" else stored.reshape(64, -1).T
    scale = 0.5e-6 if binary == "INT_16" else 1e-6
    np.testing.assert_allclose(recording.raw()[5, :4][0][0], stored[5000:5004, 5] * scale, rtol=1e-6)


@pytest.mark.parametrize(("subject", "part"), [("38", "EEG1"), ("50", "EEG2")])
def test_odd_stamps_are_names_and_nothing_more(tmp_path, subject, part):
    write_eeg(tmp_path, subject, part=part)
    write_images(tmp_path, subject)
    assert only(tmp_path).status == "ok"


def test_subject_40s_series_numbers(tmp_path):
    write_eeg(tmp_path, "40")
    write_images(tmp_path, "40", series="05")
    recording = only(tmp_path)
    assert recording.status == "ok"
    assert recording.t1_file.name.startswith("04_")


def test_subject_32_is_cut_to_the_scan_and_called_otherwise(tmp_path):
    # 22 samples longer than the scan, as the real one is.
    write_eeg(tmp_path, "32", step="_Segmentation_bin", lead_in=0, tail=22 / 250, markers=[])
    write_images(tmp_path, "32")
    recording = only(tmp_path)
    assert (recording.status, recording.first_sample, recording.n_volumes) == ("repaired", 0, 12)
    assert "cut to the scan" in recording.repaired[0]


def test_two_exports_of_one_subject_use_the_corrected_one(tmp_path):
    write_eeg(tmp_path)
    write_eeg(tmp_path, step="_Segmentation_bin", lead_in=0)
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "ok"
    assert "Pulse_Artifact_Correction" in recording.eeg_file.name
    write_eeg(tmp_path, step="_b_Pulse_Artifact_Correction_bin")
    assert "keep one" in only(tmp_path).problems[0]


def test_no_marker_and_a_longer_recording_is_refused_not_started_at_zero(tmp_path):
    write_eeg(tmp_path, markers=[("Stimulus", "S  5", 3.0)])
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "refused"
    assert "would be a guess" in recording.problems[0]
    assert "Stimulus/S  5" in recording.problems[0]
    with pytest.raises(DataError, match="refused"):
        recording.raw()


def test_a_recording_shorter_than_the_scan_without_markers_is_refused(tmp_path):
    write_eeg(tmp_path, lead_in=0, tail=-1, markers=[])
    write_images(tmp_path)
    assert only(tmp_path).status == "refused"


@pytest.mark.parametrize(
    ("kind", "name"), [("Response", "R128"), ("Stimulus", "T  1"), ("Scan Start", ""), ("Volume", "Volume")]
)
def test_every_name_of_a_volume_marker(tmp_path, kind, name):
    write_eeg(tmp_path, markers=[(kind, name, 20 + k * T_R) for k in range(12)])
    write_images(tmp_path)
    recording = only(tmp_path)
    assert (recording.status, recording.first_sample) == ("ok", 5000)
    assert len(recording.notes) == (name != "R128")
    assert all("instead of 'R128'" in note for note in recording.notes)
    assert recording.summary()["notes"] == list(recording.notes)


def test_usual_markers_that_are_passed_over_are_named(tmp_path):
    scan = [("Toggle", "T  1", 20 + k * T_R) for k in range(12)]
    write_eeg(tmp_path, markers=[*scan, *(("Response", "R128", 2 + k * T_R) for k in range(3))])
    write_images(tmp_path)
    recording = only(tmp_path)
    assert (recording.status, recording.first_sample) == ("ok", 5000)
    assert recording.notes[1] == "Not used as volume markers: R128 marks 3 volumes, the image has 12."


@pytest.mark.parametrize("description", ["", "Scan Start"])
def test_one_scan_start_is_the_start(tmp_path, description):
    write_eeg(tmp_path, markers=[("Comment" if description else "Scan Start", description, 11.0)], lead_in=11)
    write_images(tmp_path)
    recording = only(tmp_path)
    assert (recording.status, recording.first_sample, recording.n_volumes) == ("ok", 2750, 12)
    (note,) = recording.notes
    assert note.startswith("One marker 'Scan Start'")


def test_one_volume_marker_is_no_start(tmp_path):
    write_eeg(tmp_path, markers=[("Response", "R128", 20.0)])
    write_images(tmp_path)
    assert only(tmp_path).status == "refused"


def test_kinds_that_disagree_are_refused_and_kinds_that_agree_are_not(root):
    volumes = [("Response", "R128", 20 + k * T_R) for k in range(12)]
    markers = root / f"EEG1/35/export/{stamp('35')}_Pulse_Artifact_Correction_bin.vmrk"
    write_markers(markers, [("Scan Start", "", 20.004), *volumes])
    assert only(root).status == "ok"
    write_markers(markers, [("Scan Start", "", 18.0), *volumes])
    recording = only(root)
    assert recording.status == "refused"
    assert "disagree" in recording.problems[0]


def test_markers_of_another_scan_are_not_used(tmp_path):
    localiser = [("Response", "R128", 2 + 1.5 * k) for k in range(6)]
    write_eeg(tmp_path, markers=localiser + [("Response", "R128", 20 + k * T_R) for k in range(12)])
    write_images(tmp_path)
    recording = only(tmp_path)
    assert (recording.status, recording.first_sample) == ("repaired", 5000)
    assert "other scans" in recording.repaired[0]


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ([*range(5), *range(7, 12)], "repaired"),  # two lost inside
        (range(3, 12), "refused"),  # the start is lost
        (range(9), "refused"),  # the end is lost though the EEG goes on
        (range(15), "refused"),  # three volumes too many: at which end would be a guess
        (range(13), "ok"),  # one begun after the last
    ],
)
def test_lost_and_surplus_markers(tmp_path, numbers, status):
    write_eeg(tmp_path, tail=20, markers=[("Response", "R128", 20 + k * T_R) for k in numbers])
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == status, recording.repaired + recording.problems
    if status != "refused":
        assert (recording.first_sample, recording.n_volumes) == (5000, 12)


def test_eeg_that_ends_early_caps_the_volumes(tmp_path):
    header = write_eeg(tmp_path, markers=[("Response", "R128", 20 + k * T_R) for k in range(8)], points=True)
    write_images(tmp_path)
    os.truncate(header.with_suffix(".dat"), 256 * round((20 + 7.5 * T_R) * 250) + 11)
    recording = only(tmp_path)
    assert (recording.status, recording.n_volumes) == ("repaired", 7)
    said = " ".join(recording.repaired)
    assert "11 bytes into a sample" in said
    assert "its header promises" in said
    assert "after 7 of 12 volumes" in said


def test_a_truncated_channelwise_file_is_refused(tmp_path):
    header = write_eeg(tmp_path, orientation="VECTORIZED", points=True)
    write_images(tmp_path)
    os.truncate(header.with_suffix(".dat"), header.with_suffix(".dat").stat().st_size - 6400)
    recording = only(tmp_path)
    assert recording.status == "refused"
    assert "channel after channel" in recording.problems[0]


def test_a_header_that_names_other_files_is_resolved_by_its_own_stem(tmp_path):
    write_eeg(tmp_path, named="NODDI_pilot")
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "repaired"
    assert "'NODDI_pilot.dat', which does not exist" in recording.repaired[0]
    assert recording.raw().n_times > 0
    assert all(path.is_file() for path in recording.files())


def test_a_header_that_names_another_recordings_files_reads_its_own(tmp_path):
    other = write_eeg(tmp_path, step="_Segmentation_bin", seed=9)
    write_eeg(tmp_path, named=other.stem)
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "repaired"
    np.testing.assert_allclose(recording.raw()[0, :4][0][0], signal(tmp_path)[5000:5004, 0] * 1e-6, rtol=1e-6)


def test_a_header_without_its_signals_is_refused(root):
    (root / f"EEG1/35/export/{stamp('35')}_Pulse_Artifact_Correction_bin.dat").unlink()
    recording = only(root)
    assert recording.status == "refused"
    assert "fetch" in recording.problems[0]


def test_a_recording_of_another_subject_is_refused(root):
    os.rename(root / "EEG1" / "35", root / "EEG1" / "36")
    os.rename(root / "fMRI" / "35", root / "fMRI" / "36")
    recording = only(root)
    assert recording.status == "refused"
    assert "named after subject 35" in recording.problems[0]


def test_raw_is_read_at_its_own_rate(root):
    write_eeg(root, source="raw", sfreq=1000.0, binary="INT_16")
    recording = only(root, source="raw")
    assert (recording.status, recording.sfreq, recording.first_sample) == ("ok", 1000.0, 20000)
    with pytest.raises(RequestError, match="'reref'"):
        rest.read(root, source="reref")


def test_what_is_wrong_with_the_other_source_is_noted_and_changes_nothing(root):
    raw = write_eeg(root, source="raw", sfreq=1000.0, binary="INT_16")
    sound = only(root).summary()
    assert sound["notes"] == []
    os.truncate(raw.with_suffix(".eeg"), 64 * 2 * 30000 + 37)
    broken = only(root)
    assert {**broken.summary(), "notes": []} == sound
    assert any("'raw', not used here" in note and "37 bytes into a sample" in note for note in broken.notes)
    assert (only(root, source="raw").status, only(root, source="raw").notes) == ("repaired", ())
    raw.with_suffix(".eeg").unlink()
    assert "fetch" in only(root).notes[0]
    write_images(root, t_r=1.0)  # said of the recording, not again of the other source
    write_eeg(root, source="raw", sfreq=1000.0, binary="INT_16")
    assert (only(root).status, only(root).notes) == ("repaired", ())


def test_missing_partners_are_missing(tmp_path):
    write_eeg(tmp_path, "35", source="raw")
    write_images(tmp_path, "35")
    write_eeg(tmp_path, "36")
    write_images(tmp_path, "37")
    first, second, third = rest.read(tmp_path)
    assert {first.status, second.status, third.status} == {"missing"}
    assert "source 'raw' is there" in first.problems[0]
    assert "no BOLD file" in second.problems[0]
    assert "no EEG file" in third.problems[0]


def test_a_subject_in_both_archives_is_refused(root):
    write_eeg(root, part="EEG2")
    assert "EEG1 and EEG2" in only(root).problems[0]


def test_one_folder_for_both_archives_is_read_too(tmp_path):
    write_eeg(tmp_path, part="EEG")
    write_images(tmp_path)
    assert only(tmp_path).status == "ok"


def test_an_image_without_a_position_is_a_problem_and_no_refusal(tmp_path):
    write_eeg(tmp_path)
    path = write_images(tmp_path, offset=0.0)
    recording = only(tmp_path)
    assert recording.usable
    assert "without an offset along x" in recording.problems[0]
    # Neither sform nor qform: nibabel makes up an affine that looks like any other.
    image = nibabel.load(write_images(tmp_path))
    header = image.header.copy()
    header["sform_code"] = header["qform_code"] = 0
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, header), path)
    assert nibabel.load(path).affine[0, 3] != 0
    recording = only(tmp_path)
    assert recording.usable
    assert "states no position" in recording.problems[0]


def test_a_wrong_repetition_time_is_mended_where_markers_decide_and_refused_elsewhere(tmp_path):
    write_eeg(tmp_path)
    write_images(tmp_path, t_r=1.0)
    recording = only(tmp_path)
    assert (recording.status, recording.t_r) == ("repaired", T_R)
    write_eeg(tmp_path, markers=[("Scan Start", "", 20.0)])
    assert only(tmp_path).status == "refused"


def test_two_resting_images_are_refused(root):
    image = root / "fMRI/35/3_nw_mepi_rest_with_cross.nii.gz"
    nibabel.save(nibabel.load(image), image.with_name("6_nw_mepi_rest_with_cross.nii.gz"))
    assert "more than one resting image" in only(root).problems[0]


def test_leftovers_of_other_systems_are_not_recordings(root):
    for path in (root / "EEG1/35/export/._x_Pulse_Artifact_Correction_bin.vhdr", root / "fMRI/35/._3_mepi_rest.nii.gz"):
        path.write_bytes(b"\x00\x05\x16\x07")
    assert only(root).status == "ok"


def test_channel_names_are_matched_by_name(tmp_path):
    names = ("EKG", *(name.upper() for name in CHANNELS if name != "ECG"))
    write_eeg(tmp_path, names=names)
    write_images(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "repaired"
    assert recording.raw().get_channel_types(["ECG", "Fpz"]) == ["ecg", "eeg"]
    write_eeg(tmp_path, names=CHANNELS[:40])
    assert only(tmp_path).status == "refused"


def test_the_tree_is_recognised_by_content(root, tmp_path_factory):
    assert roots.resolve(root) == {"rest": root.resolve()}
    assert opening.open_recordings(root, "rest", source="export").dataset == "rest"
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(DataError, match="nothing of the rest dataset"):
        rest.read(empty)
    with pytest.raises(RequestError, match=r"ds003768.*ds000116.*94c5t"):
        roots.resolve(empty)
    with pytest.raises(RequestError, match="one form of EEG"):
        opening.open_recordings(root, "sleep", source="raw")
