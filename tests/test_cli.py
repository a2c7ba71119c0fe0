"""The command line: one sentence and an exit code, at once."""

import json
import subprocess
import sys

import pytest

from book_project import eegfmri, environment, make_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("cli") / "project")


def test_help_names_every_command(project):
    done = eegfmri(project, "--help")
    assert done.returncode == 0
    for command in ("data", "chapters", "run", "sweep", "compare", "build", "classroom", "verify", "bench"):
        assert f" {command} " in done.stdout


def test_the_command_line_imports_nothing_heavy(project):
    code = (
        "import sys, eegfmri.cli, eegfmri.figures, eegfmri.results, eegfmri.runner.chapters, eegfmri.runner.build;"
        "heavy = {'numpy', 'pandas', 'torch', 'mne', 'matplotlib', 'plotly', 'papermill', 'jupyter_book', 'sphinx',"
        "'nbformat', 'jupytext', 'IPython', 'seaborn'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(project), capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_chapters_lists_names_types_defaults_and_help(project):
    done = eegfmri(project, "chapters", "--json", "chapters.json")
    assert done.returncode == 0
    assert "fixtures/first   Records a number and shows two figures. (1 min)" in done.stdout
    assert 'protocol: Literal["loso", "blocked"] = \'loso\'  how test subjects are held out' in done.stdout
    document = json.loads((project / "chapters.json").read_text())
    assert [row["chapter"] for row in document["chapters"]] == ["fixtures/first", "fixtures/second"]
    assert document["chapters"][0]["parameters"][0] == {
        "name": "seed",
        "type": "int",
        "range": None,
        "default": 0,
        "help": "seed of every random choice",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "fixtures/frist"], "did you mean 'fixtures/first'?"),
        (["run", "fixtures/first", "-p", "sede=1"], "did you mean 'seed'?"),
        (["run", "fixtures/first", "-p", "seed=one"], "must be int"),
        (["run", "fixtures/first", "-p", "protocol=lose"], 'must be Literal["loso", "blocked"]'),
        (["run", "fixtures/first", "-p", "seed"], "key=value"),
        (["run", "fixtures/first", "--profile", "ful"], "did you mean"),
        (["run", "fixtures/first", "--data", "nowhere"], "no folder"),
        (["run", "fixtures/second", "-p", "labels_dir=nowhere"], "no folder"),
        (["build", "--profile", "huge"], "profile"),
        (["build", "--jobs", "0"], "--jobs"),
        (["build", "--data", "nowhere"], "no folder"),
        (["build", "--jobs", "many"], "--jobs"),
        (["data", "check", "nowhere"], "no folder"),
        (["data", "list", "--data", "nowhere"], "no folder"),
        (["data", "simulate", "slep"], "did you mean 'sleep'?"),
        (["data", "simulate", "--scale", "huge"], "--scale"),
        (["sweep", "fixtures/first", "-p", "seed=1"], "several values"),
        (["sweep", "fixtures/first", "-p", "sede=1,2"], "did you mean 'seed'?"),
        (["sweep", "fixtures/first", "-p", "seed=1,two"], "must be int"),
        (["sweep", "fixtures/first", "-p", "seed=1,,2"], "empty value"),
        (["sweep", "fixtures/first", "-p", "names=['a'"], "do not close"),
        (["sweep", "fixtures/first", "-p", "seed=1,2", "-p", "seed=3"], "given twice"),
        (["sweep", "fixtures/first", "-p", "seed=1,2", "--workers", "0"], "--workers"),
        (["nonsense"], "nonsense"),
        (["run"], "CHAPTER"),
        (["build", "--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_request_is_refused_in_one_sentence_before_anything_runs(project, words, said):
    done = eegfmri(project, *words)
    assert done.returncode == 2, done.stderr
    assert said.lower() in done.stderr.lower()
    assert len(done.stderr.strip().split("\n")) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (project / "book" / "_build" / "executed").exists()
    assert not (project / "runs").exists()


def test_outside_a_project_the_request_is_wrong_and_says_so(tmp_path):
    missing = environment(tmp_path) | {"EEGFMRI_ROOT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "eegfmri", "chapters"], cwd=tmp_path, env=missing, capture_output=True, text=True
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1


def test_debug_shows_where(project):
    done = eegfmri(project, "run", "fixtures/first", "-p", "sede=1", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_failing_run_names_the_cell_and_leaves_with_1(project):
    done = eegfmri(project, "run", "fixtures/second", "-p", "fail=True", "--out", "failed")
    assert done.returncode == 1
    assert "fixtures/second failed in code cell 3 (`# A cell that can fail.`" in done.stderr
    assert "ValueError: the planted failure" in done.stderr
    assert not (project / "failed").exists()


@pytest.fixture
def labels(tmp_path):
    """Write a label table of one run, with the extra column of one subject, and no signals."""
    folder = tmp_path / "ds003768" / "sourcedata"
    folder.mkdir(parents=True)
    rows = [f"1\ttask-rest_run-1\t{30 * i}\t{'W' if i < 12 else '1'}" for i in range(20)]
    head = "subject\tsession\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"
    (folder / "sub-01-sleep-stage.tsv").write_text("\r\n".join([head, *rows, ""]))
    return folder.parent


def test_data_check_reports_every_recording(project, labels):
    done = eegfmri(project, "data", "check", str(labels), "--json", "check.json")
    assert done.returncode == 0, done.stderr
    assert "sub-01 task-rest_run-1" in done.stdout
    assert "repaired: " in done.stdout
    assert "12 W, 8 N1" in done.stdout
    document = json.loads((project / "check.json").read_text(encoding="utf-8"))
    assert (document["schema"], document["dataset"]) == (1, "sleep")
    [recording] = document["recordings"]
    assert recording["stages"]["W"] == 12
    assert recording["status"] == "missing"
    assert len(recording["repaired"]) >= 1


def test_data_list_says_where_each_dataset_is(project, labels):
    done = eegfmri(project, "data", "list", "--data", str(labels.parent))
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.strip().split("\n")[1:]}
    assert list(rows) == ["sleep", "oddball", "rest"]
    assert str(labels) in rows["sleep"]
    assert "CC0" in rows["sleep"]
    assert "not here" in rows["oddball"]


def test_a_folder_without_a_dataset_is_a_wrong_request(project, tmp_path):
    for words in (["run", "fixtures/first", "--data", str(tmp_path)], ["data", "check", str(tmp_path)]):
        done = eegfmri(project, *words)
        assert done.returncode == 2
        assert len(done.stderr.strip().split("\n")) == 1


class Listening:
    """A console that notes what is printed and shown."""

    def __init__(self, is_terminal):
        self.is_terminal, self.printed, self.shown = is_terminal, [], []

    def print(self, text):
        self.printed.append(str(text))

    def status(self, text):
        return self

    def update(self, text):
        self.shown.append(str(text))

    def start(self):
        pass

    def stop(self):
        pass


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_done_inside_a_cell_is_shown_on_a_terminal_and_elsewhere_once_a_minute(monkeypatch, is_terminal):
    from types import SimpleNamespace

    from eegfmri import cli
    from eegfmri.executors import Progress

    now = [0.0]
    monkeypatch.setattr(cli.time, "monotonic", lambda: now[0])
    console = Listening(is_terminal)
    report = cli._Reporter(console)
    request = SimpleNamespace(chapter=SimpleNamespace(name="fusion/graph_fusion"))
    report("start", request=request)
    report("cell", request=request, done=6, total=20)
    for second in range(0, 150, 10):
        now[0] = float(second)
        state = Progress(f"fold {second // 10} of 15 of ridge", "ridge", second // 10, 15, 300.0)
        report("progress", request=request, state=state)
    report("progress", request=request, state=None)
    if is_terminal:
        assert console.printed == []
        assert console.shown[1:3] == [
            "fusion/graph_fusion: cell 7/20",
            "fusion/graph_fusion: cell 7/20, fold 0 of 15 of ridge, about 5 min left",
        ]
        assert console.shown[-1] == "fusion/graph_fusion: cell 7/20"
    else:
        assert console.printed == [
            "executing fusion/graph_fusion",
            "executing fusion/graph_fusion: fold 7 of 15 of ridge, about 5 min left",
            "executing fusion/graph_fusion: fold 14 of 15 of ridge, about 5 min left",
        ]
