"""The oddball reader: every trap of the legacy tree and of the BIDS event tables, planted one at a time."""

import gzip
import os
import struct

import numpy as np
import pandas as pd
import pytest

from eegfmri.datasets import oddball, roots
from eegfmri.datasets.oddball_trials import N_STIMULI, broken_off
from eegfmri.errors import DataError, RequestError
from oddball_layout import (
    STEP,
    bids_rows,
    default_trials,
    eeg_array,
    write_behaviour,
    write_bids,
    write_onsets,
    write_run,
)


def only(root, **options):
    (recording,) = oddball.read(root, **options)
    return recording


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path, noga=eeg_array(49, seed=2))
    return tmp_path


def test_an_intact_run_is_ok(root):
    recording = only(root)
    assert (recording.status, recording.problems) == ("ok", ())
    assert (recording.sfreq, recording.t_r, recording.n_volumes, recording.n_times) == (1000.0, 2.0, 6, 6 * STEP)
    assert recording.volume_shape == (6, 7, 5)
    assert recording.name == "sub-001_task001_run001"
    assert len(recording.scalp_channels) == 34
    assert recording.scalp_channels[:7] == ("Fp1", "Fp2", "AF3", "AF4", "F7", "F3", "Fz")


def test_the_gradient_artefact_is_not_removed_twice(root):
    recording = only(root)
    assert recording.sfreq == 1000
    assert not recording.has_gradient_artefact


def test_raw_is_lazy_in_volts_and_equal_to_the_file(root):
    written = eeg_array()
    raw = only(root).raw()
    assert not raw.preload
    np.testing.assert_allclose(raw[3, 5000:5010][0][0], written[3, 5000:5010] * 1e-6, rtol=1e-6)
    assert raw.get_channel_types(["Fp1", "ECG", "stimulus", "response"]) == ["eeg", "misc", "stim", "stim"]
    assert set(raw["stimulus"][0].ravel()) == {0.0, 25.0, 125.0, 150.0}
    np.testing.assert_allclose(raw.copy().crop(2, 4).load_data()[0][0][0], written[0, 2000:4001] * 1e-6, rtol=1e-6)
    np.testing.assert_allclose(raw.load_data()[33][0][0], written[33] * 1e-6, rtol=1e-6)


def test_the_first_sample_belongs_to_the_first_volume(root):
    recording = only(root)
    assert recording.first_sample == 0
    assert recording.raw().n_times == recording.n_volumes * STEP


def test_bipolar_pairs_are_the_other_source(root):
    recording = only(root, source="noGA")
    assert len(recording.scalp_channels) == 43
    assert recording.scalp_channels[7] == "O1-Oz"
    raw = recording.raw()
    assert raw.get_channel_types(["hEOG", "vEOG", "ECG1", "ECG2"]) == ["eog", "eog", "ecg", "ecg"]
    # The README leaves out pairs 8 and 24 of the first subject.
    assert raw.info["bads"] == ["O1-Oz", "FC6-F8"]
    with pytest.raises(RequestError, match="'raw'"):
        oddball.read(root, source="raw")


def test_the_doubtful_ecg_is_said_and_never_typed_ecg(root):
    assert any("Pz-Oz" in note for note in oddball.read(root).notes)
    assert not any("Pz-Oz" in note for note in oddball.read(root, source="noGA").notes)


def test_events_come_from_the_behaviour_and_clean_ones_from_the_model(root):
    events = only(root).events
    assert list(events["trial_type"]) == [
        "auditory standard",
        "auditory target",
        "auditory standard",
        "auditory target",
    ]
    assert list(events["used"]) == [True, True, True, False]
    assert events["response_time"][1] == 0.38
    assert events["response_time"].isna().sum() == 3
    assert only(root).summary()["events"] == {"auditory standard": 2, "auditory target": 1}


def test_the_stimulus_row_holds_the_same_events(root):
    recording = only(root)
    decoded = recording.stimulus_events()
    assert decoded["trial_type"][0] == "task on"
    shown = decoded[1:].reset_index(drop=True)
    np.testing.assert_allclose(shown["onset"], recording.events["onset"])
    assert list(shown["trial_type"]) == list(recording.events["trial_type"])
    np.testing.assert_allclose(shown["response_time"], recording.events["response_time"])
    np.testing.assert_allclose(shown["duration"], 0.2)


@pytest.mark.parametrize("level", [25, 0])
def test_levels_are_decoded_whether_the_row_returns_to_zero_or_stays_on(level):
    stimulus = np.full(9000, float(level))
    for first, value in ((1000, 225), (4000, 250), (7000, 125)):
        # A ramp passes through other levels, a sample each.
        stimulus[first - 1] = 125 if value != 125 else 30
        stimulus[first : first + 200] = value + 2
    events = oddball.decode_events(stimulus, np.zeros(9000), 1000.0)
    assert [name for name in events["trial_type"] if name != "task on"] == [
        "visual standard",
        "visual target",
        "auditory standard",
    ]
    assert (events["trial_type"] == "task on").sum() == (level == 25)
    assert list(events["onset"][-3:]) == [1.0, 4.0, 7.0]


def test_a_row_that_is_no_stimulus_row_is_refused():
    with pytest.raises(DataError, match="none of the levels"):
        oddball.decode_events(np.random.default_rng(0).normal(0, 500, 5000), np.zeros(5000), 1000.0)


def test_runs_without_tables_say_so_and_stay_usable(root):
    for path in (root / "sub001").rglob("*.txt"):
        path.unlink()
    recording = only(root)
    assert recording.usable
    assert len(recording.events) == 0
    assert "no trials" in recording.problems[0]
    assert len(recording.stimulus_events()) == 5


def test_without_a_table_the_models_onsets_are_the_events(root):
    (root / "sub001/behav/task001_run001/behavdata.txt").unlink()
    recording = only(root)
    assert recording.status == "repaired"
    assert list(recording.events["onset"]) == [1.5, 4.0, 6.5]


def test_without_a_model_right_answers_are_used(root):
    for path in (root / "sub001/model").rglob("*.txt"):
        path.unlink()
    assert list(only(root).events["used"]) == [True, True, True, False]


@pytest.mark.parametrize(
    "lines",
    [
        ["1.5 0 standard 0", "4.0 1 target 0.38", "6.5 0 standard NaN", "9.0 0 target n/a"],
        ["TrialOnset Response Stimulus RT", "1.5 0 standard", "4.0 1 target 0.38", "6.5 0 standard", "9.0 0 target"],
        ["TrialOnset RT", "1.5 0", "4.0 0.38", "6.5 0", "9.0 0"],
    ],
    ids=["no header", "short rows", "two columns"],
)
def test_spellings_of_the_behaviour_table(root, lines):
    write_behaviour(root / "sub001", "task001_run001", lines)
    events = only(root).events
    assert list(events["onset"]) == [1.5, 4.0, 6.5, 9.0]
    assert list(events["used"]) == [True, True, True, False]
    assert events["response_time"].dropna().to_dict() == {1: 0.38}


def test_a_line_that_is_no_trial_is_left_out_and_named(root):
    write_behaviour(
        root / "sub001", "task001_run001", ["TrialOnset Response Stimulus RT", "4.0 1 target 0.38", "end of run x y z"]
    )
    recording = only(root)
    assert (recording.status, len(recording.events)) == ("repaired", 1)
    assert "line 3" in recording.repaired[0]


def test_a_table_with_other_columns_is_a_problem_not_a_crash(root):
    write_behaviour(root / "sub001", "task001_run001", ["when what", "1 2"])
    assert "TrialOnset" in only(root).problems[0]


def test_tarballs_that_unpack_one_level_deeper_are_found(tmp_path):
    write_run(tmp_path / "ds116_sub001")
    write_run(tmp_path / "ds116_sub002", "002")
    assert oddball.is_root(tmp_path)
    assert oddball.read(tmp_path).subjects == ("001", "002")
    said = "ds116_sub001/sub001 and ds116_sub002/sub002 lie one folder deeper than expected"
    assert any(said in note for note in oddball.read(tmp_path).notes)


def test_a_tree_as_published_has_no_note_on_its_folders(root):
    assert not any("folder" in note for note in oddball.read(root).notes)


@pytest.mark.parametrize(("place", "said"), [("", "The dataset's folder holds 1"), ("bids", "The folder bids holds 1")])
def test_event_tables_of_the_other_version_are_noted_and_not_read(root, place, said):
    before = [recording.summary() for recording in oddball.read(root)]
    folder = root / place / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / "sub-01_task-auditory_run-01_events.tsv").write_text("no table\n")
    assert any(said in note for note in oddball.read(root).notes)
    assert [recording.summary() for recording in oddball.read(root)] == before


def test_a_run_that_lies_twice_is_refused(tmp_path):
    write_run(tmp_path / "ds116_sub001")
    write_run(tmp_path)
    recording = only(tmp_path)
    assert recording.status == "refused"
    assert "twice" in recording.problems[0]


def test_a_missing_partner_is_missing_and_keeps_its_events(root):
    (root / "sub001/BOLD/task001_run001/bold.nii.gz").unlink()
    recording = only(root)
    assert (recording.status, len(recording.events)) == ("missing", 4)
    assert "no BOLD file" in recording.problems[0]
    with pytest.raises(DataError, match="missing"):
        recording.raw()


def test_missing_eeg_names_the_source_that_is_there(root):
    (root / "sub001/EEG/task001_run001/EEG_rereferenced.mat").unlink()
    recording = only(root)
    assert recording.status == "missing"
    assert "source 'noGA' is there" in recording.problems[0]
    assert only(root, source="noGA").usable


def test_a_short_array_caps_the_volumes(tmp_path):
    write_run(tmp_path, reref=eeg_array(n_times=4 * STEP + 700, trials=default_trials()[:2]))
    recording = only(tmp_path)
    assert (recording.status, recording.n_volumes) == ("repaired", 4)
    assert "after 4 of 6 volumes" in recording.repaired[0]


def test_a_short_image_caps_the_volumes(tmp_path):
    write_run(tmp_path, n_volumes=5, reref=eeg_array(n_volumes=6))
    recording = only(tmp_path)
    assert (recording.status, recording.n_volumes) == ("repaired", 5)
    assert recording.duration == 10.0


def test_an_array_on_its_side_is_turned(tmp_path):
    written = eeg_array()
    write_run(tmp_path, reref=written.T)
    recording = only(tmp_path)
    assert recording.status == "repaired"
    np.testing.assert_allclose(recording.raw()[1, :4][0][0], written[1, :4] * 1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reref": eeg_array(36)}, "36 x 12000, expected 37 rows"),
        ({"reref": np.zeros((37, 100, 2))}, "37 x 100 x 2"),
        ({"reref": np.zeros((37, 500))}, "less than one volume"),
        ({"reref": np.array(["text"])}, "char"),
        ({"variable": "EEG_Sig"}, "EEG_Sig, not data_reref"),
        ({"t_r": 1.0, "reref": eeg_array(n_times=5 * STEP)}, "repetition time of 1 s"),
    ],
)
def test_what_would_be_a_guess_is_refused(tmp_path, options, said):
    write_run(tmp_path, **options)
    recording = only(tmp_path)
    assert recording.status == "refused"
    assert said in recording.problems[0]


def test_a_wrong_repetition_time_is_mended_where_the_eegs_length_decides(tmp_path):
    write_run(tmp_path, t_r=1.0)
    recording = only(tmp_path)
    assert (recording.status, recording.t_r) == ("repaired", 2.0)


def test_a_stated_rate_is_believed(tmp_path):
    write_run(tmp_path, reref=eeg_array(n_times=6 * 500, trials=[]), extra={"sfreq": 250.0})
    recording = only(tmp_path)
    assert (recording.status, recording.sfreq, recording.n_volumes) == ("ok", 250.0, 6)


@pytest.mark.parametrize("compress", [True, False])
def test_a_file_cut_off_is_refused(tmp_path, compress):
    write_run(tmp_path, compress=compress)
    path = tmp_path / "sub001/EEG/task001_run001/EEG_rereferenced.mat"
    os.truncate(path, path.stat().st_size - 1000)
    recording = only(tmp_path)
    assert recording.status == "refused"
    assert "truncated" in recording.problems[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89HDF\r\n" + bytes(600), "7.3"),
        (b"MATLAB 7.3 MAT-file".ljust(600, b" "), "7.3"),
        (b"<html>not found</html>".ljust(600, b" "), "no MATLAB v5"),
        (b"", "no MATLAB v5"),
        (b"MATLAB 5.0 MAT-file".ljust(124, b" ") + b"\x00\x01IM" + struct.pack("<2I", 14, 64) + bytes(64), "fetch"),
    ],
    ids=["hdf5", "7.3", "html", "empty", "garbage"],
)
def test_files_that_are_no_matlab_v5_are_refused(root, content, said):
    (root / "sub001/EEG/task001_run001/EEG_rereferenced.mat").write_bytes(content)
    recording = only(root)
    assert recording.status == "refused"
    assert said in recording.problems[0]


def test_a_truncated_image_is_refused(root):
    path = root / "sub001/BOLD/task001_run001/bold.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1000]))
    assert only(root).status == "refused"


def test_the_cached_array_follows_the_file(root):
    before = only(root).converted()
    assert only(root).converted() == before
    write_run(root, reref=eeg_array(seed=5))
    after = only(root).converted()
    assert after != before
    np.testing.assert_allclose(np.load(after, mmap_mode="r")[0, :3], eeg_array(seed=5)[0, :3] * 1e-6, rtol=1e-6)


def test_the_fourth_subject_is_left_out_for_synthesis(tmp_path):
    for subject in ("003", "004", "005"):
        write_run(tmp_path, subject)
    recordings = oddball.read(tmp_path)
    assert oddball.select_subjects(recordings) == ("003", "005")
    assert oddball.select_subjects(recordings, "all") == ("003", "004", "005")
    with pytest.raises(RequestError, match="no selection"):
        oddball.select_subjects(recordings, "none")


def test_the_tree_is_recognised_by_content_and_openneuros_is_not(root, tmp_path_factory):
    assert roots.resolve(root) == {"oddball": root.resolve()}
    bids = tmp_path_factory.mktemp("bids")
    (bids / "sub-01" / "func").mkdir(parents=True)
    assert not oddball.is_root(bids)
    with pytest.raises(DataError, match="no EEG"):
        oddball.read(bids)


def test_the_digest_follows_files_and_events(root):
    before = oddball.read(root).digest
    assert oddball.read(root).digest == before
    write_onsets(root / "sub001", "task001_run001", targets=[4.0, 9.0], standards=[1.5, 6.5])
    assert oddball.read(root).digest != before


# --- the BIDS event tables -------------------------------------------------------------------------------------------


def test_every_kind_of_row_is_read(tmp_path):
    rows = bids_rows()
    rows[2:2] = ["9.000\tn/a\tn/a\t1.000\tstandard\tn/a"]
    rows += ["n/a\tn/a\tn/a\t90.100\t1\ttarget"]
    table = oddball.read_bids_events(write_bids(tmp_path / "auditory_events.tsv", rows))
    assert table.counts == {
        "stimuli": 32,
        "targets": 12,
        "reaction_times": 12,
        "excluded": 1,
        "shifted": 3,
        "repeated": 2,
        "unnamed": 2,
    }
    assert len(table.events) == 34
    assert table.events["onset"].is_monotonic_increasing
    assert table.events["onset"].is_unique
    used = table.events[table.events["used"]]
    assert (used["trial_type"] == "auditory target").sum() == 12
    assert (used.loc[used["trial_type"] == "auditory target", "response_time"] == 0.4).all()
    assert used.loc[used["trial_type"] == "auditory standard", "response_time"].isna().all()
    left_out = table.events[~table.events["used"]]
    assert list(left_out["trial_type"]) == ["auditory standard", "auditory target"]
    assert "3 rows are shifted" in table.repaired[0]
    assert table.problems == ()


def test_a_run_gone_wrong_is_flagged(tmp_path):
    rows = bids_rows(n_standards=90, n_targets=4, task="visual")
    rows.insert(40, "45.011\t0.200\tvisual standard stimulus presentation\t0.000\tstandard\tn/a")
    table = oddball.read_bids_events(write_bids(tmp_path / "visual_events.tsv", rows))
    assert any("4 usable targets" in problem for problem in table.problems)
    assert any("11 ms apart" in problem for problem in table.problems)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("n/a\tn/a\tn/a\tn/a\t0\tstandard", "line 3: .* neither a trial nor a shifted one"),
        ("n/a\tn/a\tn/a\t5.0\t7\tstandard", "neither a trial"),
        ("5.0\t0.2\tsomething else\t0\tstandard\tn/a", "line 3: trial type"),
        ("5.0\t0.2", "line 3: 2 columns"),
    ],
)
def test_a_row_of_no_known_kind_is_refused_with_its_line(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        oddball.read_bids_events(write_bids(tmp_path / "events.tsv", [bids_rows()[0], row]))


def test_another_header_is_refused(tmp_path):
    with pytest.raises(DataError, match="line 1"):
        oddball.read_bids_events(write_bids(tmp_path / "events.tsv", [], "onset\tduration"))


def test_a_second_stimulus_at_one_onset_is_flagged(tmp_path):
    rows = [bids_rows()[0], *bids_rows()]
    table = oddball.read_bids_events(write_bids(tmp_path / "events.tsv", rows))
    assert "second stimulus" in table.problems[0]
    assert table.events["onset"].is_unique


@pytest.mark.real_data
def test_the_real_event_tables_of_eight_subjects(real_data):
    paths = sorted((real_data / "ds000116_text").glob("sub-*/func/*_events.tsv"))
    assert len(paths) == 48
    tables = {path.name: oddball.read_bids_events(path) for path in paths}
    counts = pd.DataFrame({name: table.counts for name, table in tables.items()}).T
    # Every run showed 125 stimuli; named, left-out and orphaned shifted rows add up to them.
    assert {len(table.events) for table in tables.values()} == {N_STIMULI}
    orphans = counts["shifted"] - counts["repeated"]
    assert (counts["stimuli"] + counts["excluded"] + orphans == N_STIMULI).all()
    assert counts.sum().to_dict() == {
        "stimuli": 5844,
        "targets": 1151,
        "reaction_times": 1151,
        "excluded": 150,
        "shifted": 116,
        "repeated": 110,
        "unnamed": 110,
    }
    used = pd.concat(table.events[table.events["used"]] for table in tables.values())
    assert used["trial_type"].value_counts().to_dict() == {
        "auditory standard": 2359,
        "visual standard": 2334,
        "auditory target": 583,
        "visual target": 568,
    }
    assert used.loc[used["trial_type"].str.endswith("target"), "response_time"].between(0.1, 2).all()
    assert counts["targets"].min() == 19
    assert counts["targets"].idxmin().startswith("sub-03_task-visual")
    assert [table.problems for table in tables.values() if table.problems] == []


# --- lists that end early --------------------------------------------------------------------------------------------


@pytest.fixture
def long_run(tmp_path):
    """A run of 125 stimuli, one in five a target, all answered rightly; the model's files leave out one trial in thirty."""
    trials = [(2.0 + 2.5 * k, 150 if k % 5 == 4 else 125, 0.4 if k % 5 == 4 else None) for k in range(125)]
    folder = write_run(tmp_path, n_volumes=165, reref=eeg_array(n_volumes=165, trials=trials))
    rows = [
        f"{on:.3f} {int(level == 150)} {'target' if level == 150 else 'standard'} {rt or 0}" for on, level, rt in trials
    ]
    write_behaviour(folder, "task001_run001", ["TrialOnset Response Stimulus RT", *rows])
    onsets = folder / "model/model001/onsets/task001_run001"
    for name, wanted in (("cond001", 150), ("cond002", 125)):
        kept = [on for k, (on, level, _) in enumerate(trials) if level == wanted and k % 30 != 17]
        (onsets / f"{name}.txt").write_text("".join(f"{on:.3f} 0.2 1\n" for on in kept))
    return tmp_path


def lose(path, number):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-number]))


def test_lists_that_are_whole_have_nothing_to_say(long_run):
    recording = only(long_run)
    assert (recording.status, recording.notes, recording.problems) == ("ok", (), ())
    assert len(recording.events) == 125


@pytest.mark.parametrize(("name", "kind", "lost"), [("cond001", "target", 6), ("cond002", "standard", 8)])
def test_rows_lost_at_the_end_of_a_model_file_are_noted(long_run, name, kind, lost):
    used = only(long_run).events["used"].sum()
    lose(long_run / f"sub001/model/model001/onsets/task001_run001/{name}.txt", lost)
    recording = only(long_run)
    (note,) = recording.notes
    assert note.startswith(f"{name}.txt of task001_run001 has none of the last {lost} {kind}s")
    assert recording.status == "ok"
    assert recording.events["used"].sum() == used - lost


def test_a_row_or_two_without_a_clean_trial_at_the_end_are_no_loss(long_run):
    for name in ("cond001", "cond002"):
        lose(long_run / f"sub001/model/model001/onsets/task001_run001/{name}.txt", 3)
    assert only(long_run).notes == ()


@pytest.mark.parametrize("lost", [5, 40])
def test_rows_lost_at_the_end_of_the_table_are_noted_by_the_eeg(long_run, lost):
    lose(long_run / "sub001/behav/task001_run001/behavdata.txt", lost)
    recording = only(long_run)
    (note,) = recording.notes
    assert f"the EEG's own stimulus row shows {lost} stimuli after that" in note
    assert only(long_run).notes == recording.notes  # what was found in the EEG is remembered


@pytest.mark.real_data
def test_the_published_event_tables_leave_out_no_end(real_data):
    """Trials that the authors left out lie anywhere in their runs: the rule finds no end of a list lost in 48 runs."""
    found = []
    for path in sorted((real_data / "ds000116_text").glob("sub-*/func/*_events.tsv")):
        events = oddball.read_bids_events(path).events
        kinds = events["trial_type"].fillna("")
        found += [broken_off(events.loc[kinds.str.endswith(kind), "used"].tolist()) for kind in ("standard", "target")]
    assert len(found) == 96
    assert not any(found)
