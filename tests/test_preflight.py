"""What would fail late is refused in seconds, before anything is executed; a dry run says what a request needs and costs."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import coupling_layout
from book_project import eegfmri, make_project
from eegfmri.errors import RequestError
from eegfmri.recordings import EPOCH_COLUMNS, Recording, RecordingSet
from eegfmri.runner import build, chapters, execution, preflight
from eegfmri.runner.sweep import sweep

BOOK = chapters.discover()


class Run(Recording):
    """A run that is not on disk."""

    @property
    def scalp_channels(self):
        return ("Cz", "Pz")

    def raw(self):
        raise AssertionError("a pre-flight reads no signals")


def night(subject, stages, status="ok", run="task-sleep_run-1"):
    rows = [(30.0 * i, 30.0, stage, stage, "certain", True) for i, stage in enumerate(stages)]
    epochs = pd.DataFrame(rows, columns=EPOCH_COLUMNS)
    return Run(
        "sleep", subject, run, status, sfreq=250.0, ch_names=("Cz", "Pz"), first_sample=0, n_times=250 * 30 * len(stages),
        t_r=2.1, n_volumes=int(30 * len(stages) / 2.1), volume_shape=(10, 10, 5), epochs=epochs,
    )  # fmt: skip


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Give a function that puts nights in the place of a folder of recordings, and returns the plan of ``--data``."""
    from eegfmri import opening

    root = tmp_path / "ds003768"
    root.mkdir()

    def give(*recordings):
        found = RecordingSet("sleep", root, recordings)
        monkeypatch.setattr(opening, "open_recordings", lambda root, name, **options: found)
        return execution.DataPlan(str(root), {"sleep": root}, simulate_missing=False)

    return give


def examined(plan, name, out=None, **changed):
    chapter = BOOK[name]
    request = execution.prepare(chapter, chapter.defaults | changed, plan)
    return preflight.examine(request, preflight.Known(plan), out)


SIX = ["W"] * 6 + ["N1"] * 6 + ["N2"] * 6


@pytest.mark.parametrize(
    ("recordings", "changed", "said"),
    [
        (
            [night("01", SIX), night("02", SIX[:6]), night("03", SIX[:12])],
            {"selection": "six_of_each"},
            "1 of the 3 subjects",
        ),
        ([night("01", SIX), night("02", SIX)], {"subjects": ["01", "09"]}, "No subject '09'"),
        ([night("01", SIX)], {}, "needs at least 2 subjects, and 1 of the 1 subject"),
        ([night("01", SIX), night("02", SIX, "refused")], {}, "1 of the 2 subjects"),
        ([night("01", SIX, "missing"), night("02", SIX, "refused")], {}, "None of the 2 sleep recordings"),
        ([night("01", ["W"] * 9), night("02", ["W"] * 9)], {"classes": ["W", "N2"]}, "No usable epoch of N2"),
        ([night("01", SIX), night("02", ["N3"] * 9)], {}, "1 of the 2 subjects"),
    ],
)
def test_what_a_selection_leaves_is_known_before_anything_runs(given, recordings, changed, said):
    found = examined(given(*recordings), "fusion/graph_fusion", **changed)
    assert any(said in problem for problem in found.problems), found


def test_enough_subjects_are_no_problem_and_are_counted(given):
    found = examined(
        given(night("01", SIX), night("02", SIX), night("03", SIX)), "fusion/graph_fusion", selection="six_of_each"
    )
    assert found.problems == []
    assert ("subjects", "sleep: 3 of 3 left by selection=six_of_each; 2 needed") in found.lines


@pytest.mark.parametrize(
    ("chapter", "changed", "said"),
    [
        ("recordings/recording", {"subject": "07"}, "there is no '07'"),
        ("recordings/preprocessing_eeg", {"recording": "sub-01_task-x"}, "there is no 'sub-01_task-x'"),
        ("recordings/preprocessing_eeg", {"recording": "sub-02_task-sleep_run-1"}, "is refused and cannot be read"),
    ],
)
def test_a_recording_that_is_named_must_be_there(given, chapter, changed, said):
    found = examined(given(night("01", SIX), night("02", SIX, "refused")), chapter, **changed)
    assert any(said in problem for problem in found.problems), found


def test_parts_of_subjects_need_as_many_subjects():
    chapter = BOOK["synthesis/transformer_cnn"]
    assert chapter.min_subjects(chapter.defaults) == chapter.defaults["n_parts"]


# --- atlas -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Let no atlas be there and no host answer."""
    for name in ("NILEARN_DATA", "NILEARN_SHARED_DATA"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(preflight, "_answers", lambda host: False)


def test_an_atlas_that_is_nowhere_is_refused_at_once(given, nowhere):
    found = examined(given(night("01", SIX), night("02", SIX)), "recordings/evaluation", atlas="schaefer")
    [problem] = found.problems
    assert "The atlas schaefer is in none of nilearn's folders" in problem
    assert "NILEARN_DATA" in problem


def test_an_atlas_that_is_there_or_can_be_fetched_is_no_problem(given, nowhere, tmp_path, monkeypatch):
    plan = given(night("01", SIX), night("02", SIX))
    files, host, _ = preflight.ATLASES["schaefer"]
    monkeypatch.setattr(preflight, "_answers", lambda asked: asked == host)
    found = examined(plan, "recordings/evaluation", atlas="schaefer")
    assert found.problems == []
    assert ("downloads", "about 56 kB (the atlas)") in found.lines
    for name in files:
        (tmp_path / "none" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "none" / name).touch()
    found = examined(plan, "recordings/evaluation", atlas="schaefer")
    assert ("downloads", "none") in found.lines
    assert ("atlas", f"schaefer is there ({tmp_path / 'none'})") in found.lines


@pytest.mark.parametrize("name", preflight.ATLASES)
def test_the_files_of_an_atlas_are_those_that_nilearn_asks_for(name, tmp_path, monkeypatch):
    from nilearn.datasets import atlas as fetchers

    from eegfmri.preprocessing.atlas import HARVARD_OXFORD

    asked = []

    def fetch_files(folder, files, **_):
        asked.extend(str(Path(folder, file[0])) for file in files)
        raise OSError("nothing is fetched")

    monkeypatch.setattr(fetchers, "fetch_files", fetch_files)
    with pytest.raises(OSError, match="nothing is fetched"):
        if name == "schaefer":
            fetchers.fetch_atlas_schaefer_2018(
                n_rois=100, yeo_networks=7, resolution_mm=2, data_dir=tmp_path, verbose=0
            )
        else:
            fetchers.fetch_atlas_harvard_oxford(HARVARD_OXFORD[name][0], data_dir=tmp_path, verbose=0)
    assert any(path.endswith(end) for path in asked for end in preflight.ATLASES[name][0]), asked


# --- disk, memory, folders -------------------------------------------------------------------------------------------


def test_a_full_disk_is_refused_with_both_numbers(given, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 5000))
    found = examined(given(night("01", SIX), night("02", SIX)), "recordings/evaluation")
    [problem] = found.problems
    assert problem.startswith("The disk is too full: about ") and "5.0 kB free" in problem


def test_a_run_that_does_not_fit_into_memory_is_refused_with_both_numbers(given, monkeypatch):
    monkeypatch.setattr(preflight, "memory", lambda: (500.0, 1000.0))
    found = examined(given(night("01", SIX), night("02", SIX)), "recordings/evaluation")
    [problem] = found.problems
    assert "The largest run takes" in problem and "has 1.0 kB" in problem


def test_memory_of_this_machine_is_plausible():
    from eegfmri.machine import memory

    available, total = memory()
    assert 0 < available <= total
    assert total > 1e8


@pytest.mark.parametrize(
    "folder",
    ["/proc/x/y", "/dev/null", "/dev/null/x", "file", "file/x", "/sys/x", "a" * 300, "a/" * 3000, "a\0b"],
    ids=range(9),
)
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_executed(tmp_path, folder):
    (tmp_path / "file").touch()
    place = folder if folder.startswith("/") else str(tmp_path / folder)
    problem = preflight.unwritable(place)
    assert problem.endswith(".") and "\n" not in problem
    assert preflight.unwritable(tmp_path / "new" / "newer") == ""
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "looking leaves nothing"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "fixtures/first", "--out", "/proc/x"),
        ("run", "fixtures/first", "--out", "/dev/null"),
        ("sweep", "fixtures/first", "-p", "seed=1,2", "--out", "/proc/x"),
        ("build", "--json", "/proc/x/b.json"),
        ("verify", "--json", "/dev/null/v.json"),
        ("chapters", "--json", "/"),
        ("run", "fixtures/first", "--out", "~nobody-of-that-name/x"),
        ("run", "fixtures/first", "--data", "a" * 5000),
    ],
)
def test_every_command_looks_where_it_writes_before_it_works(tmp_path, words):
    project = make_project(tmp_path / "project")
    done = eegfmri(project, *words)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().split("\n")) == 1
    assert done.stderr.startswith(("--out: ", "--json: ", "--data: "))
    assert not (project / "book" / "_build" / "executed").exists()


# --- costs -----------------------------------------------------------------------------------------------------------


def test_time_comes_from_the_chapter_s_statement_from_lengths_and_from_earlier_runs(given, tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(make_project(tmp_path / "project")))
    plan = given(*(night(f"{i:02}", SIX * 10) for i in range(8)))

    def time(**changed):
        return dict(examined(plan, "recordings/evaluation", **changed).lines)["time"]

    hours = 8 * 30 * 180 / 3600
    usual = 8 * 25 / 60
    assert time().startswith(
        f"about {round(3 * hours / usual)} min by the length of the recordings: the chapter states 3 min"
    )
    assert "nobody has measured what these change: lag 5.0 → 6.0" in time(lag=6.0)
    assert "nobody has measured" not in time(seed=3)
    document = {
        "schema": 1, "chapter": "recordings/evaluation", "parameters": json.loads(json.dumps(BOOK["recordings/evaluation"].defaults)),
        "data": {"dataset": "sleep", "simulated": False, "digest": "a"}, "environment": {"executed": "2026-01-02T03:04:05+00:00"},
        "seconds": 7200.0, "results": [],
    }  # fmt: skip
    folder = tmp_path / "project" / "runs" / "x"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(document))
    assert time(seed=3) == "about 2.0 h: what a run with these parameters took on 2026-01-02"
    assert "2.0 h" not in time(lag=6.0)


def test_what_is_simulated_is_said_with_its_size_and_is_near_what_is_written(monkeypatch, tmp_path):
    chapter = BOOK["recordings/recording"]
    monkeypatch.setattr(preflight, "simulated_folder", lambda name, request: tmp_path / "none")
    request = execution.prepare(chapter, chapter.defaults)
    found = preflight.examine(request, preflight.Known(execution.DataPlan()))
    assert found.problems == []
    assert any("8 subjects are simulated first" in text for what, text in found.lines if what == "recordings")
    request = SimpleNamespace(simulation={"scale": "small"})
    eeg = 8 * 1500 * 250 * 2 * 30
    bold = 32 * 32 * 16 * 2 * 8 * 1500 / 2.1
    assert eeg < preflight.simulated_bytes("sleep", request) < 3 * (eeg + bold)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (56e3, "56 kB"),
        (2.4e9, "2.4 GB"),
        (3e13, "30 TB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_have_two_digits_that_count(n_bytes, text):
    assert preflight.size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (120, "2 min"), (5400, "1.5 h"), (360000, "100 h")]
)
def test_times_have_two_digits_that_count(seconds, text):
    assert preflight.duration(seconds) == text


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(given, monkeypatch):
    """Let a chapter be executed under no circumstances; give the folder of recordings that leave one subject."""

    def execute(*_, **__):
        raise AssertionError("executed although the request cannot be fulfilled")

    for module in ("build", "sweep", "execution"):
        monkeypatch.setattr(f"eegfmri.runner.{module}.execute_all", execute)
        monkeypatch.setattr(f"eegfmri.runner.{module}.ensure_data", execute)
    plan = given(night("01", SIX))
    monkeypatch.setattr(execution.DataPlan, "of", classmethod(lambda cls, data, simulate_missing: plan))
    return plan.given


def test_a_run_a_sweep_and_a_build_are_refused_before_anything_is_executed(refused, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="needs at least 2 subjects"):
        build.run("recordings/evaluation", data=refused, out=tmp_path / "out")
    with pytest.raises(RequestError, match="needs at least 2 subjects"):
        sweep("recordings/evaluation", ["seed=0,1,2"], data=refused, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    project = make_project(tmp_path / "project")
    page = project / "book" / "fixtures" / "first.md"
    source = page.read_text(encoding="utf-8").replace(
        "  minutes: 1", "  minutes: 1\n  datasets: [sleep]\n  min_subjects: 2"
    )
    page.write_text(source, encoding="utf-8")
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    with pytest.raises(RequestError, match="fixtures/first needs at least 2 subjects"):
        build.build(data=refused)


def test_of_the_chapters_behind_claims_one_that_cannot_run_keeps_no_other_from_running(given, monkeypatch, tmp_path):
    project = make_project(tmp_path / "project")
    for name, needed in (("first", 2), ("second", 1)):
        page = project / "book" / "fixtures" / f"{name}.md"
        more = f"  minutes: 1\n  datasets: [sleep]\n  min_subjects: {needed}"
        page.write_text(page.read_text(encoding="utf-8").replace("  minutes: 1", more), encoding="utf-8")
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    execution.build_dir().mkdir()
    plan = given(night("01", SIX))
    monkeypatch.setattr(execution.DataPlan, "of", classmethod(lambda cls, data, simulate_missing: plan))
    monkeypatch.setattr(
        build, "execute_all", lambda requests, *_: [execution.Outcome(request, "executed", 1.0) for request in requests]
    )
    monkeypatch.setattr(build, "_publish_results", lambda *_: None)
    outcomes = build.execute_for_claims(["fixtures/first", "fixtures/second"], plan.given, "quick")
    assert {outcome.request.chapter.name: outcome.status for outcome in outcomes} == {
        "fixtures/first": "failed",
        "fixtures/second": "executed",
    }
    assert "needs at least 2 subjects" in outcomes[0].error


def test_a_dry_run_writes_nothing_and_leaves_with_0_or_2(tmp_path):
    project = make_project(tmp_path / "project")
    before = sorted(project.rglob("*"))
    done = eegfmri(project, "run", "fixtures/first", "-p", "seed=3", "--dry-run")
    assert done.returncode == 0, done.stderr
    for word in (
        "recordings  none are needed",
        "downloads   none",
        "disk ",
        "memory ",
        "output ",
        "It can be executed.",
    ):
        assert word in done.stdout
    assert "time        about 60 s: the chapter states 60 s" in done.stdout
    done = eegfmri(project, "run", "fixtures/first", "--out", "/proc/x", "--dry-run")
    assert done.returncode == 2
    assert "It cannot be executed." in done.stdout
    assert "/proc/x cannot be written" in done.stderr
    assert eegfmri(project, "run", "fixtures/first", "-p", "sede=3", "--dry-run").returncode == 2
    assert sorted(project.rglob("*")) == before


# --- what is read again ----------------------------------------------------------------------------------------------


DAMAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe{",
    b"\x00" * 40,
    b"[" * 100_000,
    b'{"schema": 1}',
    b'"text"',
    b"{" + b'"a":{' * 9000,
    b"NaN",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["results.json", "notebook.ipynb"])
def test_a_damaged_execution_is_executed_again(tmp_path, name):
    project = make_project(tmp_path / "project")
    words = ("run", "fixtures/second", "--out", "out")
    assert eegfmri(project, *words).returncode == 0
    [path] = (project / "book" / "_build" / "executed" / "fixtures" / "second").glob(f"*/{name}")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    done = eegfmri(project, *words)
    assert done.returncode == 0, done.stderr
    assert "executed fixtures/second" in done.stdout
    assert json.loads((project / "out" / "results.json").read_text())["results"]


@pytest.mark.parametrize("content", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_document_is_left_out_and_named(tmp_path, monkeypatch, content):
    from eegfmri import results

    project = make_project(tmp_path / "project")
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    chapter = chapters.find("fixtures/first")
    request = execution.prepare(chapter, chapter.defaults)
    places = [
        project / "book" / "_build" / "results" / "fixtures" / "first.json",
        project / "runs" / "x" / "results.json",
        request.folder / "results.json",
        request.folder / "notebook.ipynb",
        execution.build_dir() / "kept" / "a.json",
    ]
    for path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert results.latest() == []
    assert len(results.damaged()) == 2
    assert all(
        str(path) in sentence for path, sentence in zip(sorted(places[:2]), sorted(results.damaged()), strict=True)
    )
    assert not request.cached
    execution.prune([chapter], [])
    assert not places[-1].exists()


def test_parts_of_a_results_document_of_wrong_types_are_named(tmp_path):
    from eegfmri import results
    from eegfmri.errors import DataError

    whole = {
        "schema": 1, "chapter": "a/b", "parameters": {}, "data": {"dataset": "sleep", "simulated": True, "digest": "a"},
        "environment": {}, "seconds": 2.5, "results": [{"key": "a/b/c/d", "value": 1.0, "low": 0, "high": None, "unit": "", "n": 2}],
    }  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(whole))
    assert results.read(path) == whole
    generator = np.random.default_rng(0)
    odd = [None, 1, "x", [], {}, [1], {"a": 1}, True, [[]], -1e300]
    refused = 0
    for _ in range(400):
        document = json.loads(json.dumps(whole))
        target = (
            document
            if generator.random() < 0.6
            else document["results"][0]
            if generator.random() < 0.7
            else document["data"]
        )
        target[str(generator.choice(list(target)))] = odd[int(generator.integers(len(odd)))]
        path.write_text(json.dumps(document))
        try:
            found = results.read(path)
        except DataError as error:
            refused += 1
            assert str(path) in str(error)
        else:
            assert isinstance(found["results"], list) and isinstance(found["chapter"], str)
    assert refused > 100
    path.write_text(json.dumps(whole).replace("1.0", "1e999").replace('"low": 0', '"low": NaN'))
    assert results.read(path)["results"][0] | {"value": None, "low": None} == results.read(path)["results"][0]


def test_series_of_one_s_own_are_read_before_anything_is_executed(tmp_path):
    plan = execution.DataPlan(None, {}, simulate_missing=True)
    folder = coupling_layout.write_alertness(tmp_path / "own")
    found = examined(plan, "recordings/coupling", alertness_dir=str(folder))
    assert ("recordings", f"alertness_dir: 3 recordings can be read (real, {folder})") in found.lines
    (folder / "sub_2.mat").write_bytes(b"no file of MATLAB")
    found = examined(plan, "recordings/coupling", alertness_dir=str(folder))
    assert [problem for problem in found.problems if "sub_2.mat" in problem]
