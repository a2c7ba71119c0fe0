"""Files of measured coupling: read as they are, and refused in one sentence where they are damaged, renamed or of another shape."""

import io
import zipfile

import numpy as np
import pytest
from scipy.io import savemat

import coupling_layout as layout
from eegfmri.datasets import coupling_files
from eegfmri.errors import DataError


def refused(read, path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


# --- alertness -------------------------------------------------------------------------------------------------------


def test_subjects_are_ordered_by_number_and_times_are_seconds(tmp_path):
    found = coupling_files.read_alertness(layout.write_alertness(tmp_path / "a", (10, 2, 1)))
    assert list(found.runs) == [1, 2, 10]
    run, fields = found.runs[2], layout.alertness_fields(2)
    np.testing.assert_allclose(run.eeg, fields["eeg"].ravel())
    np.testing.assert_allclose(run.stimulus_times, fields["stimtime"].ravel() / 1000)
    np.testing.assert_allclose(run.reaction_times, fields["RT"].ravel() / 1000)
    assert np.isnan(run.reaction_times[3])
    assert len(found.source) == 3
    assert not found.source.simulated


def test_rows_are_read_as_columns_are(tmp_path):
    fields = {name: value.T for name, value in layout.alertness_fields(1).items()}
    found = coupling_files.read_alertness(layout.write_alertness(tmp_path / "a", (1,), **fields))
    np.testing.assert_allclose(found.runs[1].eeg, layout.alertness_fields(1)["eeg"].ravel())


FIELDS = layout.alertness_fields(1)
WITH_NAN = FIELDS["eeg"].copy()
WITH_NAN[5] = np.nan


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"eeg": None}, "OUT has no eeg"),
        ({"vigpred": FIELDS["vigpred"][:-1]}, "eeg has 200 values and vigpred 199"),
        ({"eeg": WITH_NAN}, "eeg holds values that are no numbers"),
        ({"vigpred": np.full((200, 1), np.inf)}, "vigpred holds values"),
        ({"eeg": np.ones((200, 1))}, "the same value throughout"),
        ({"eeg": FIELDS["eeg"].reshape(20, 10)}, "eeg is float64 of shape (20, 10)"),
        ({"eeg": FIELDS["eeg"] + 1j}, "no row of real numbers"),
        ({"eeg": "words"}, "no row of real numbers"),
        ({"eeg": FIELDS["eeg"][:10], "vigpred": FIELDS["vigpred"][:10]}, "10 values"),
        ({"RT": FIELDS["RT"][:-1]}, "stimtime has 20 values and RT 19"),
        ({"RT": -FIELDS["RT"]}, "no time of a reaction"),
        ({"stimtime": FIELDS["stimtime"] / 1000}, "in ms"),
        ({"stimtime": FIELDS["stimtime"][::-1]}, "is to rise"),
        ({"stimtime": 10 * FIELDS["stimtime"]}, "within a run of 420 s"),
    ],
)
def test_alertness_of_another_form_is_refused(tmp_path, changed, said):
    folder = layout.write_alertness(tmp_path / "a", (1, 2), **changed)
    sentence = refused(coupling_files.read_alertness, folder)
    assert said in sentence
    assert "sub_1.mat" in sentence


def test_a_folder_without_recordings_names_the_command(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert "eegfmri data get alertness" in refused(coupling_files.read_alertness, folder)


def test_two_files_of_one_subject_are_refused(tmp_path):
    folder = layout.write_alertness(tmp_path / "a", (1,))
    (folder / "sub_01.mat").write_bytes((folder / "sub_1.mat").read_bytes())
    assert "the same subject" in refused(coupling_files.read_alertness, folder)


def test_what_macos_puts_beside_a_file_is_left_alone(tmp_path):
    folder = layout.write_alertness(tmp_path / "a", (1,))
    (folder / "._sub_1.mat").write_bytes(b"resource")
    (folder / "sub_mean.mat").write_bytes(b"something else")
    assert list(coupling_files.read_alertness(folder).runs) == [1]


@pytest.mark.parametrize("keep", [0, 50, 130, 400, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    folder = layout.write_alertness(tmp_path / "a", (1,))
    body = (folder / "sub_1.mat").read_bytes()
    (folder / "sub_1.mat").write_bytes(body[:keep])
    assert "sub_1.mat" in refused(coupling_files.read_alertness, folder)


def test_flipped_bytes_are_refused_or_read_and_never_crash(tmp_path):
    folder = layout.write_alertness(tmp_path / "a", (1,))
    body = (folder / "sub_1.mat").read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for place in rng.integers(128, len(body), 60):
        damaged = bytearray(body)
        damaged[place] ^= 1 << int(rng.integers(8))
        (folder / "sub_1.mat").write_bytes(bytes(damaged))
        try:
            coupling_files.read_alertness(folder)
        except DataError as error:
            n_refused += 1
            assert "sub_1.mat" in str(error)
    assert n_refused > 50  # the content is compressed, with a checksum


def test_another_structure_is_refused(tmp_path):
    for number, content in enumerate(({"IN": {"eeg": 1}}, {"OUT": np.arange(5)}, {"OUT": np.zeros((2, 2))})):
        folder = tmp_path / str(number)
        folder.mkdir()
        savemat(folder / "sub_1.mat", content)
        assert "another file" in refused(coupling_files.read_alertness, folder)


# --- correlation maps ------------------------------------------------------------------------------------------------


def test_maps_are_read_with_lags_that_look_back(tmp_path):
    found = coupling_files.read_correlation_maps(layout.write_maps(tmp_path / "maps.npz"))
    assert found.r.shape == (4, 2, 20, 40)
    np.testing.assert_array_equal(found.lags, np.arange(20))
    np.testing.assert_allclose(found.r[:, 0], layout.map_arrays()["r_DAN"])
    np.testing.assert_allclose(found.r[:, 1], layout.map_arrays()["r_DMN"])
    assert len(found.source) == 4


def test_other_networks_in_the_archive_do_no_harm(tmp_path):
    path = layout.write_maps(tmp_path / "maps.npz", r_VIS=np.array([{"pickled": 1}], dtype=object))
    assert coupling_files.read_correlation_maps(path).networks == ("DAN", "DMN")


MAPS = layout.map_arrays()
NOT_ONE = MAPS["r_DAN"].copy()
NOT_ONE[0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"r_DMN": None}, "holds no r_DMN"),
        ({"r_DAN": NOT_ONE}, "r_DAN holds values that are no correlations"),
        ({"r_DAN": 20 * MAPS["r_DAN"]}, "no correlations"),
        ({"r_DAN": MAPS["r_DAN"].transpose(0, 2, 1)}, "of shape (4, 40, 20)"),
        ({"r_DAN": MAPS["r_DAN"][:3]}, "is to be real of shape (4, 20, 40)"),
        ({"r_DAN": MAPS["r_DAN"].astype(object)}, "no array of numbers"),
        ({"r_DAN": MAPS["r_DAN"].astype(str)}, "is to be real"),
        ({"freqs": MAPS["freqs"] * 2}, "freqs is not 1, 2, … 40 Hz"),
        ({"bin_times": -MAPS["bin_times"]}, "bin_times is not"),
        ({"subjects": np.array(["a", "a", "b", "c"])}, "no list of different names"),
        ({"subjects": np.arange(4)}, "no list of different names"),
        ({name: MAPS[name][:0] for name in ("subjects", "r_DAN", "r_DMN")}, "r_DAN"),
    ],
)
def test_maps_of_another_form_are_refused(tmp_path, changed, said):
    path = layout.write_maps(tmp_path / "maps.npz", **changed)
    assert said in refused(coupling_files.read_correlation_maps, path)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "maps.npz"
    assert "There is no" in refused(coupling_files.read_correlation_maps, path)
    for body in (b"", b"words", layout.write_maps(tmp_path / "whole.npz").read_bytes()[:5000]):
        path.write_bytes(body)
        assert "maps.npz" in refused(coupling_files.read_correlation_maps, path)
    assert "no regular file" in refused(coupling_files.read_correlation_maps, tmp_path)


def test_an_array_that_claims_more_than_it_holds_is_not_allocated(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (4, 20, 40_000_000_000)}
    )
    for body in (header.getvalue(), header.getvalue()[:20]):
        path = layout.write_maps(tmp_path / "maps.npz", r_DAN=None)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("r_DAN.npy", body)
        assert "maps.npz" in refused(coupling_files.read_correlation_maps, path)


def test_an_array_that_unpacks_to_more_than_any_map_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(coupling_files, "MOST_ARRAY", 10_000)
    path = layout.write_maps(tmp_path / "maps.npz", r_DAN=np.zeros((4, 20, 40)))
    assert "too much for correlations" in refused(coupling_files.read_correlation_maps, path)


# --- responses -------------------------------------------------------------------------------------------------------


def test_both_recordings_are_read_and_double_triggers_count_once(tmp_path):
    found = coupling_files.read_responses(layout.write_responses(tmp_path / "r"))
    assert found.t_r == pytest.approx(1.5)
    assert found.calcium_sfreq == pytest.approx(20)
    assert found.optical_sfreq == 4
    np.testing.assert_allclose(np.diff(found.stimulus_times), 30)
    assert len(found.lfp) == len(found.optical)


CALCIUM, OPTICAL = layout.response_variables()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"BOLD_calcium": None}, "holds no BOLD_calcium"),
        ({"BOLD_calcium": CALCIUM["BOLD_calcium"][:, :-1]}, "for each of 239 volumes"),
        ({"BOLD_time": CALCIUM["BOLD_time"] ** 1.1}, "no evenly rising time"),
        ({"BOLD_time": 10 * CALCIUM["BOLD_time"]}, "calcium_raw lasts 360 s"),
        ({"dt": np.array([[0.0]])}, "dt is not one positive number"),
        ({"dt": np.array([[0.1, 0.2]])}, "dt is not one positive number"),
        ({"trigger_time": CALCIUM["trigger_time"] + 1000}, "does not rise within"),
        ({"trigger_time": CALCIUM["trigger_time"][:, ::-1]}, "does not rise within"),
        ({"LFP": OPTICAL["LFP"][:-1]}, "samples and OPT"),
        ({"OPT": None}, "holds no OPT"),
        ({"FS2": np.array([[-1.0]])}, "FS2 is not one positive number"),
        ({"OPT": OPTICAL["OPT"] * np.nan}, "OPT holds values"),
    ],
)
def test_recordings_of_another_form_are_refused(tmp_path, changed, said):
    assert said in refused(coupling_files.read_responses, layout.write_responses(tmp_path / "r", **changed))


def test_a_folder_that_lacks_a_recording_names_the_command(tmp_path):
    folder = layout.write_responses(tmp_path / "r")
    (folder / coupling_files.OPTICAL_FILE).unlink()
    sentence = refused(coupling_files.read_responses, folder)
    assert coupling_files.OPTICAL_FILE in sentence
    assert "eegfmri data get rshrf" in sentence
