"""Entries of the cache that are not as they were written: each is noticed, none is used, and what it held is made anew."""

import errno
import json
import os
import pickle
from pathlib import Path

import nbformat
import numpy as np
import pytest

from book_project import eegfmri, make_project
from damage import FOREIGN, damaged
from eegfmri import cache, results
from eegfmri.errors import CannotWrite, DataError
from eegfmri.estimators import classical, synthesis
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.opening import open_recordings
from eegfmri.preprocessing.eeg import EegSettings, prepare
from eegfmri.recovery.planted import Truth, planted_bold
from eegfmri.runner import chapters, execution
from eegfmri.runner.measure import PeakMemory
from eegfmri.simulation.simulate import simulate
from eegfmri.windows import LazyArray
from windows_made import cut, made_recording, stages


def put(path, content: bytes) -> None:
    """Write a file as no part of the library would, and let it be looked at as by a new process."""
    path.write_bytes(content)
    cache._read.clear()


ARRAYS = {
    "volts": np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32),
    "one number": np.array(1.0),
    "nothing": np.empty((0, 4)),
    "volumes": np.asfortranarray(np.random.default_rng(1).standard_normal((20, 7))),
    "counts": np.arange(1000),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_no_damaged_array_is_used_and_none_raises_raw(tmp_path, name):
    path = cache.save_array(tmp_path / "x.npy", ARRAYS[name])
    content = path.read_bytes()
    assert cache.is_whole(path)
    assert np.array_equal(cache.load_array(path), ARRAYS[name])
    for number, version in enumerate(damaged(content, 120, seed=len(name))):
        put(path, version)
        assert not cache.is_whole(path), f"damage {number} is not seen"
        with pytest.raises(DataError, match="made anew"):
            cache.load_array(path)
    put(path, content)
    assert np.array_equal(cache.load_array(path), ARRAYS[name])


def test_an_array_without_checksum_counts_as_absent(tmp_path):
    np.save(tmp_path / "old.npy", ARRAYS["volts"])
    assert not cache.is_whole(tmp_path / "old.npy")
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    assert not any(cache.is_whole(tmp_path / f"{name}.npy") for name in ("folder", "pipe", "absent"))


def test_other_readers_read_an_entry(tmp_path):
    path = cache.save_array(tmp_path / "x.npy", ARRAYS["volumes"])
    assert np.array_equal(np.load(path), ARRAYS["volumes"])
    assert np.load(path, mmap_mode="r").flags.f_contiguous


def test_an_entry_is_read_to_its_end_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    path = cache.save_array(tmp_path / "x.npy", ARRAYS["counts"])
    read = []
    crc32 = cache.zlib.crc32
    monkeypatch.setattr(cache.zlib, "crc32", lambda block, before: read.append(len(block)) or crc32(block, before))
    for _ in range(3):
        cache.load_array(path)
    assert sum(read) == path.stat().st_size - cache._SEAL.size
    os.utime(path, (1, 1))
    cache.load_array(path)
    assert sum(read) == 2 * (path.stat().st_size - cache._SEAL.size)


def test_no_damaged_json_entry_is_used_and_none_raises(tmp_path):
    value = {"notes": ["ein Ö"], "gaps": [[0.1, 2.0]], "none": None, "nan": float("nan"), "deep": {"x": [1, 2, {}]}}
    path = cache.keep_json(tmp_path / "x.json", value)
    content = path.read_bytes()
    for version in [*damaged(content, 300, seed=5), *FOREIGN, json.dumps(value).encode()]:
        put(path, version)
        found = cache.kept_json(path)
        # Blanks between the parts of JSON may come and go, and NaN is not equal to itself.
        assert found is None or json.dumps(found) == json.dumps(value)
    path.unlink()
    os.mkfifo(path)
    assert cache.kept_json(path) is None


def test_a_sealed_folder_is_whole_or_not(tmp_path):
    folder = tmp_path / "executed"
    folder.mkdir()
    files = {"notebook.ipynb": b'{"cells": []}', "results.json": b'{"results": []}'}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert not cache.is_whole_folder(folder)
    cache.seal_folder(folder)
    assert cache.is_whole_folder(folder, files)
    assert not cache.is_whole_folder(folder, [*files, "another"])
    for name in files:
        for version in damaged(files[name], 60, seed=7):
            put(folder / name, version)
            assert not cache.is_whole_folder(folder, files)
        put(folder / name, files[name])
        (folder / name).rename(tmp_path / "away")
        assert not cache.is_whole_folder(folder, files)
        (tmp_path / "away").rename(folder / name)
    assert cache.is_whole_folder(folder, files)


# --- what is made of them --------------------------------------------------------------------------------------------


def test_folds_whose_files_are_damaged_are_measured_anew(tmp_path):
    runs = [made_recording(tmp_path, f"{n:02d}", "task-sleep_run-1", stages(12, n)) for n in (1, 2, 3)]
    windows = cut(runs)
    methods = {"majority": classical.trivial_predictors()["majority"]}

    def measured():
        return evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path / "folds")

    first = measured()
    assert not first.folds["cached"].any()
    path = sorted((tmp_path / "folds").rglob("fold.json"))[1]
    content = path.read_bytes()
    versions = list(damaged(content, 30, seed=11))
    for version in versions:
        put(path, version)
        again = measured()
        assert again.predictions.equals(first.predictions)
        assert again.folds["cached"].sum() in (2, 3)  # 3 where the damage changed blanks between numbers only
        assert cache.kept_json(path) is not None
        put(path, content)
    assert measured().folds["cached"].all()


def test_arrays_of_a_fold_belong_to_it(tmp_path):
    from eegfmri.evaluation.folds import Task

    task = Task("method", None, None, None, tmp_path)
    for name in ("errors.npy", "other_time/errors.npy"):
        cache.save_array(tmp_path / name, np.arange(5.0))
    cache.keep_json(tmp_path / "fold.json", {"arrays": ["errors.npy", "other_time/errors.npy"]})
    assert task.finished
    content = (tmp_path / "other_time" / "errors.npy").read_bytes()
    for version in damaged(content, 40, seed=3):
        put(tmp_path / "other_time" / "errors.npy", version)
        assert not task.finished
    (tmp_path / "other_time" / "errors.npy").unlink()
    assert not task.finished
    (tmp_path / "fold.json").write_text("{}")
    with pytest.raises(DataError, match="measured anew"):
        task.read()


def test_whatever_preparing_a_run_keeps_is_made_anew_where_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_CACHE", str(tmp_path / "cache"))
    root = simulate("oddball", tmp_path / "oddball", scale="tiny", n_subjects=1, n_jobs=1)
    truth = Truth(open_recordings(root, "oddball"))

    def prepared() -> dict[str, np.ndarray]:
        recording = next(iter(open_recordings(root, "oddball")))
        stream = prepare(recording, EegSettings(sfreq=100.0, l_freq=1.0, h_freq=30.0))
        windows = LazyArray([stream], np.zeros(1, int), np.zeros(1, int), 10)
        return {
            "eeg": stream.load(),
            "notes": np.array(stream.notes),
            "raw": recording.raw().get_data()[:, :50],
            "pooled": synthesis._pooled_run(windows, 0, 4, 0),
            "planted": planted_bold(truth, recording, 1.0).load(),
        }

    first = {name: np.array(values) for name, values in prepared().items()}
    entries = [path for path in sorted((tmp_path / "cache").rglob("*")) if path.is_file() and path.suffix != ".lock"]
    assert {path.parent.name for path in entries} >= {"eeg", "oddball", "planted"}
    assert {path.suffix for path in entries} >= {".npy", ".json"}
    for number in range(len(entries) + 3):
        # Each alone, then all of them: what is made of another entry is made of a good one.
        chosen = entries[number : number + 1] or entries
        for seed, path in enumerate(chosen):
            [version] = damaged(path.read_bytes(), 1, seed=100 * number + seed)
            put(path, version)
        again = prepared()
        assert all(np.array_equal(first[name], again[name]) for name in first), chosen


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    """A request for the small book's first chapter, as if it had been executed."""
    monkeypatch.setenv("EEGFMRI_ROOT", str(make_project(tmp_path / "project")))
    chapter = chapters.find("fixtures/first")
    request = execution.prepare(chapter, chapter.defaults)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    execution._keep(request, notebook, 1.0, 1, PeakMemory())
    return request


def test_a_damaged_executed_chapter_is_not_taken_for_one(request_of):
    assert request_of.cached
    for path in sorted(request_of.folder.iterdir()):
        content = path.read_bytes()
        for version in damaged(content, 40, seed=len(path.name)):
            put(path, version)
            taken = request_of.cached
            assert not taken or path.name == cache.SEAL_FILE
            assert not taken or cache.kept_json(path) == json.loads(content)["value"]
        put(path, content)
    assert request_of.cached


def test_damaged_notes_of_the_build_count_as_absent(request_of, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    execution.keep(folder, [request_of])
    [path] = (execution.build_dir() / "kept").glob("*.json")
    content = path.read_bytes()
    assert execution._kept() == {request_of.folder}
    for version in damaged(content, 40, seed=2):
        put(path, version)
        assert execution._kept() in (set(), {request_of.folder})
        put(path, content)


def test_damaged_results_of_the_build_count_as_absent_and_those_of_a_run_are_named(request_of):
    built = execution.build_dir() / "results" / "fixtures" / "first.json"
    ran = execution.project.root() / "runs" / "first" / "results.json"
    content = (request_of.folder / "results.json").read_bytes()
    for path in (built, ran):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    assert [document["chapter"] for document in results.latest()] == ["fixtures/first"]
    for version in (content[: len(content) // 2], *FOREIGN):
        built.write_bytes(version)
        assert len(results.latest()) == 1
    built.write_bytes(content)
    for version in (content[: len(content) // 2], *FOREIGN):
        ran.write_bytes(version)
        assert [document["chapter"] for document in results.latest()] == ["fixtures/first"]
        [said] = results.damaged()
        assert "runs/first/results.json" in said


@pytest.mark.slow
def test_a_build_executes_anew_what_was_truncated_and_nothing_else(tmp_path):
    project = make_project(tmp_path / "project")
    assert eegfmri(project, "build").returncode == 0
    build = project / "book" / "_build"
    [folder] = (build / "executed" / "fixtures" / "first").iterdir()
    for path in (folder / "results.json", folder / "notebook.ipynb", build / "results" / "fixtures" / "first.json"):
        path.write_bytes(path.read_bytes()[:100])
        (build / "rendered.json").write_bytes(b"{")
        done = eegfmri(project, "build", "--json", "b.json")
        assert (done.returncode, done.stderr) == (0, "")
        statuses = {row["chapter"]: row["status"] for row in json.loads((project / "b.json").read_text())["chapters"]}
        again = "executed" if folder in path.parents else "cached"
        assert statuses == {"fixtures/first": again, "fixtures/second": "cached"}
        assert json.loads((build / "results" / "fixtures" / "first.json").read_text())["results"]


# --- writing ---------------------------------------------------------------------------------------------------------


def test_bytes_are_on_the_disk_before_the_name_is_there(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(cache.os, "fsync", lambda handle: done.append(os.path.realpath(f"/proc/self/fd/{handle}")))
    replace = os.replace
    monkeypatch.setattr(cache.os, "replace", lambda *names: done.append("renamed") or replace(*names))
    path = cache.write_json(tmp_path / "x.json", 1)
    assert done[1:] == ["renamed", str(path.parent.resolve())]
    assert os.path.basename(done[0]).startswith(cache.PART)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
@pytest.mark.parametrize("when", ["fsync", "replace", "write"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, number, when):
    path = cache.write_json(tmp_path / "x.json", "old")

    def full(*_args, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(
        *{"fsync": (os, "fsync"), "replace": (os, "replace"), "write": (Path, "write_text")}[when], full
    )
    with pytest.raises(
        CannotWrite, match=r"x\.json cannot be written.*(make room|another one|another folder)"
    ) as caught:
        cache.write_json(path, "new")
    assert pickle.loads(pickle.dumps(caught.value)).errno == number
    monkeypatch.undo()
    assert cache.read_json(path) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written"):
        cache.write_json(tmp_path / "file" / "x.json", 1)
    with pytest.raises(CannotWrite, match="cannot be written"):
        cache.write_json(tmp_path / f"{'x' * 300}" / "x.json", 1)
