"""Windows: the right moment on both modalities, dropped where a run ends, and read only when touched."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from eegfmri.errors import RequestError
from eegfmri.evaluation.leaks import poisoned
from eegfmri.windows import LazyArray
from windows_made import SFREQ, T_R, cut, informative, made_recording


@pytest.fixture
def recording(tmp_path):
    return made_recording(tmp_path, "01", "task-sleep_run-1", ["W", "N1", "N2", "N2", "W", "?", "N3", "W"])


def test_eeg_is_the_epoch_and_bold_follows_by_the_lag(recording):
    windows = cut([recording], bold_volumes=6, lag=5.0)
    for row, eeg, bold in zip(windows.table.itertuples(), windows.eeg, windows.bold, strict=True):
        assert eeg.shape == (3, 30 * SFREQ)
        assert eeg[0, 0] == pytest.approx(row.onset)
        # the six volumes' centre lies within half a repetition time of the epoch's centre plus the lag
        assert abs(bold[0].mean() - (row.onset + 15 + 5)) <= T_R / 2 + 1e-9


@pytest.mark.parametrize("lag", [-4.0, 0.0, 6.3])
def test_a_larger_lag_takes_later_volumes(recording, lag):
    volumes = cut([recording], bold_volumes=4, lag=lag).bold[:][:, 0].mean(axis=1)
    expected = cut([recording], bold_volumes=4, lag=lag).table["onset"] + 15 + lag
    assert np.abs(volumes - expected).max() <= T_R / 2 + 1e-9


def test_context_that_leaves_the_run_is_dropped_and_counted_at_both_ends(recording):
    windows = cut([recording], eeg_epochs=3, bold_volumes=6)
    assert windows.table["onset"].tolist() == [30.0, 60.0, 90.0, 120.0]
    assert windows.dropped["context leaves the run"] == 2
    assert windows.dropped["uncertain or unscorable"] == 1
    assert windows.dropped["stage not among the classes"] == 1
    assert len(windows) + sum(windows.dropped.values()) == 8


@pytest.mark.parametrize(("gap", "lost"), [((45.0, 1.0), 1), ((59.0, 2.0), 2), ((60.0, 30.0), 1), ((400.0, 5.0), 0)])
def test_windows_that_touch_a_gap_are_dropped_and_counted(recording, gap, lost):
    windows = cut([recording], bold_volumes=6)
    recording.streams["eeg"] = replace(recording.streams["eeg"], gaps=(gap,))
    left = cut([recording], bold_volumes=6)
    assert len(windows) - len(left) == left.dropped.get("gap in the EEG", 0) == lost
    assert not [onset for onset in left.table["onset"] if onset < sum(gap) and onset + 30 > gap[0]]


def test_bold_that_ends_before_the_epochs_drops_the_last_one(tmp_path):
    # 285 volumes last 598.5 s: shorter than 20 epochs, and shorter still once the lag is added.
    short = made_recording(tmp_path, "01", "task-rest_run-1", ["W"] * 20, n_volumes=285)
    windows = cut([short], bold_volumes=14, lag=5.0)
    assert windows.table["onset"].max() == 540.0
    assert windows.dropped["context leaves the run"] == 1
    early = cut([short], bold_volumes=14, lag=-5.0)
    assert early.table["onset"].min() == 30.0


def test_start_and_stop_cover_every_sample_of_both_modalities(recording):
    windows = cut([recording], eeg_epochs=1, bold_volumes=20, lag=5.0)
    for row, eeg, bold in zip(windows.table.itertuples(), windows.eeg, windows.bold, strict=True):
        assert row.start <= min(eeg.min(), bold.min() - T_R / 2) + 1e-9
        assert row.stop >= max(eeg.max() + 1 / SFREQ, bold.max() + T_R / 2) - 1e-9


def test_merging_stages_keeps_the_rare_one(recording):
    windows = cut([recording], bold_volumes=4, merge={"N3": "N2"})
    assert (windows.y == 2).sum() == 3


def test_nothing_left_says_why(recording):
    with pytest.raises(RequestError, match=r"No window is left .*stage not among the classes"):
        cut([recording], classes=("REM",))
    with pytest.raises(RequestError, match="odd"):
        cut([recording], eeg_epochs=2)


def test_indexing_equals_indexing_the_array(recording):
    windows = cut([recording], bold_volumes=4)
    everything = np.asarray(windows.eeg)
    assert everything.shape == windows.eeg.shape
    for key in (
        2,
        -1,
        slice(1, 4),
        [3, 0],
        np.array([True, False] * 3),
        (slice(None), 1),
        (2, slice(None), slice(0, 9, 3)),
    ):
        np.testing.assert_array_equal(windows.eeg[key], everything[key])
    part = windows[[4, 1]]
    np.testing.assert_array_equal(part.eeg[:], everything[[4, 1]])
    np.testing.assert_array_equal(part.y, windows.y[[4, 1]])


def test_windows_travel_to_other_processes_without_their_data(tmp_path):
    long = made_recording(tmp_path, "01", "task-sleep_run-1", ["W", "N1"] * 200)
    windows = cut([long], bold_volumes=4)
    windows.eeg[0]
    assert len(pickle.dumps(windows.eeg)) < 20_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(windows.eeg))[5], windows.eeg[5])


def test_a_window_that_was_read_is_a_copy(recording):
    windows = cut([recording], bold_volumes=4)
    windows.eeg[0][:] = -1
    assert windows.eeg[0].min() >= 0


def test_features_are_computed_run_by_run_and_follow_the_windows(tmp_path):
    runs = [made_recording(tmp_path, "01", f"task-sleep_run-{k}", ["W", "N1", "N2"] * 3) for k in (1, 2)]
    windows = cut(runs, bold_volumes=4).with_feature("first", lambda w: w.eeg[:][:, 0, 0])
    np.testing.assert_allclose(windows.features["first"], windows.table["onset"])
    shuffled = np.random.default_rng(0).permutation(len(windows))
    np.testing.assert_allclose(windows[shuffled].features["first"], windows.table["onset"].to_numpy()[shuffled])
    with pytest.raises(RequestError, match="one per window"):
        windows.with_feature("bad", lambda w: np.zeros(len(w) - 1))


def test_runs_of_different_channels_are_not_mixed(tmp_path):
    from eegfmri.recordings import Stream

    one = made_recording(tmp_path, "01", "task-sleep_run-1", ["W", "N1"] * 4)
    two = made_recording(tmp_path, "02", "task-sleep_run-1", ["W", "N1"] * 4)
    stream = two.streams["eeg"]
    two.streams["eeg"] = Stream(stream.path, stream.sfreq, ("Cz", "Pz", "Fz"))
    with pytest.raises(RequestError, match="EEG runs differ"):
        cut([one, two], bold_volumes=4)


def test_lazy_array_is_what_numpy_takes(recording):
    windows = cut([recording], bold_volumes=4)
    assert isinstance(windows.bold, LazyArray)
    assert windows.bold.ndim == np.asarray(windows.bold).ndim == 3
    assert np.asarray(windows.bold, dtype=np.float32).dtype == np.float32


def test_poison_changes_all_of_one_subject_and_nothing_of_the_others(tmp_path):
    windows = cut(informative(tmp_path, n_subjects=3, n_epochs=16)).with_feature(
        "mean", lambda w: w.bold[:].mean(axis=-1)
    )
    spoilt = poisoned(windows, "02", tmp_path / "noise")
    theirs = windows.groups == "02"
    for kind in ("eeg", "bold"):
        before, after = getattr(windows, kind)[:], getattr(spoilt, kind)[:]
        np.testing.assert_array_equal(after[~theirs], before[~theirs])
        assert (after[theirs] != before[theirs]).mean() > 0.99
    np.testing.assert_array_equal(spoilt.features["mean"][~theirs], windows.features["mean"][~theirs])
    assert (spoilt.features["mean"][theirs] != windows.features["mean"][theirs]).all()
    np.testing.assert_array_equal(spoilt.y[~theirs], windows.y[~theirs])
    assert (spoilt.y != windows.y).any()
    assert spoilt.digest != windows.digest
    with pytest.raises(RequestError, match="'09'"):
        poisoned(windows, "09", tmp_path)


def test_pieces_put_together_are_the_windows_and_what_is_shared_stands_once(tmp_path):
    array = cut(informative(tmp_path, n_subjects=2, n_epochs=8), eeg_epochs=3, bold_volumes=4).eeg
    length = array.length // 3
    pieces, place = array.pieces(length)
    assert place.shape == (len(array), 3)
    assert len(pieces) == len(set(zip(pieces.run, pieces.first, strict=True))) < place.size
    for row in range(len(array)):
        np.testing.assert_array_equal(np.concatenate(pieces[place[row]], axis=1), array[row])
    assert array.pieces(array.length // 2 + 1)[1].shape == (len(array), 1)
