"""The simulator's trees of ds000116 and NODDI, and every trap of the three datasets as their readers meet it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eegfmri.datasets import oddball, rest
from eegfmri.datasets.roots import reader
from eegfmri.errors import RequestError
from eegfmri.images import read_slice_times
from eegfmri.simulation import simulate as simulator
from eegfmri.simulation.damage import MENDED
from eegfmri.simulation.parameters import DEFAULT_QUIRKS, OTHER_QUIRKS, SCALES

#: As many volumes and trials as tiny recordings have, of hardly any voxels: what is planted in files does not depend on their size.
THIN = {
    "sleep": replace(SCALES["sleep"]["tiny"], name="thin", matrix=(8, 8, 4), rest_epochs=4, sleep_epochs=8),
    "oddball": replace(SCALES["oddball"]["tiny"], name="thin", matrix=(8, 8, 4)),
    "rest": replace(SCALES["rest"]["tiny"], name="thin", matrix=(8, 8, 4)),
}


@pytest.fixture(scope="session")
def odd(tmp_path_factory) -> Path:
    return simulator.simulate("oddball", tmp_path_factory.mktemp("odd") / "oddball", scale="tiny", n_subjects=2)


@pytest.fixture(scope="session")
def resting(tmp_path_factory) -> Path:
    """32, whose export is cut to the scan, 35, 38 with a marker of its own and 40 with another and with odd image names."""
    return simulator.simulate("rest", tmp_path_factory.mktemp("rest") / "rest", scale="tiny", n_subjects=4)


def matlab(root: Path, name: str, subject: str = "001", run: str = "task001_run001") -> dict:
    from scipy.io import loadmat

    return loadmat(next(root.rglob(f"sub{subject}/EEG/{run}")) / name)


# ds000116


def test_the_matlab_files_have_the_rows_of_the_real_ones(odd):
    bipolar, monopolar = matlab(odd, "EEG_noGA.mat"), matlab(odd, "EEG_rereferenced.mat")
    n_times = 60 * 2 * 250
    assert bipolar["data_noGA"].shape == (49, n_times)
    assert monopolar["data_reref"].shape == (37, n_times)
    assert monopolar["sfreq"].item() == 250
    assert not list(odd.rglob("EEG_raw.mat"))  # only where the rate can hold a gradient artefact
    for data, n_scalp in ((bipolar["data_noGA"], 43), (monopolar["data_reref"], 34)):
        spread = data[:n_scalp].std(axis=1)
        assert 2 < np.median(spread) < 60  # microvolts
        shown, pressed = data[-2], data[-1]
        assert set(np.unique(shown)) == {0, 25, 125, 150}
        assert set(np.unique(pressed)) == {0, 100}
    visual = matlab(odd, "EEG_noGA.mat", run="task002_run001")["data_noGA"]
    assert set(np.unique(visual[-2])) == {0, 25, 225, 250}


def test_bipolar_rows_are_differences_of_the_electrodes(odd):
    bipolar = matlab(odd, "EEG_noGA.mat")["data_noGA"]
    monopolar = matlab(odd, "EEG_rereferenced.mat")["data_reref"]
    electrodes = list(oddball.ELECTRODES)
    checked = 0
    for row, pair in enumerate(oddball.PAIRS):
        plus, minus = pair.split("-")
        if plus in electrodes and minus in electrodes:
            expected = monopolar[electrodes.index(plus)] - monopolar[electrodes.index(minus)]
            sign = -1 if pair == "C4-CP2" else 1
            if row + 1 in oddball.EXCLUDED_PAIRS["001"]:
                assert (sign * bipolar[row] - expected).std() > 20, pair  # noisy, as the README says
                continue
            # what mean subtraction left of the gradient artefact, which loops of wire do not share with electrodes
            assert (sign * bipolar[row] - expected).std() < 3, pair
            checked += 1
    assert checked == 37


def test_reader_and_simulator_know_the_same_pairs():
    from eegfmri.simulation import oddball as simulate_oddball

    assert simulate_oddball.PAIRS == oddball.PAIRS


def test_trials_of_tables_marker_rows_and_truth_agree(odd):
    truth = simulator.read_truth(odd)
    for recording in oddball.read(odd):
        assert recording.status == "ok"
        assert recording.sfreq == 250
        assert recording.n_volumes == 60
        trials = truth["subjects"][recording.subject]["runs"][recording.run]["trials"]
        onsets, targets, reactions = trials[:, 0], trials[:, 1] == 1, trials[:, 2]
        events = recording.events
        np.testing.assert_allclose(events["onset"], onsets, atol=1e-6)
        assert (events["trial_type"].str.endswith("target") == targets).all()
        assert (events["used"] == (trials[:, 4] == 1)).all()
        decoded = recording.stimulus_events()
        stimuli = decoded[decoded["trial_type"] != "task on"]
        np.testing.assert_allclose(stimuli["onset"], onsets, atol=0.5 / 250 + 1e-9)
        np.testing.assert_allclose(stimuli["response_time"], reactions, atol=1.1 / 250)
        gaps = np.diff(onsets)
        assert gaps.min() >= 1.999
        assert gaps.max() <= 3.001
        assert not targets[:2].any()
        assert abs(targets.mean() - 0.2) < 0.02
        assert 0.15 < np.nanmin(reactions) < np.nanmax(reactions) < 1.5


def test_the_nested_folder_of_a_tarball_is_planted_and_read(odd):
    assert (odd / "ds116_sub002" / "sub002" / "BOLD").is_dir()
    assert oddball.read(odd).subjects == ("001", "002")


# NODDI


def test_exports_begin_before_the_scan_and_say_so_in_their_markers(resting):
    truth = simulator.read_truth(resting)
    recordings = {recording.subject: recording for recording in rest.read(resting)}
    assert list(recordings) == ["32", "35", "38", "40"]
    for subject, recording in recordings.items():
        facts = truth["subjects"][subject]["runs"]["rest"]
        assert recording.status == "ok", recording.problems
        assert recording.first_sample / recording.sfreq == pytest.approx(facts["lead_in_seconds"])
        assert len(recording.ch_names) == 64
        assert recording.ch_names[31] == "ECG"
        assert recording.n_volumes == 60
        assert recording.t_r == 2.16
    assert recordings["32"].first_sample == 0
    assert recordings["32"].n_times == 60 * 540 + 22
    assert recordings["35"].first_sample > 7 * 250
    names = {path.name for path in resting.rglob("*") if path.is_file()}
    assert "20130410320002_Segmentation_bin.dat" in names
    assert "20130105380002_Pulse_Artifact_Correction_bin.vhdr" in names
    assert "05_nw_mepi_rest_with_cross.nii.gz" in names
    assert len(list(resting.glob("EEG1/*/raw/*.eeg"))) == 1


def test_the_recorder_s_file_is_the_export_plus_scanner_artefacts(resting):
    """Mean subtraction over volumes, the plainest correction, gives back the export."""
    export = rest.read(resting)["sub-32_rest"].raw().get_data(picks="eeg")
    recording = rest.read(resting, source="raw")["sub-32_rest"]
    raw = recording.raw()
    data = raw.get_data(picks="eeg")
    assert recording.sfreq == 1000
    n_volume = 2160
    folded = data[:, : 60 * n_volume].reshape(len(data), 60, n_volume)
    template = folded.mean(axis=1, keepdims=True)
    peaks = np.abs(template).max(axis=2)
    assert 1e-3 < np.median(peaks) < 1e-2
    corrected = (folded - template).reshape(len(data), -1)
    from scipy.signal import resample_poly

    slow = resample_poly(corrected, 1, 4, axis=1)[:, 500:-500]
    same = export[:, 500 : 500 + slow.shape[1]]
    before = resample_poly(folded.reshape(len(data), -1), 1, 4, axis=1)[:, 500:-500]
    improvement = (before - same).std() / (slow - same).std()
    assert improvement > 10


def test_gradient_lines_lie_at_the_slice_rate(resting):
    from scipy.signal import welch

    raw = rest.read(resting, source="raw")["sub-32_rest"].raw()
    data = raw.get_data(picks=["C3"], tmax=60 * 2.16)[0]
    frequencies, density = welch(data, 1000, nperseg=21600)
    slice_rate = 10 / 2.16  # ten slices a volume at this scale
    on = np.array([density[np.argmin(np.abs(frequencies - k * slice_rate))] for k in range(2, 20)])
    between = np.array([density[np.argmin(np.abs(frequencies - (k + 0.45) * slice_rate))] for k in range(2, 20)])
    assert (on > 100 * between).all()


# Motion


def test_planted_motion_is_found_again_in_the_images(tmp_path):
    """A rigid motion fitted by least squares to smoothed volumes, against the planted six parameters."""
    import nibabel
    from scipy.ndimage import gaussian_filter, map_coordinates
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    from eegfmri.simulation.parameters import PRESETS

    preset = replace(PRESETS["strong"], translation=1.0, rotation=0.8)
    scale = replace(
        SCALES["rest"]["tiny"], name="motion", n_subjects=1, n_volumes=40, matrix=(40, 40, 20), raw_subjects=0
    )
    root = simulator.simulate("rest", tmp_path / "motion", scale=scale, preset=preset)
    image = nibabel.load(next(root.glob("fMRI/32/*mepi*")))
    planted = simulator.read_truth(root)["subjects"]["32"]["runs"]["rest"]["motion"]
    data = np.asarray(image.dataobj, dtype=float)
    volumes = [gaussian_filter(data[..., k], 1.0) for k in range(40)]
    reference = int(np.argmin(np.abs(planted).sum(axis=1)))
    far = int(np.argmax(np.abs(planted - planted[reference]).sum(axis=1)))
    grid = np.stack(np.meshgrid(*(np.arange(2, n - 2, 2) for n in data.shape[:3]), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    world = grid @ image.affine[:3, :3].T + image.affine[:3, 3]
    to_voxel = np.linalg.inv(image.affine)
    seen = volumes[far][tuple(grid.T)]

    def residual(six):
        back = (world - six[:3]) @ Rotation.from_euler("xyz", six[3:]).as_matrix()
        return map_coordinates(volumes[reference], (back @ to_voxel[:3, :3].T + to_voxel[:3, 3]).T, order=3) - seen

    found = least_squares(residual, np.zeros(6), x_scale=[1, 1, 1, 0.01, 0.01, 0.01]).x
    due = planted[far] - planted[reference]
    assert np.abs(due[:3]).max() > 0.8
    # smoothing and the brain's own activity leave a few hundredths of a voxel
    np.testing.assert_allclose(found[:3], due[:3], atol=0.15)
    np.testing.assert_allclose(np.degrees(found[3:]), np.degrees(due[3:]), atol=0.15)


# Traps


#: What `data check` says of each quirk: of the recording, its status (None: others of that subject decide it) and a sentence; of
#: the dataset ("dataset"), a sentence; of labels ("stages"), counts. ``{subject}`` is who has it. What the format "allows" is read by
#: its rules, and nothing is said of it; what is "left alone" is not read at all, and files as named must be there.
EXPECTED = {
    "sleep": {
        "subject_column": (None, "extra leading column"),
        "renamed_header": ("repaired", "rsub-"),
        "doubtful_labels": ("stages", {"uncertain": 2, "unscorable": 1}),
        "blank_for_tab": ("repaired", "a blank stood for the tab"),
        "wrong_sidecar_rate": (
            "dataset",
            "task-sleep_eeg.json says 1000 Hz, the headers 250 Hz; the headers are believed",
        ),
        "truncated_eeg": ("repaired", "into a sample"),
        "missing_channel": ("repaired", "lacks channel TP10"),
        "odd_channel_names": ("repaired", "channel names were read as meant"),
        "rare_labels": ("stages", {"uncertain": 1, "unscorable": 4}),
        "lost_triggers": ("repaired", "2 volume trigger(s) inside the run are missing"),
        "no_trigger": ("refused", "no volume trigger"),
        "missing_bold": ("missing", "no BOLD file"),
        "missing_eeg": ("missing", "no EEG file"),
        "annex_pointer": ("missing", "git-annex pointer"),
        "truncated_bold": ("refused", "truncated or damaged"),
        "labels_only": ("missing", "no EEG file"),
        "no_sleep_run": ("dataset", "sub-{subject} has no sleep run, neither in a label table nor as files"),
        "extra_sourcedata": (
            "dataset",
            "sourcedata also holds EyeTracker_data, fMRI_field_map and fMRI_processed_file_1; 3 of 4 files there are not named as the "
            "runs are ('Sub-03_fieldmap.nii' and 'sub-02 _task-rest_run-1_bold.nii')",
        ),
        "hidden_files": ("left alone", "sub-*/*/._*"),
        "marked_sidecars": ("dataset", "task-sleep_eeg.json: a mark of byte order before its text; read as meant."),
        "labels_in_utf16": (None, "-sleep-stage.tsv: encoded in UTF-16"),
        "blanks_in_header": ("repaired", "lines with blanks around the sign of equality"),
        "latin1_markers": ("repaired", ".vmrk: encoded in cp1252 where UTF-8 is due"),
        "padded_gzip": ("repaired", "filled up with zeros"),
        "text_repetition_time": ("repaired", "_bold.json: RepetitionTime is written as a text"),
        "gzip_members": ("repaired", "compressed in pieces, one behind the other (3)"),
        "reversed_slices": ("allowed", None),
        "milliseconds": ("allowed", None),
        "greek_unit": ("repaired", "the unit 'μV' was read as µV"),
        "rounded_quaternion": ("repaired", "longer than 1 by rounding; it was normalised"),
        "latin1_header": (None, ".vhdr: encoded in cp1252 where UTF-8 is due"),
        "empty_sform": ("repaired", "its sform is empty or NaN, its qform is not; the qform was used"),
        "nan_background": ("repaired", "of its values are NaN or infinite; they are read as 0"),
        "undecodable_sidecar": ("refused", "_bold.json is not valid JSON"),
        "blank_volume": ("refused", "is blank, as when a scan or a transfer breaks off"),
    },
    "oddball": {
        "nested_folder": ("dataset", "ds116_sub{subject}/sub{subject}"),
        "bad_run": ("ok", "11 ms apart"),
        "missing_eeg": ("missing", "no EEG file"),
        "missing_bold": ("missing", "no BOLD file"),
        "missing_behaviour": ("ok", "has no trials"),
        "only_bipolar": ("missing", "source 'noGA' is there"),
        "short_eeg": ("repaired", "The EEG ends after 42 of 60 volumes"),
        "truncated_bold": ("refused", "truncated or damaged"),
        "wrong_image_rate": ("repaired", "repetition time of 1 s"),
        "twice": ("refused", "The run lies twice"),
        "bids_events": ("dataset", "The folder bids holds 22 event tables of OpenNeuro's version"),
        "hidden_files": ("left alone", "sub*/EEG/*/._*"),
        "padded_gzip": ("repaired", "filled up with zeros"),
        "gzip_members": ("repaired", "compressed in pieces, one behind the other (3)"),
        "missing_reaction_times": ("allowed", None),
        "rounded_quaternion": ("repaired", "longer than 1 by rounding; it was normalised"),
        "array_on_its_side": ("repaired", "lies on its side"),
        "empty_sform": ("repaired", "its sform is empty or NaN, its qform is not; the qform was used"),
        "nan_background": ("repaired", "of its values are NaN or infinite; they are read as 0"),
        "blank_volume": ("refused", "is blank, as when a scan or a transfer breaks off"),
        "lost_onsets": ("ok", "cond002.txt of task001_run001 is not there: no standard counts as answered rightly"),
        "gap_in_array": ("repaired", "for 1.00 s in 1 place a channel has no values"),
    },
    "rest": {
        "scan_start": ("ok", "One marker 'Scan Start' tells where the scan starts and is time zero"),
        "toggle_marker": ("ok", "Volumes are marked 'T 1' instead of 'R128'"),
        "renamed_header": ("repaired", "does not exist"),
        "no_marker": ("refused", "no marker tells a volume"),
        "missing_eeg": ("missing", "no EEG file"),
        "missing_bold": ("missing", "no BOLD file"),
        "truncated_eeg": ("repaired", "into a sample"),
        "truncated_bold": ("refused", "truncated or damaged"),
        "zero_affine": ("ok", "without an offset along x"),
        "wrong_image_rate": ("repaired", "repetition time of 1 s"),
        "broken_raw": ("ok", "Source 'raw', not used here: 20130410320002.eeg ends 37 bytes into a sample"),
        "second_montage": ("dataset", "2 montages of 63 scalp channels: {subject} with F1 F2 C1 C2 P1 P2"),
        "hidden_files": ("left alone", "EEG*/*/export/._*"),
        "inherited_sidecar": (
            "dataset",
            "task-rest_bold.json: a mark of byte order before its text; RepetitionTime is written as a text; read as meant.",
        ),
        "blanks_in_header": ("repaired", "lines with blanks around the sign of equality"),
        "latin1_markers": ("repaired", ".vmrk: encoded in cp1252 where UTF-8 is due"),
        "padded_gzip": ("repaired", "filled up with zeros"),
        "milliseconds": ("allowed", None),
        "greek_unit": ("repaired", "the unit 'μV' was read as µV"),
        "rounded_quaternion": ("repaired", "longer than 1 by rounding; it was normalised"),
        "latin1_header": (None, ".vhdr: encoded in cp1252 where UTF-8 is due"),
        "empty_sform": ("repaired", "its sform is empty or NaN, its qform is not; the qform was used"),
        "gzip_members": ("repaired", "compressed in pieces, one behind the other (3)"),
        "nan_background": ("repaired", "of its values are NaN or infinite; they are read as 0"),
        "blank_volume": ("refused", "is blank, as when a scan or a transfer breaks off"),
    },
}


@pytest.mark.parametrize("dataset", ["sleep", "oddball", "rest"])
def test_for_every_quirk_it_is_written_down_what_is_said_of_it(dataset):
    assert set(EXPECTED[dataset]) == {*DEFAULT_QUIRKS[dataset], *OTHER_QUIRKS[dataset]}


def check(root: Path, out: Path) -> tuple[dict, str]:
    """Run ``eegfmri data check`` and return what it writes and what it prints."""
    from typer.testing import CliRunner

    from eegfmri.cli import app

    done = CliRunner().invoke(app, ["data", "check", str(root), "--json", str(out)])
    assert done.exit_code == 0, done.output
    return json.loads(out.read_text(encoding="utf-8")), done.output


def test_what_is_unusual_and_harmless_is_noted_and_nothing_else(odd, resting, tmp_path):
    (note,) = [note for note in oddball.read(odd).notes if "ds116_" in note]
    assert note.startswith("ds116_sub002/sub002 lies one folder deeper than expected")
    document, printed = check(resting, tmp_path / "check.json")
    (note,) = document["notes"]
    assert note.startswith("task-rest_bold.json: a mark of byte order before its text; RepetitionTime")
    assert f"note: {note}" in printed
    assert "compared with their headers by size only: BrainVision has no checksums.\n" in printed
    assert "by size only" not in check(odd, tmp_path / "odd.json")[1]
    notes = {row["subject"]: row["notes"] for row in document["recordings"]}
    assert [len(notes[subject]) for subject in ("32", "35", "38", "40")] == [0, 0, 1, 1]
    assert f"note: sub-38 rest: {notes['38'][0]}" in printed


def test_both_montages_are_written_and_what_the_caps_share_is_the_same(tmp_path):
    caps = {}
    for name, quirks in (("one", ()), ("two", ("second_montage",))):
        root = simulator.simulate("rest", tmp_path / name, scale="tiny", n_subjects=2, quirks=quirks)
        caps[name] = rest.read(root, electrodes="own")
        assert [recording.usable for recording in caps[name]] == [True, True]
    first, second = caps["one"][0], caps["two"][0]
    assert set(second.scalp_channels) - set(first.scalp_channels) == {"F1", "F2", "C1", "C2", "P1", "P2"}
    assert caps["one"][1].scalp_channels == caps["two"][1].scalp_channels == first.scalp_channels
    # as the voltage between neighbours, so that the reference does not matter; sensors make noise of their own
    ours, theirs = (recording.raw().get_data(["Oz", "O1", "O2"]) for recording in (first, second))
    assert np.corrcoef(ours[0] - ours[1], theirs[0] - theirs[1])[0, 1] > 0.5
    between = second.raw().get_data(["C1", "Cz", "C3"])
    assert np.corrcoef(between[0], between[1] + between[2])[0, 1] > 0.9
    assert rest.read(tmp_path / "two").notes[0].endswith("the 57 scalp channels that they share are used.")


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "n_subjects"), [("sleep", 13), ("oddball", 11), ("rest", 16)])
def test_every_trap_is_met_as_designed_and_none_silently(tmp_path, dataset, n_subjects):
    quirks = (*DEFAULT_QUIRKS[dataset], *OTHER_QUIRKS[dataset])
    root = simulator.simulate(dataset, tmp_path / dataset, scale=THIN[dataset], n_subjects=n_subjects, quirks=quirks)
    planned = {entry["quirk"]: entry for entry in json.loads((root / "simulated.json").read_text())["quirks"]}
    assert set(planned) == set(quirks)
    document, printed = check(root, tmp_path / "check.json")
    touched = set()
    for quirk, entry in planned.items():
        expected, what = EXPECTED[dataset][quirk]
        if expected == "left alone":
            assert any(root.glob(what)), quirk
            continue
        if expected == "dataset":
            sentence = what.format(subject=entry["subject"])
            assert any(sentence in note for note in document["notes"]), (quirk, document["notes"])
            assert sentence in printed, quirk
            continue
        mine = [
            row
            for row in document["recordings"]
            if row["subject"] == entry["subject"] and entry["run"] in (None, row["run"])
        ]
        assert mine, quirk
        for row in mine:
            touched.add((row["subject"], row["run"]))
            if expected == "stages":
                assert {kind: row["stages"][kind] for kind in what} == what, quirk
                continue
            said = [sentence for kind in ("repaired", "problems", "notes") for sentence in row[kind]]
            if expected == "allowed":
                others = [
                    EXPECTED[dataset][name][1] for name, other in planned.items() if other["subject"] == row["subject"]
                ]
                unexplained = [
                    sentence for sentence in said if not any(other and other in sentence for other in others)
                ]
                assert not unexplained, (quirk, unexplained)
                continue
            assert row["status"] == (expected or row["status"]), (quirk, said)
            assert any(what in sentence for sentence in said), (quirk, said)
        assert expected in ("stages", "allowed") or what in printed, quirk
    for row in document["recordings"]:
        if (row["subject"], row["run"]) not in touched:
            assert row["status"] == "ok", row
            assert not row["notes"], row
    if dataset == "sleep":
        assert "task-sleep_run-1" not in {
            row["run"] for row in document["recordings"] if row["subject"] == planned["no_sleep_run"]["subject"]
        }
    if dataset == "rest":
        broken = rest.read(root, source="raw")[f"sub-{planned['broken_raw']['subject']}_rest"]
        assert "into a sample" in " ".join(broken.repaired)
        assert broken.notes == ()
    if dataset == "oddball":
        assert "and ds116_sub004/sub004 lie one folder deeper" in printed  # where the run lies that lies twice
        tables = sorted((root / "bids").rglob("sub-*_events.tsv"))
        assert len(tables) == 2 * n_subjects
        truth = simulator.read_truth(root)
        for table in tables:
            behaviour = oddball.read_bids_events(table)
            subject = f"{int(table.name[4:6]):03d}"
            run = "task001_run001" if "auditory" in table.name else "task002_run001"
            trials = truth["subjects"][subject]["runs"][run]["trials"]
            assert behaviour.counts["shifted"] == behaviour.counts["repeated"] == 2
            assert behaviour.counts["excluded"] == (trials[:, 4] == 0).sum()
            assert (
                behaviour.counts["targets"]
                == behaviour.counts["reaction_times"]
                == ((trials[:, 1] == 1) & (trials[:, 4] == 1)).sum()
            )


@pytest.mark.slow
@pytest.mark.parametrize(("dataset", "n_subjects"), [("sleep", 2), ("oddball", 2), ("rest", 4)])
def test_damage_that_can_be_mended_leaves_every_signal_as_it_was(tmp_path, dataset, n_subjects):
    mended = ("hidden_files", "marked_sidecars", "inherited_sidecar", "labels_in_utf16", "array_on_its_side", *MENDED)
    known = (*DEFAULT_QUIRKS[dataset], *OTHER_QUIRKS[dataset])
    quirks = [quirk for quirk in mended if quirk in known]
    assert len(quirks) > 5
    values = []
    for name, planted in (("sound", ()), ("damaged", quirks)):
        root = simulator.simulate(dataset, tmp_path / name, scale="tiny", n_subjects=n_subjects, quirks=planted)
        for recording in reader(dataset).read(root):
            assert recording.usable, recording.problems
            raw, image = recording.raw(), recording.image()
            facts = (recording.name, recording.ch_names, recording.first_sample, recording.n_volumes)
            times = read_slice_times(recording.bold_file).tolist() if dataset == "sleep" else []
            tables = recording.epochs.to_csv() + recording.events.to_csv()
            values.append(
                (facts, times, tables, raw.get_data(), np.asarray(image.dataobj), image.affine, recording.t_r)
            )
    half = len(values) // 2
    for sound, damaged in zip(values[:half], values[half:], strict=True):
        assert sound[:3] == damaged[:3]
        np.testing.assert_array_equal(sound[3], damaged[3])
        np.testing.assert_array_equal(sound[4], damaged[4])
        np.testing.assert_allclose(
            sound[5], damaged[5], atol=5e-3
        )  # a quaternion of five digits, 100 mm from the origin
        assert sound[6] == pytest.approx(damaged[6], abs=1e-6)


def test_more_traps_than_runs_are_refused(tmp_path):
    with pytest.raises(RequestError, match="simulate more subjects"):
        simulator.simulate("rest", tmp_path / "rest", scale="tiny", n_subjects=1, quirks=("no_marker", "missing_eeg"))


@pytest.mark.parametrize(
    ("dataset", "arguments", "named"),
    [
        ("oddball", {"quirks": ("subject_column",)}, "subject_column"),
        ("rest", {"labels_dir": "labels"}, "only sleep"),
        ("rest", {"n_subjects": 17}, "16"),
    ],
)
def test_requests_that_do_not_fit_the_dataset_are_refused(tmp_path, dataset, arguments, named):
    with pytest.raises(RequestError, match=named):
        simulator.simulate(dataset, tmp_path / "new", scale="tiny", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", ["oddball", "rest"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, dataset):
    roots = [
        simulator.simulate(dataset, tmp_path / name, scale="tiny", n_subjects=1, n_jobs=jobs)
        for name, jobs in (("one", 1), ("two", 2))
    ]
    contents = [
        {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
        for root in roots
    ]
    for name, body in contents[0].items():
        if name.endswith(".mat"):  # scipy writes the date into the first 116 bytes
            assert body[128:] == contents[1][name][128:]
        else:
            assert body == contents[1][name], name


# The real numbers


FULL = """
import json, resource, sys, time
from dataclasses import replace
from eegfmri.simulation.simulate import simulate
from eegfmri.simulation.parameters import SCALES
dataset, dest = sys.argv[1:]
scale = replace(SCALES[dataset]["full"], name="one run", n_subjects=1, n_rest=1, n_sleep=0, runs=("task001_run001",), t1_matrix=None)
simulate(dataset, dest, scale=scale)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["sleep", "oddball", "rest"])
def test_a_full_run_has_the_real_numbers_and_fits_into_memory(tmp_path, dataset):
    root = tmp_path / dataset
    done = subprocess.run([sys.executable, "-c", FULL, dataset, str(root)], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 4 * 2**30
    (recording,) = [r for r in reader(dataset).read(root) if r.usable]
    if dataset == "sleep":
        assert (recording.sfreq, recording.t_r, recording.n_volumes) == (5000, 2.1, 285)
        assert recording.volume_shape == (80, 80, 35)
        np.testing.assert_allclose(recording.image().header.get_zooms()[:3], (3, 3, 4), rtol=1e-5)
        seconds = recording.eeg_file.with_suffix(".eeg").stat().st_size / (32 * 2 * 5000)
        assert 614 <= seconds <= 809  # as long as the real ones
    elif dataset == "oddball":
        for name, variable, rows in (
            ("EEG_noGA.mat", "data_noGA", 49),
            ("EEG_rereferenced.mat", "data_reref", 37),
            ("EEG_raw.mat", "data_raw", 49),
        ):
            file = matlab(root, name)
            assert file[variable].shape == (rows, 340_000)
            assert "sfreq" not in file
        assert np.abs(file["data_raw"][:43]).max() <= 8  # the amplifier's range in V
        assert (recording.sfreq, recording.t_r, recording.n_volumes) == (1000, 2.0, 170)
        assert recording.volume_shape == (64, 64, 32)
        np.testing.assert_allclose(recording.image().header.get_zooms()[:3], (3, 3, 4), rtol=1e-5)
    else:
        assert (recording.sfreq, recording.t_r, recording.n_volumes) == (250, 2.16, 300)
        assert recording.volume_shape == (64, 64, 30)
        np.testing.assert_allclose(recording.image().header.get_zooms()[:3], (3.3, 3.3, 4), rtol=1e-5)
        assert recording.eeg_file.with_suffix(".dat").stat().st_size == 64 * 2 * 162_022
        (raw,) = rest.read(root, source="raw")
        assert raw.sfreq == 5000
        assert raw.n_volumes == 300
