"""Executors: the same results wherever jobs are done, nothing finished done again, failures named, progress told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest
from sklearn.base import BaseEstimator

import windows_made
from book_project import FIXTURES, eegfmri, environment, make_project
from eegfmri import executors
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.executors import Dask, Job, Processes, Serial, Threads, completed

TESTS = Path(__file__).resolve().parent


# --- what is done ----------------------------------------------------------------------------------------------------


def note(path: Path, word: object) -> None:
    """Append a line to a file, from whichever process."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{word}\n")


def noted(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def square(folder: Path, number: int) -> int:
    note(folder / "done", number)
    if number == 3:
        raise ValueError("three is not squared")
    return number**2


def squares(folder: Path, count: int = 6) -> list[Job]:
    return [Job(f"square {number} of {count}", square, (folder, number)) for number in range(count)]


def die(folder: Path) -> None:
    note(folder / "died", os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


class Means(BaseEstimator):
    """Tells classes apart by their mean level; notes what it fits, and kills its own process the first time in one fold."""

    def __init__(self, folder: str, deadly: str | None = None, seconds: float = 0.0):
        self.folder, self.deadly, self.seconds = folder, deadly, seconds

    def fit(self, windows, y):
        folder, (left_out,) = Path(self.folder), {"01", "02", "03", "04"} - set(windows.subjects)
        note(folder / "begun", left_out)
        time.sleep(self.seconds)
        if left_out == self.deadly and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        level = windows.bold[:].mean(axis=(1, 2))
        self.means_ = np.array([level[y == c].mean() for c in range(len(windows.classes))])
        note(folder / "fitted", left_out)
        return self

    def predict(self, windows):
        level = windows.bold[:].mean(axis=(1, 2))
        return np.abs(level[:, None] - self.means_).argmin(axis=1)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Four subjects."""
    return windows_made.cut(windows_made.informative(tmp_path_factory.mktemp("runs"), n_subjects=4, n_epochs=20))


def folds_on_disk(folder: Path) -> dict[str, str]:
    """Return what was written of each fold, but for the time it took."""
    found = {}
    for path in folder.rglob("fold.json"):
        written = json.loads(path.read_text(encoding="utf-8"))["value"]
        found[path.parent.name] = json.dumps({**written, "seconds": 0})
    return found


def evaluated(windows, folder: Path, **settings):
    """Evaluate into a folder; what is noted lies there, too."""
    folder.mkdir(exist_ok=True)
    return evaluate({"means": Means(str(folder), **settings)}, windows, LeaveOneSubjectOut(), folder=folder / "folds")


# --- clusters --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(cache_folder):
    """Two worker processes, each with one thread."""
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(processes=True, n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        yield cluster


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler in a process of its own, for those who kill it, with two workers."""
    place = tmp_path / "scheduler.json"
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place)]
    process = subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *words], **options)
    deadline = time.monotonic() + 60
    while not place.is_file() or not place.read_text(encoding="utf-8").strip():
        assert time.monotonic() < deadline, "no scheduler has started"
        time.sleep(0.05)
    address = json.loads(place.read_text(encoding="utf-8"))["address"]
    paths = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    words = [address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path)]
    workers = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", *words],
        env={**os.environ, "PYTHONPATH": paths},
        **options,
    )
    yield process, address
    for started in (process, workers):
        started.terminate()
        started.wait()


# --- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [Serial(), Processes(2), Threads(2)], ids=lambda executor: type(executor).__name__)
def test_every_job_is_done_once_and_one_that_fails_names_itself(tmp_path, executor):
    done = {done.position: done for done in completed(squares(tmp_path), executor)}
    assert {position: one.value for position, one in done.items()} == {0: 0, 1: 1, 2: 4, 3: None, 4: 16, 5: 25}
    assert str(done[3].error).endswith("three is not squared")
    assert sorted(noted(tmp_path / "done")) == list("012345")


def test_the_same_on_a_cluster(tmp_path, cluster):
    done = {done.position: done for done in completed(squares(tmp_path), Dask(cluster.scheduler_address))}
    assert [done[position].value for position in range(6)] == [0, 1, 4, None, 16, 25]
    assert str(done[3].error) == "ValueError: three is not squared"
    assert sorted(noted(tmp_path / "done")) == list("012345")


def test_progress_names_the_first_open_job_and_estimates_the_time_left(tmp_path):
    heard = []
    for _ in completed(squares(tmp_path, 3), Serial(), heard.append):
        pass
    assert [(progress.name, progress.done, progress.total) for progress in heard] == [
        ("square 0 of 3", 0, 3),
        ("square 1 of 3", 1, 3),
        ("square 2 of 3", 2, 3),
    ]
    assert heard[0].left is None and 0 < heard[2].left < heard[1].left < 1
    assert heard[0].sentence == "square 0 of 3"
    assert heard[1].sentence == "square 1 of 3, under 1 min left"
    assert executors.Progress("fold 2 of 9 of ridge", "ridge", 1, 9, 400.0).sentence == (
        "fold 2 of 9 of ridge, about 7 min left"
    )


class TwoAtOnce(Serial):
    def width(self):
        return 2


def test_time_left_counts_kinds_apart(monkeypatch):
    clock = iter([0, 10, 0, 100, 0, 10, 0, 100])  # seconds at the beginning and the end of each job
    monkeypatch.setattr(executors.time, "perf_counter", lambda: next(clock))
    kinds = ("quick", "slow", "quick", "slow")
    heard = []
    for _ in completed([Job(kind, int, (), kind) for kind in kinds], TwoAtOnce(), heard.append):
        pass
    assert [progress.left for progress in heard] == [None, 15, 55, 100]


def test_progress_goes_into_the_file_that_the_runner_names_and_nowhere_else(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv(executors.PROGRESS, str(tmp_path / "progress"))
    nested = Job("outer", lambda: [done.value for done in completed(squares(tmp_path, 3), Serial())])
    assert [done.value for done in completed([nested], Serial())] == [[0, 1, 4]]
    lines = [json.loads(line) for line in (tmp_path / "progress").read_text(encoding="utf-8").splitlines()]
    assert lines == [{"name": "outer", "kind": "", "done": 0, "total": 1, "left": None}, None]
    assert capfd.readouterr() == ("", "")


def test_a_process_that_dies_is_said_in_one_sentence(tmp_path):
    with pytest.raises(
        EegFmriError, match=r"^One of 2 processes has died in the middle of its work, .* from what is finished\.$"
    ):
        list(completed([Job("die", die, (tmp_path,)), *squares(tmp_path, 2)], Processes(2)))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "http://127.0.0.1:1", ""])
def test_a_cluster_that_does_not_answer_is_refused_in_one_sentence(address):
    with pytest.raises(RequestError) as refused:
        list(completed([Job("nothing", int)], Dask(address)))
    said = str(refused.value)
    assert said.startswith(f"No Dask scheduler answers at {address} (") and "\n" not in said
    assert said.endswith("start one with `dask scheduler`, or give the address that it shows.")


def test_nobody_is_asked_where_nothing_is_to_be_done():
    assert list(completed([], Dask("nonsense"))) == []


def test_workers_that_could_not_do_the_work_are_refused(cluster, tmp_path, monkeypatch):
    dask_cluster = Dask(cluster.scheduler_address)
    dask_cluster.check()
    with monkeypatch.context() as patch:
        patch.setenv("EEGFMRI_ROOT", str(tmp_path))
        with pytest.raises(RequestError, match=f"does not see the folder {tmp_path}: start it where that lies"):
            dask_cluster.check()
    with monkeypatch.context() as patch:
        patch.setattr(executors, "DISTRIBUTIONS", ("numpy", "joblib"))
        with pytest.raises(
            RequestError, match="has another version of joblib: install the same there, and start it again"
        ):
            dask_cluster.check()
    newest = max(executors._sources(), key=lambda path: path.stat().st_mtime)
    before = newest.stat()
    try:
        os.utime(newest, (time.time() + 100,) * 2)
        with pytest.raises(RequestError, match="is older than the library as it is now: start it again"):
            dask_cluster.check()
    finally:
        os.utime(newest, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_folds_on_a_cluster_are_those_of_one_process_although_a_worker_dies(windows, cluster, tmp_path, monkeypatch):
    alone, spread = tmp_path / "alone", tmp_path / "spread"
    serial = evaluated(windows, alone)
    monkeypatch.setenv(executors.SCHEDULER, cluster.scheduler_address)
    shared = evaluated(windows, spread, deadly="02")
    assert (spread / "killed").exists()
    assert len(folds_on_disk(alone)) == 4 and folds_on_disk(spread) == folds_on_disk(alone)
    assert serial.predictions.equals(shared.predictions)
    assert sorted(noted(spread / "fitted")) == ["01", "02", "03", "04"], "a finished fold was computed twice"
    assert noted(spread / "begun").count("02") == 2
    again = evaluated(windows, spread, deadly="02")
    assert again.folds["cached"].all() and len(noted(spread / "begun")) == 5


@pytest.mark.slow
def test_a_job_that_kills_its_workers_fails_and_the_others_go_on(cluster, tmp_path):
    jobs = [Job("deadly", die, (tmp_path,)), *squares(tmp_path, 3)]
    done = {done.position: done for done in completed(jobs, Dask(cluster.scheduler_address))}
    assert [done[position].value for position in (1, 2, 3)] == [0, 1, 4]
    assert str(done[0].error).startswith("deadly: 2 workers of tcp://")
    assert len(noted(tmp_path / "died")) == 2


@pytest.mark.slow
def test_when_the_scheduler_is_killed_the_repeated_command_goes_on(windows, scheduler, cluster, tmp_path, monkeypatch):
    process, address = scheduler
    folder = tmp_path / "folds"
    monkeypatch.setenv(executors.SCHEDULER, address)
    original = executors._write

    def first_fold_is_done(*_):
        if len(noted(folder / "fitted")) >= 1 and process.poll() is None:
            process.kill()

    monkeypatch.setenv(executors.PROGRESS, str(tmp_path / "progress"))
    monkeypatch.setattr(executors, "_write", first_fold_is_done)
    with pytest.raises(EegFmriError) as lost:
        evaluated(windows, folder, seconds=0.5)
    said = str(lost.value)
    assert (
        said.startswith(f"The Dask scheduler at {address} is gone: ") and "\n" not in said and lost.value.exit_code == 1
    )
    monkeypatch.setattr(executors, "_write", original)
    finished = {path.parent.name: path.stat().st_mtime_ns for path in (folder / "folds").rglob("fold.json")}
    assert 0 < len(finished) < 4
    monkeypatch.setenv(executors.SCHEDULER, cluster.scheduler_address)
    evaluated(windows, folder, seconds=0.5)
    now = {path.parent.name: path.stat().st_mtime_ns for path in (folder / "folds").rglob("fold.json")}
    assert len(now) == 4 and finished.items() <= now.items()
    assert all(noted(folder / "begun").count(name.removeprefix("sub-")) == 1 for name in finished)


def test_windows_prepared_on_a_cluster_are_those_of_one_process(cluster, tmp_path, monkeypatch):
    recordings = windows_made.informative(tmp_path, n_subjects=2, n_epochs=10)
    here = windows_made.cut(recordings)
    monkeypatch.setenv(executors.SCHEDULER, cluster.scheduler_address)
    assert windows_made.cut(recordings).digest == here.digest


# --- chapters --------------------------------------------------------------------------------------------------------

#: A chapter whose folds are slow enough to be seen, with an estimator of its own.
FOLDS = """
import os, time
import numpy as np
from sklearn.base import BaseEstimator
from eegfmri.evaluation.folds import run_folds
from eegfmri.evaluation.splits import Fold
from eegfmri.results import record

class Rows:
    digest = "rows"

    def __init__(self, values):
        self.values = values

    def __getitem__(self, rows):
        return Rows(self.values[rows])

    def __len__(self):
        return len(self.values)

class Level(BaseEstimator):
    def fit(self, rows):
        time.sleep(0.7)
        self.level_ = float(np.sin(rows.values).sum())
        return self

def measure(task, estimator, train, test):
    return estimator.fit(train), {"level": estimator.level_, "process": os.getpid()}

rows = Rows(np.arange(12) / 7)
halves = [Fold(f"part-{k}", np.flatnonzero(np.arange(12) % 3 != k), np.flatnonzero(np.arange(12) % 3 == k)) for k in range(3)]
done = [task.read() for task, _ in run_folds({"level": Level()}, [(rows, fold) for fold in halves], measure, name="thirds", code="none")]
print([fold["level"] for fold in done])
for number, fold in enumerate(done):
    record(f"folds/thirds/level/{number}", fold["level"])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = make_project(
        tmp_path_factory.mktemp("chapters") / "project", chapters=("fixtures/second", "fixtures/folds")
    )
    head = (FIXTURES / "fixtures" / "second.md").read_text(encoding="utf-8").partition("\n# ")[0]
    (folder / "book" / "fixtures" / "folds.md").write_text(
        f"{head}\n# Folds\n\n```{{code-cell}} python\n{FOLDS}\n```\n", encoding="utf-8"
    )
    return folder


def folds_request(project, monkeypatch, cache_folder):
    """Return the request of the chapter with folds; those that it computes lie in a folder of their own."""
    from eegfmri.runner.chapters import find, resolve_parameters
    from eegfmri.runner.execution import prepare

    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    monkeypatch.setenv("EEGFMRI_CACHE", str(cache_folder))
    chapter = find("fixtures/folds")
    return prepare(chapter, resolve_parameters(chapter, None))


@pytest.mark.slow
def test_folds_of_a_chapter_go_to_the_cluster_and_leave_the_same_notebook(project, cluster, tmp_path, monkeypatch):
    from eegfmri.runner.execution import execute_all

    request = folds_request(project, monkeypatch, tmp_path / "here")
    events = []
    [outcome] = execute_all([request], 1, 1, True, lambda event, **about: events.append((event, about.get("state"))))
    assert outcome.status == "executed", outcome.error
    here = request.results["results"], outputs(request)
    told = [state for event, state in events if event == "progress"]
    assert told[-1] is None and {state.name for state in told[:-1]} <= {f"fold {k} of 3 of level" for k in (1, 2, 3)}
    assert len(told) >= 3 and told[-2].left < 3
    assert here[1] and all(set(output) == {"output_type", "name", "text"} for output in here[1][:1])

    request = folds_request(project, monkeypatch, tmp_path / "there")
    with executors.on(cluster.scheduler_address):
        [outcome] = execute_all([request], 1, 1, True)
    assert executors.SCHEDULER not in os.environ
    assert outcome.status == "executed", outcome.error
    assert (request.results["results"], outputs(request)) == here
    kept = [json.loads(path.read_text(encoding="utf-8"))["value"] for path in tmp_path.rglob("there/**/fold.json")]
    workers = {worker["id"]: None for worker in cluster.scheduler_info["workers"].values()}
    assert len(kept) == 3 and len({fold["process"] for fold in kept}) == len(workers) == 2


def outputs(request) -> list:
    import nbformat

    notebook = nbformat.read(request.folder / "notebook.ipynb", as_version=4)
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.slow
def test_a_sweep_on_a_cluster_is_the_sweep_of_one_machine(project, cluster):
    words = ("sweep", "fixtures/second", "-p", "pause=0.0,0.1", "-p", "fail=False,True")
    there = eegfmri(project, *words, "--scheduler", cluster.scheduler_address, "--out", "there")
    assert there.returncode == 1 and "the planted failure" in there.stderr and "Traceback" not in there.stderr
    assert there.stdout.count("executed") == 2 and there.stdout.count("failed") == 2
    here = eegfmri(project, *words, "--out", "here")
    assert here.stdout.count("cached") == 2
    tables = [(project / out / "sweep.csv").read_text(encoding="utf-8") for out in ("there", "here")]
    columns = [[line.split(",")[:2] + line.split(",")[4:] for line in table.splitlines()] for table in tables]
    assert columns[0] == columns[1]


@pytest.mark.slow
def test_a_sweep_whose_scheduler_is_killed_goes_on_from_what_is_finished(project, scheduler):
    process, address = scheduler
    words = ("sweep", "fixtures/second", "-p", "pause=0.2,0.3,0.4,0.5", "--out", "killed")
    command = subprocess.Popen(
        [sys.executable, "-m", "eegfmri", *words, "--scheduler", address],
        cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = command.stdout.readline()
    assert "1/4 executed" in first, (first, command.communicate())
    process.kill()
    said = command.communicate(timeout=60)
    assert command.returncode == 1
    assert (
        said[1].strip().startswith(f"The Dask scheduler at {address} is gone: ")
        and len(said[1].strip().split("\n")) == 1
    )
    again = eegfmri(project, *words)
    assert again.returncode == 0 and again.stdout.count("cached") >= 1
    assert again.stdout.count("cached") + again.stdout.count("executed") == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep", "fixtures/second", "-p", "pause=7,8", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"), "give one of them."),
        (("sweep", "fixtures/second", "-p", "pause=7,8", "--scheduler", "tcp://127.0.0.1:1"), "No Dask scheduler answers at tcp://127.0.0.1:1"),
        (("run", "fixtures/second", "-p", "pause=7", "--scheduler", "nowhere"), "No Dask scheduler answers at nowhere"),
    ],
)  # fmt: skip
def test_a_wrong_cluster_is_refused_before_anything_runs(project, words, said):
    done = eegfmri(project, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.strip().split("\n")) == 1
