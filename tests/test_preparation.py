"""Many recordings prepared side by side: the same bytes, as many at once as memory allows, failures named together."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import windows_made
from eegfmri import machine
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.opening import open_recordings
from eegfmri.preprocessing import eeg
from eegfmri.preprocessing.bold import BoldSettings
from eegfmri.preprocessing.eeg import EegSettings
from eegfmri.preprocessing.preparation import prepare_all
from eegfmri.preprocessing.side_by_side import BOLD_PEAK, EEG_PEAK, SHARE, peak_bytes, prepared, processes
from eegfmri.recordings import Stream
from eegfmri.simulation.simulate import simulate


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = simulate("oddball", tmp_path_factory.mktemp("oddball") / "oddball", scale="tiny", n_subjects=2, n_jobs=1)
    return tuple(open_recordings(root, "oddball"))[:3]


def written(streams) -> list[bytes]:
    return [stream.path.read_bytes() for pair in streams for stream in pair if stream is not None]


def test_several_at_once_write_the_bytes_of_one_after_the_other(recordings, tmp_path, monkeypatch):
    settings = EegSettings(sfreq=50.0)
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "one"))
    one = prepare_all(recordings, settings, n_jobs=1)
    assert written(one) == [eeg.prepare(recording, settings).path.read_bytes() for recording in recordings]
    assert all(bold is None for _, bold in one)
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "two"))
    two = prepare_all(recordings, settings, n_jobs=2, memory=1e12)
    assert written(two) == written(one)
    assert [stream.path.name for stream, _ in two] == [stream.path.name for stream, _ in one]
    stamps = [stream.path.stat().st_mtime_ns for stream, _ in two]
    again = prepare_all(recordings, settings, n_jobs=2, memory=1e12)
    assert [stream.path.stat().st_mtime_ns for stream, _ in again] == stamps


@pytest.mark.slow
def test_bold_is_the_same_too(recordings, tmp_path, monkeypatch):
    found = []
    for name, n_jobs in (("one", 1), ("two", 2)):
        monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / name))
        found.append(prepare_all(recordings[:2], None, BoldSettings(), n_jobs=n_jobs, memory=1e12))
    assert written(found[0]) == written(found[1]) and len(written(found[0])) == 2


@pytest.fixture
def made(tmp_path):
    return [
        windows_made.made_recording(tmp_path, f"{number:02d}", "task-sleep_run-1", ["W"] * 3) for number in (1, 2, 3, 4)
    ]


def step(recording) -> Stream:
    """Fail for two subjects; note each call in a file beside the signals."""
    stream = recording.streams["eeg"]
    with Path(stream.path).with_name("called").open("a") as called:
        called.write(f"{recording.subject} {os.getpid()}\n")
    if recording.subject in ("02", "04"):
        raise DataError(f"{recording.name}: its triggers are lacking: fetch the file again.")
    return stream


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_recordings_that_fail_are_named_together_and_the_others_go_on(made, tmp_path, n_jobs):
    with pytest.raises(DataError) as failed:
        prepared(made, [step], n_jobs, memory=1e12)
    assert str(failed.value) == (
        "2 of 4 recordings could not be prepared: sub-02_task-sleep_run-1: its triggers are lacking: fetch the file again; "
        "sub-04_task-sleep_run-1: its triggers are lacking: fetch the file again"
    )
    called = [line.split() for line in (tmp_path / "called").read_text().splitlines()]
    assert sorted(subject for subject, _ in called) == ["01", "02", "03", "04"]
    assert (str(os.getpid()) in {process for _, process in called}) == (n_jobs == 1)


def test_an_error_that_names_no_recording_is_given_its_name(made):
    def broken(recording):
        raise ZeroDivisionError("nothing to divide")

    with pytest.raises(
        EegFmriError,
        match="^1 of 1 recording could not be prepared: sub-01_task-sleep_run-1: ZeroDivisionError: nothing to divide",
    ):
        prepared(made[:1], [broken])
    with pytest.raises(RequestError, match="n_jobs must be 1 or more, not 0"):
        prepared(made, [step], 0)


def test_as_many_at_once_as_memory_allows(made, monkeypatch):
    run = replace(made[0], ch_names=("Cz",) * 32, n_times=10_000_000, volume_shape=(64, 64, 30), n_volumes=300)
    peak = EEG_PEAK[0] + EEG_PEAK[1] * 32 * 10_000_000
    assert peak_bytes(run) == peak > 10e9
    small = replace(run, n_times=1000)
    assert peak_bytes(small) == BOLD_PEAK[0] + BOLD_PEAK[1] * 64 * 64 * 30 * 300
    assert processes([small, run, small], 8, memory=2.5 * peak) == 2
    assert processes([small, run, small], 8, memory=9 * peak) == 3
    assert processes([small, run, small], 2, memory=9 * peak) == 2
    assert processes([run] * 9, 8, memory=0.1 * peak) == 1
    monkeypatch.setattr(machine, "memory", lambda: (4.1 * peak / SHARE, 1e15))
    assert processes([run] * 9, 8) == 4


def test_windows_are_the_same_however_many_recordings_are_prepared_at_once(made):
    one, two = (windows_made.cut(made, classes=("W", "N1"), bold_volumes=3, n_jobs=n_jobs) for n_jobs in (1, 2))
    assert one.digest == two.digest and np.array_equal(one.eeg[:], two.eeg[:])
