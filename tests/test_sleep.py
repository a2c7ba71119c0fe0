"""The sleep reader: every trap of the layout, planted one at a time."""

import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest

from eegfmri.datasets import roots, sleep
from eegfmri.datasets.label_tables import parse_stage
from eegfmri.errors import DataError, RequestError
from eegfmri.ledger import claims
from eegfmri.simulation import stage_sequences
from sleep_layout import T_R, epochs, write_labels, write_markers, write_run


@pytest.fixture
def root(tmp_path):
    write_run(tmp_path)
    write_labels(tmp_path, "01", epochs())
    return tmp_path


def only(root):
    (recording,) = sleep.read(root)
    return recording


def test_an_intact_run_is_ok(root):
    recording = only(root)
    assert recording.status == "ok", (recording.repaired, recording.problems)
    assert recording.stage_counts() == {"W": 1, "N1": 1, "N2": 0, "N3": 0, "uncertain": 0, "unscorable": 0}
    assert (recording.sfreq, recording.t_r, recording.n_volumes) == (50.0, T_R, 29)
    assert recording.volume_shape == (6, 7, 5)


@pytest.mark.parametrize("labels", ["W1", "W12"])
def test_labels_as_long_as_the_scan_and_longer_are_not_noted(root, labels):
    write_labels(root, "01", epochs(labels=labels))
    assert only(root).notes == ()


def test_labels_that_end_before_the_signals_do_are_noted(tmp_path):
    write_run(tmp_path, n_volumes=100)
    write_labels(tmp_path, "01", epochs(labels="W11"))
    recording = only(tmp_path)
    (note,) = recording.notes
    assert note.startswith(
        "The stage labels end at 90 s, the signals at 210.0 s; for the last 4 epochs of signal there are no labels"
    )
    assert recording.status == "ok"
    write_labels(tmp_path, "01", epochs(labels="W111112"))
    assert only(tmp_path).notes == ()


def test_the_t1_image_is_found_where_it_is_and_only_then(root):
    assert only(root).t1_file is None
    image = root / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.parent.mkdir()
    image.write_bytes(b"../../.git/annex/objects/9x/kP/MD5E-s1--0.nii.gz")  # a pointer: not downloaded
    assert only(root).t1_file is None
    image.write_bytes(gzip.compress(bytes(600)) + bytes(600))
    assert only(root).t1_file == image
    assert only(root).status == "ok"


def test_time_zero_is_the_first_trigger_not_the_start_of_the_file(root):
    recording = only(root)
    assert recording.first_sample == 4.0 * 50
    stored = np.fromfile(root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg", "<i2").reshape(-1, 32)
    raw = recording.raw()
    assert not raw.preload
    np.testing.assert_allclose(raw[0, :5][0][0], stored[200:205, 0] * 0.1e-6, rtol=1e-6)
    assert recording.raw_uncut().n_times == len(stored)


def test_the_sidecars_rate_is_not_believed(root):
    (root / "task-rest_eeg.json").write_text(json.dumps({"SamplingFrequency": 250}))
    recordings = sleep.read(root)
    assert recordings[0].sfreq == 50.0
    (note,) = [note for note in recordings.notes if "headers" in note]
    assert "250 Hz" in note
    assert "50 Hz" in note
    assert recordings[0].status == "ok"


def test_who_has_no_sleep_run_is_named(root):
    assert any(note.startswith("Nobody here has a sleep run") for note in sleep.read(root).notes)
    write_run(root, "02", "task-sleep_run-1")
    assert any(note.startswith("sub-01 has no sleep run") for note in sleep.read(root).notes)
    write_run(root, "01", "task-sleep_run-1")
    assert sleep.read(root).notes == ()


def test_folders_beside_the_label_tables_are_named_and_left_alone(root):
    before = [recording.summary() for recording in sleep.read(root)]
    folder = root / "sourcedata/fMRI_processed_file_1/sub-02"
    folder.mkdir(parents=True)
    (folder / "sub-02_task-rest_run-1_bold.nii").touch()
    assert any("sourcedata also holds fMRI_processed_file_1; nothing" in note for note in sleep.read(root).notes)
    (folder / "sub-02 _task-sleep_run-1_bold.nii").touch()
    (note,) = [note for note in sleep.read(root).notes if "sourcedata" in note]
    assert "1 of 2 files there are not named as the runs are ('sub-02 _task-sleep_run-1_bold.nii')" in note
    assert [recording.summary() for recording in sleep.read(root)] == before


def test_a_truncated_signal_caps_the_epochs(root):
    path = root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg"
    os.truncate(path, 64 * ((4 + 45) * 50) + 17)
    recording = only(root)
    assert recording.status == "repaired"
    assert any("17 bytes into a sample" in note for note in recording.repaired)
    assert list(recording.epochs["used"]) == [True, False]
    assert recording.summary()["epochs_used"] == 1
    assert recording.raw().n_times == 45 * 50


def test_a_header_that_names_other_files_is_resolved_by_its_own_stem(tmp_path):
    write_run(tmp_path, data_file="rsub-01_task-rest_run-1_eeg.eeg")
    write_labels(tmp_path, "01", epochs())
    recording = only(tmp_path)
    assert recording.status == "repaired"
    assert any("rsub-01" in note for note in recording.repaired)
    assert recording.raw().n_times > 0
    assert all(path.exists() for path in recording.files())


def test_the_extra_subject_column_is_dropped_and_said(root):
    rows = [f"1\t{row}" for row in epochs(labels="W2")]
    write_labels(root, "01", rows, "subject\tsession\tepoch_start_time_sec\t30-sec_epoch_sleep_stage")
    recording = only(root)
    assert recording.status == "repaired"
    assert list(recording.epochs["stage"]) == ["W", "N2"]


def test_labels_of_another_subject_are_refused(root):
    rows = [f"7\t{row}" for row in epochs()]
    write_labels(root, "01", rows, "subject\tsession\tepoch_start_time_sec\t30-sec_epoch_sleep_stage")
    recording = only(root)
    assert recording.status == "refused"
    assert "subject 7" in recording.problems[0]


def test_a_blank_for_a_tab_is_mended_with_its_line(root):
    write_labels(root, "01", ["task-rest_run-1\t0\t1", "task-rest_run-1\t30 W"])
    recording = only(root)
    assert recording.status == "repaired"
    assert "line 3" in recording.repaired[0]
    assert list(recording.epochs["onset"]) == [0.0, 30.0]
    assert list(recording.epochs["stage"]) == ["N1", "W"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("W", ("W", "certain")),
        ("w", ("W", "certain")),
        ("3", ("N3", "certain")),
        ("W (uncertain)", ("W", "uncertain")),
        ("3 (unscorable)", ("N3", "unscorable")),
        ("2 or 3 (unscorable)", (None, "unscorable")),
        ("unscorable", (None, "unscorable")),
        ("Unscorable", (None, "unscorable")),
        ("REM", (None, None)),
        ("4", (None, None)),
        ("", (None, None)),
    ],
)
def test_every_label_of_the_vocabulary(label, expected):
    assert parse_stage(label) == expected


def test_doubtful_epochs_are_counted_but_not_used(root):
    write_labels(root, "01", ["task-rest_run-1\t0\t2 (uncertain)", "task-rest_run-1\t30\tUnscorable"])
    recording = only(root)
    counts = recording.stage_counts()
    assert (counts["uncertain"], counts["unscorable"], counts["N2"]) == (1, 1, 0)
    assert not recording.epochs["used"].any()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("task-rest_run-1\t60\tREM", "vocabulary"),
        ("task-rest_run-1\tsixty\tW", "not 'run, seconds, stage'"),
        ("task-rest_run-1\t30\tW", "not in order of time"),
        ("task-rest_run-1\t61\tW", "multiples of 30"),
    ],
)
def test_a_bad_row_refuses_its_run_and_no_other(root, row, said):
    write_run(root, run="task-sleep_run-1")
    write_labels(root, "01", [*epochs(), row, *epochs("task-sleep_run-1")])
    bad, good = sleep.read(root)
    assert bad.status == "refused"
    assert said in " ".join(bad.problems)
    assert good.status == "ok"
    with pytest.raises(DataError, match="refused"):
        bad.raw()


def test_a_wrong_table_header_refuses_its_subject_and_names_file_and_line(root):
    write_run(root, "02")
    write_labels(root, "02", epochs())
    table = write_labels(root, "01", epochs(), "session\tonset\tstage")
    with pytest.raises(DataError, match=r"sub-01-sleep-stage.tsv, line 1"):
        sleep.read_labels(table)
    first, second = sleep.read(root)
    assert (first.status, second.status) == ("refused", "ok")
    assert "sub-01-sleep-stage.tsv, line 1" in first.problems[0]


def test_channel_names_are_matched_by_name_not_position(tmp_path):
    names = ("ECG", *(name.upper() for name in reversed(sleep.EEG_CHANNELS)), "eog")
    write_run(tmp_path, names=names)
    write_labels(tmp_path, "01", epochs())
    recording = only(tmp_path)
    assert recording.status == "repaired"
    assert recording.ch_names == ("ECG", *reversed(sleep.EEG_CHANNELS), "EOG")
    raw = recording.raw()
    assert raw.get_channel_types(["Oz", "EOG", "ECG"]) == ["eeg", "eog", "ecg"]


def test_one_missing_channel_is_allowed_many_are_not(tmp_path):
    without = tuple(name for name in (*sleep.EEG_CHANNELS, "EOG", "ECG") if name != "Oz")
    write_run(tmp_path, names=without)
    write_run(tmp_path, run="task-rest_run-2", names=without[5:])
    write_labels(tmp_path, "01", [*epochs(), *epochs("task-rest_run-2")])
    one, many = sleep.read(tmp_path)
    assert one.status == "repaired"
    assert "Oz" in " ".join(one.repaired)
    assert many.status == "refused"


def test_a_run_without_its_partner_is_missing_and_keeps_its_stages(root):
    (root / "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz").unlink()
    recording = only(root)
    assert recording.status == "missing"
    assert "BOLD" in recording.problems[0]
    assert recording.stage_counts()["W"] == 1
    with pytest.raises(DataError, match="missing"):
        recording.image()


def test_pointers_and_dangling_links_are_missing_not_damaged(root):
    path = root / "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz"
    path.write_text("/annex/objects/MD5E-s1--00.nii.gz\n")
    assert "git-annex pointer" in only(root).problems[0]
    path.unlink()
    path.symlink_to(root / "nowhere")
    assert "not downloaded" in only(root).problems[0]


def test_no_trigger_means_refusal_not_zero(tmp_path):
    write_run(tmp_path, trigger="S  3")
    write_labels(tmp_path, "01", epochs())
    recording = only(tmp_path)
    assert recording.status == "refused"
    assert "R128" in recording.problems[0]


def test_triggers_at_another_pace_than_the_scan_are_refused(root):
    write_markers(root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.vmrk", [4 + 2.0 * k for k in range(29)], 50.0)
    recording = only(root)
    assert recording.status == "refused"
    assert "2.1 s" in recording.problems[0]


def test_a_lost_trigger_inside_is_bridged_a_lost_start_is_not(root):
    markers = root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.vmrk"
    onsets = [4 + T_R * k for k in range(29)]
    write_markers(markers, [*onsets[:10], *onsets[11:]], 50.0)
    inside = only(root)
    assert (inside.status, inside.n_volumes) == ("repaired", 29)
    write_markers(markers, onsets[3:], 50.0)
    assert only(root).status == "refused"


def test_eeg_that_stops_early_shortens_the_run(root):
    path = root / "sub-01/eeg/sub-01_task-rest_run-1_eeg.eeg"
    os.truncate(path, 64 * round((4 + 21.5 * T_R) * 50))
    write_markers(path.with_suffix(".vmrk"), [4 + T_R * k for k in range(22)], 50.0)
    recording = only(root)
    assert (recording.status, recording.n_volumes) == ("repaired", 22)
    assert list(recording.epochs["used"]) == [True, False]


def test_a_truncated_image_is_refused(root):
    path = root / "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1000]))
    recording = only(root)
    assert recording.status == "refused"
    assert "truncated" in recording.problems[0]


def test_contradicting_repetition_times_are_refused(root):
    (root / "sub-01/func/sub-01_task-rest_run-1_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    assert "repetition time" in only(root).problems[0]


def test_rest_precedes_sleep_and_runs_count_by_number(tmp_path):
    runs = ["task-sleep_run-10", "task-sleep_run-2", "task-rest_run-1"]
    write_labels(tmp_path, "01", [row for run in runs for row in epochs(run)])
    assert [r.run for r in sleep.read(tmp_path)] == ["task-rest_run-1", "task-sleep_run-2", "task-sleep_run-10"]


def test_data_folders_are_recognised_by_content(root, tmp_path_factory):
    assert roots.resolve(root) == {"sleep": root.resolve()}
    parent = tmp_path_factory.mktemp("roots")
    (parent / "a").symlink_to(root)
    assert list(roots.resolve(parent)) == ["sleep"]
    (parent / "b").symlink_to(root)
    with pytest.raises(RequestError, match="two sleep datasets"):
        roots.resolve(parent)
    with pytest.raises(RequestError, match="No dataset was recognised"):
        roots.resolve(tmp_path_factory.mktemp("empty"))
    with pytest.raises(RequestError, match="no folder"):
        roots.resolve(parent / "absent")


def test_selection_names_unknown_subjects(root):
    recordings = sleep.read(root)
    assert len(recordings.select(subjects=["01"], runs=["task-rest"], usable=True)) == 1
    assert len(recordings.select(runs=["task-sleep"])) == 0
    with pytest.raises(RequestError, match="'99'"):
        recordings.select(subjects=["99"])


def test_the_digest_follows_the_files(root):
    before = sleep.read(root).digest
    assert sleep.read(root).digest == before
    write_run(root, seed=1)
    assert sleep.read(root).digest != before


@pytest.mark.real_data
def test_the_real_label_tables_give_the_published_counts(real_data):
    recordings = sleep.read(real_data / "ds003768_text")
    assert len(recordings) == 255
    assert len(recordings.subjects) == 33
    totals = recordings.stage_table()[["W", "N1", "N2", "N3", "uncertain", "unscorable"]].sum()
    assert totals.to_dict() == {"W": 3344, "N1": 2148, "N2": 1325, "N3": 42, "uncertain": 98, "unscorable": 33}
    repaired = {r.name for r in recordings if r.repaired}
    assert repaired == {r.name for r in recordings if r.subject == "01"} | {"sub-32_task-sleep_run-1"}
    assert "line 69" in recordings["sub-32_task-sleep_run-1"].repaired[0]
    assert {r.status for r in recordings} == {"missing"}
    assert "sub-02 and sub-21 have no sleep run" in " ".join(recordings.notes)
    assert isinstance(recordings[0].epochs, pd.DataFrame)


@pytest.mark.real_data
def test_every_selection_rule_leaves_23_subjects_of_the_real_tables(real_data):
    recordings = sleep.read(real_data / "ds003768_text")
    chosen = {rule: sleep.select_subjects(recordings, rule) for rule in sleep.SELECTIONS}
    assert {rule: len(subjects) for rule, subjects in chosen.items()} == dict.fromkeys(sleep.SELECTIONS, 23)
    excluded = set(recordings.subjects) - set(chosen["six_of_each"])
    assert excluded == {"02", "03", "05", "08", "11", "16", "18", "20", "21", "26"}
    assert len(set(chosen.values())) > 1


def test_every_rule_leaves_23_subjects_of_the_statistics_that_are_shipped():
    table = stage_sequences.published_stage_table()
    assert table["runs"].sum() == 255
    assert table[["W", "N1", "N2", "N3"]].sum().to_dict() == {"W": 3344, "N1": 2148, "N2": 1325, "N3": 42}
    assert {len(sleep.subjects_by_rule(table, rule)) for rule in sleep.SELECTIONS} == {23}
    assert sleep.subjects_by_rule(table, "six_of_each") == tuple(claims.papers()["graph_fusion"].subjects)


def test_an_unknown_selection_names_the_known_ones(root):
    with pytest.raises(RequestError, match="six_of_each"):
        sleep.select_subjects(sleep.read(root), "all")


def test_the_check_says_where_it_went_by_size_alone(root, capsys):
    from eegfmri.cli import data_check

    data_check(root)
    assert (
        "by size only: BrainVision has no checksums. `eegfmri data get sleep --verify` compares"
        in capsys.readouterr().out
    )
    for path in (root / "sub-01/eeg").iterdir():
        path.unlink()
    data_check(root)
    assert "by size only" not in capsys.readouterr().out
