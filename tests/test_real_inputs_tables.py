"""Tables of events and trials as people write them: understood and counted, or one sentence."""

import numpy as np
import pytest
from scipy.io import savemat

import oddball_layout
from eegfmri.datasets import oddball
from eegfmri.datasets.events import read_events
from eegfmri.datasets.label_tables import read_labels
from eegfmri.errors import DataError, RequestError
from eegfmri.preprocessing.eeg import bad_spans
from eegfmri.preprocessing.responses import contrast_of

# --- tables of events ------------------------------------------------------------------------------------------------


def table(tmp_path, text, encoding="utf-8", name="events.tsv"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


SOUND = "onset\tduration\ttrial_type\n1.0\t0.5\tgo\n3.5\t0.5\tstop\n6\t0.5\tgo\n"

ALIKE = {
    "as it is": SOUND,
    "blanks around types": SOUND.replace("go", "go ").replace("stop", " stop"),
    "blanks around names": SOUND.replace("onset", " onset").replace("trial_type", "trial_type "),
    "old line ends": SOUND.replace("\n", "\r\n"),
    "trailing blanks": SOUND.replace("\n", " \n"),
    "commas": SOUND.replace("\t", ","),
    "semicolons": SOUND.replace("\t", "; "),
    "columns of blanks": SOUND.replace("\t", "   "),
    "columns in another order": "trial_type\tonset\tduration\ngo\t1.0\t0.5\nstop\t3.5\t0.5\ngo\t6\t0.5\n",
    "rows in another order": "onset\tduration\ttrial_type\n6\t0.5\tgo\n1.0\t0.5\tgo\n3.5\t0.5\tstop\n",
    "capitals": SOUND.replace("onset", "Onset").replace("duration", "Duration"),
    "more columns": "onset\tduration\ttrial_type\tvalue\n1.0\t0.5\tgo\tn/a\n3.5\t0.5\tstop\t7\n6\t0.5\tgo\t\n",
}


@pytest.mark.parametrize("kind", ALIKE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_spellings_of_one_table_are_one_table(tmp_path, kind, encoding):
    read = read_events(table(tmp_path, ALIKE[kind], encoding))
    assert read.trial_types == ("go", "stop")
    np.testing.assert_array_equal(read.events["onset"], [1, 3.5, 6])
    np.testing.assert_array_equal(read.events["duration"], [0.5, 0.5, 0.5])
    assert read.events["trial_type"].tolist() == ["go", "stop", "go"]
    blanks = sum(line != line.rstrip(" ") for line in ALIKE[kind].splitlines())
    faults = [*FORGIVEN.get(encoding, ()), *[f"blanks at the ends of lines ({blanks})"] * bool(blanks)]
    assert read.said == (f"events.tsv: {'; '.join(faults)}; read as meant.",) * bool(faults)


#: What is said of an encoding that is none of those that are due; letters of ASCII are the same in the others.
FORGIVEN = {"utf-8-sig": ("a mark of byte order before its text",), "utf-16": ("encoded in UTF-16",)}


@pytest.mark.parametrize("sign", ["\t", ",", ";"])
@pytest.mark.parametrize("lines", [(1, 2, 3), (2,), (0, 1, 2, 3)])
def test_signs_between_columns_at_the_ends_of_lines_shift_no_column(tmp_path, sign, lines):
    rows = SOUND.replace("\t", sign).splitlines()
    read = read_events(table(tmp_path, "\n".join(row + sign * (i in lines) for i, row in enumerate(rows)) + "\n"))
    assert read.events["onset"].tolist() == [1, 3.5, 6]
    assert read.events["trial_type"].tolist() == ["go", "stop", "go"]
    said = f"events.tsv: signs between columns at the ends of lines ({len(lines)}); read as meant."
    assert read.said == (said,) * (0 not in lines)


def test_a_row_with_a_value_too_many_is_refused_by_its_line(tmp_path):
    with pytest.raises(DataError, match="line 2: 4 values for 3 columns"):
        read_events(table(tmp_path, "onset\tduration\ttrial_type\n1\t2.5\t0.5\tgo\n"))
    with pytest.raises(DataError, match="more than one column onset"):
        read_events(table(tmp_path, "onset\tonset\ttrial_type\n1\t2.5\tgo\n"))


@pytest.mark.parametrize("missing", ["n/a", "", "NaN", "N/A", " n/a "])
def test_missing_types_and_onsets_are_left_out_and_counted(tmp_path, missing):
    text = SOUND + f"8\t0.5\t{missing}\n{missing}\t0.5\tgo\n9\t{missing}\tgo\n"
    read = read_events(table(tmp_path, text))
    assert read.trial_types == ("go", "stop")
    assert read.events["onset"].tolist() == [1, 3.5, 6, 9]
    assert read.events["duration"].tolist() == [0.5, 0.5, 0.5, 0]
    counted = [said for said in read.said if "blanks at the ends" not in said]
    assert len(counted) == 3
    assert all("1 of 6 rows" in said for said in counted)


def test_types_that_are_numbers_are_names(tmp_path):
    read = read_events(table(tmp_path, "onset\tduration\ttrial_type\n1\t0\t1\n2\t0\t2\n3\t0\tn/a\n"))
    assert read.trial_types == ("1", "2")
    events, formula = contrast_of(read.events, "2")
    assert formula == "kind1 - (kind0)/1"
    assert events["trial_type"].tolist() == ["kind0", "kind1"]


@pytest.mark.real_data
def test_a_real_table_of_events_is_read_without_a_word(real_data):
    (path,) = (real_data / "studyforrest_bold").glob("*_events.tsv")
    read = read_events(path)
    assert read.said == ()
    assert len(read.events) == 192
    assert len(read.trial_types) == 6
    assert read.events["onset"].is_monotonic_increasing
    assert read.events["duration"].between(0.8, 1).all()


def test_columns_that_are_lacking_are_said(tmp_path):
    read = read_events(table(tmp_path, "onset\tvalue\n1\t3\n2\t4\n"))
    assert read.trial_types == ("event",)
    assert any("duration" in said for said in read.said)
    assert any("trial_type among onset, value" in said for said in read.said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "time\tkind\n1\tgo\n",
        "onset\tduration\ttrial_type\n",
        "onset\tduration\ttrial_type\nn/a\tn/a\tn/a\n",
        "\0\0\0",
        '"onset\n1',
    ],
)
def test_a_table_without_events_is_one_sentence_with_its_name(tmp_path, text):
    with pytest.raises(DataError, match=r"events\.tsv") as error:
        read_events(table(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_contrast_that_is_not_there_lists_what_is(tmp_path):
    events = read_events(table(tmp_path, SOUND)).events
    with pytest.raises(RequestError, match="go, stop"):
        contrast_of(events, "left")
    assert contrast_of(events, "go ")[1] == "kind0 - (kind1)/1"
    assert contrast_of(events)[1] == "kind0+kind1"


# --- trials of the oddball dataset -----------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    for subject in ("001", "002"):
        oddball_layout.write_run(tmp_path, subject)
    return tmp_path


def opened(root, **options):
    first, second = oddball.read(root, **options)
    assert second.status == "ok", second.problems
    return first


def onsets(root, number):
    return root / f"sub001/model/model001/onsets/task001_run001/cond00{number}.txt"


def test_an_undamaged_run_has_nothing_to_say(root):
    assert (opened(root).status, opened(root).problems, opened(root).repaired) == ("ok", (), ())
    assert opened(root).event_counts() == {"auditory standard": 2, "auditory target": 1}


@pytest.mark.parametrize(("number", "kind"), [(1, "target"), (2, "standard")])
@pytest.mark.parametrize("how", ["deleted", "emptied"])
def test_a_lost_file_of_onsets_is_said(root, number, kind, how):
    if how == "deleted":
        onsets(root, number).unlink()
    else:
        onsets(root, number).write_text("")
    said = " ".join(opened(root).problems)
    assert f"cond00{number}.txt" in said
    assert kind in said


@pytest.mark.parametrize("text", ["", "TrialOnset\tResponse\tStimulus\tRT\n", "\n\n"])
def test_an_empty_table_of_trials_is_said(root, text):
    (root / "sub001/behav/task001_run001/behavdata.txt").write_text(text)
    recording = opened(root)
    assert "no trial" in " ".join(recording.problems)


def test_onsets_that_match_no_trial_are_counted(root):
    onsets(root, 2).write_text("1.5 0.2 1\n6.7 0.2 1\n8.0 0.2 1\n")
    said = " ".join(opened(root).problems)
    assert "2 of 3" in said
    assert "cond002.txt" in said


@pytest.mark.parametrize("value", ["n/a", "NaN", "nan", "-", ""])
def test_reaction_times_that_are_missing_are_missing(root, value):
    lines = [
        "TrialOnset\tResponse\tStimulus\tRT",
        f"1.5\t0\tstandard\t{value}",
        f"4\t1\ttarget\t{value}",
        "6.5\t0\tstandard\t0",
        "9\t0\ttarget\t0",
    ]
    oddball_layout.write_behaviour(root / "sub001", "task001_run001", lines)
    recording = opened(root)
    assert len(recording.events) == 4
    assert recording.events["response_time"].isna().all()


@pytest.mark.parametrize(
    "content", [b"\x00\xff" * 50, b"TrialOnset\n" * 3, "TrialOnset\tRT\n1,5\tx\n".encode("utf-16"), b"\xff\xfe\x00"]
)
def test_damaged_tables_of_trials_never_end_the_check(root, content):
    (root / "sub001/behav/task001_run001/behavdata.txt").write_bytes(content)
    onsets(root, 1).write_bytes(content)
    assert opened(root).problems


# --- label tables of the sleep dataset -------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", " \r\n"])
def test_spellings_of_one_label_table_are_one_table(tmp_path, encoding, ends):
    rows = [
        "session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage",
        "task-rest_run-1\t0\tW",
        "task-rest_run-1\t30\t1 (uncertain)",
    ]
    path = tmp_path / "sub-07-sleep-stage.tsv"
    path.write_bytes("".join(row + ends for row in rows).encode(encoding))
    read = read_labels(path)
    assert read.runs["task-rest_run-1"]["onset"].tolist() == [0, 30]
    assert read.runs["task-rest_run-1"]["stage"].tolist() == ["W", "N1"]
    faults = [*FORGIVEN.get(encoding, ()), *["blanks at the ends of lines (3)"] * (ends[0] == " ")]
    said = [f"sub-07-sleep-stage.tsv: {'; '.join(faults)}; read as meant."] * bool(faults)
    assert read.problems == {} and read.repaired == {"task-rest_run-1": said}


# --- arrays of the oddball dataset -----------------------------------------------------------------------------------


def write(root, array, **extra):
    savemat(
        root / "sub001/EEG/task001_run001/EEG_rereferenced.mat", {"data_reref": array, **extra}, do_compression=True
    )


def test_a_gap_in_an_array_is_annotated_and_bridged(root):
    array = oddball_layout.eeg_array()
    array[4, 3000:4000] = np.nan
    write(root, array)
    recording = opened(root)
    assert recording.status == "repaired"
    assert bad_spans(recording.raw()) == [(3.0, 1.0)]
    assert np.isfinite(recording.raw().get_data()).all()


ARRAYS = {
    "imaginary parts": (lambda a: a + 1j, "numbers"),
    "a millionth": (lambda a: a * 1e-6, "root mean square"),
    "a million times": (lambda a: a * 1e6, "root mean square"),
    "nothing": (lambda a: a * 0, "do not vary"),
    "nothing but NaN": (lambda a: a * np.nan, ""),
    "text": (lambda a: np.array(["x"] * 37), ""),
    "cells": (lambda a: np.array([[1, "x"]], dtype=object), ""),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_that_is_no_eeg_refuses_its_run_alone(root, kind):
    change, word = ARRAYS[kind]
    write(root, change(oddball_layout.eeg_array()))
    recording = opened(root)
    assert recording.status == "refused"
    assert word in recording.problems[0]
    assert "\n" not in recording.problems[0]


@pytest.mark.parametrize("rate", [np.nan, 0.0, -5.0, np.inf, "1000", np.array([1000.0, 250.0]), np.array([]), 1j, 1e9])
def test_a_rate_that_cannot_be_is_refused(root, rate):
    write(root, oddball_layout.eeg_array(), sfreq=rate)
    recording = opened(root)
    assert recording.status == "refused"
    assert "sfreq" in recording.problems[0]


@pytest.mark.parametrize("seed", range(10))
def test_damaged_bytes_of_a_matlab_file_never_end_the_check(root, seed):
    rng = np.random.default_rng(seed)
    path = root / "sub001/EEG/task001_run001/EEG_rereferenced.mat"
    content = bytearray(path.read_bytes())
    for place in rng.integers(100, 4000, 8):
        content[place] = int(rng.integers(0, 256))
    path.write_bytes(bytes(content))
    recording = opened(root)
    if recording.usable:
        assert np.isfinite(recording.raw().get_data()).all()
    else:
        assert "EEG_rereferenced.mat" in recording.problems[0] or "sub-001" in recording.problems[0]


def test_the_simulators_mark_counts_in_a_matlab_file(root):
    path = root / "sub001/EEG/task001_run001/EEG_rereferenced.mat"
    content = path.read_bytes()
    path.write_bytes(b"SIMULATED by eegfmri".ljust(116) + content[116:])
    assert oddball.read(root).simulated
    assert opened(root).usable
