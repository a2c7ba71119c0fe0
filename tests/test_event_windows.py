"""Windows of stimuli: the EEG around each, the BOLD after it, and what is left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eegfmri.errors import RequestError
from eegfmri.windows import event_windows
from windows_made import T_R, made_recording


def recording(folder, subject="01", onsets=(0.4, 10.0, 20.0, 30.0, 58.0), kinds=None, used=None):
    kinds = kinds or ["auditory standard", "auditory target", "visual standard", None, "visual target"]
    made = made_recording(folder, subject, "task001_run001", ["W", "W"])
    events = pd.DataFrame(
        {
            "onset": np.array(onsets, dtype=float),
            "duration": 0.2,
            "trial_type": kinds,
            "response_time": np.nan,
            "used": used or [True] * len(onsets),
        }
    )
    return replace(made, events=events)


def cut(recordings, **context):
    return event_windows(recordings, lambda r: r.streams["eeg"], lambda r: r.streams["bold"], **context)


def test_eeg_starts_at_the_stimulus_and_bold_lies_a_lag_after_it(tmp_path):
    """Every sample of the made runs holds its own time."""
    windows = cut([recording(tmp_path)], eeg_seconds=(-0.2, 0.8), bold_volumes=3, lag=5.0)
    assert windows.classes == ("standard", "target")
    assert windows.table["onset"].tolist() == [0.4, 10.0, 20.0]
    assert windows.y.tolist() == [0, 1, 0]
    for row, onset in enumerate((0.4, 10.0, 20.0)):
        assert windows.eeg[row, 0, 0] == pytest.approx(onset - 0.2, abs=0.006)
        assert windows.eeg.shape[2] == 100
        assert windows.bold[row].mean() == pytest.approx(onset + 5, abs=T_R / 2)
        assert windows.table["start"][row] == pytest.approx(onset - 0.2, abs=0.006)
        assert windows.table["stop"][row] >= onset + 5
    assert windows.dropped == {
        "recording not usable": 0,
        "left out by the authors": 0,
        "not among the classes": 1,
        "context leaves the run": 1,
    }


def test_both_edges_of_the_run_are_kept_in(tmp_path):
    early = cut([recording(tmp_path, onsets=(0.1, 10.0), kinds=["a target", "a target"])], eeg_seconds=(-0.2, 0.8))
    assert early.dropped["context leaves the run"] == 1
    # 28 volumes: the last of three, centred 5 s after the stimulus, is number 27
    last = [(onset + 5 - T_R / 2) / T_R for onset in (50.9, 53.0)]
    assert round(last[0] - 1) + 3 <= 28 < round(last[1] - 1) + 3
    late = cut([recording(tmp_path, onsets=(50.9, 53.0), kinds=["a target", "a target"])], bold_volumes=3)
    assert late.table["onset"].tolist() == [50.9]


def test_trials_that_the_authors_left_out_are_counted(tmp_path):
    windows = cut([recording(tmp_path, used=[True, False, True, True, True])])
    assert windows.dropped["left out by the authors"] == 1
    assert windows.y.tolist() == [0, 0]


def test_ranks_run_on_over_runs_and_nothing_is_an_error(tmp_path):
    first = recording(tmp_path)
    second = replace(recording(tmp_path, onsets=(5.0, 9.0), kinds=["x target", "x standard"]), run="task002_run001")
    windows = cut([first, second])
    assert windows.table["order"].tolist() == [0, 1, 2, 5, 6]
    with pytest.raises(RequestError, match="No window is left"):
        cut([recording(tmp_path, used=[False] * 5)])
    with pytest.raises(RequestError, match="empty"):
        cut([first], eeg_seconds=(1.0, 0.5))
