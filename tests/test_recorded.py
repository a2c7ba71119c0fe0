"""Recorded runs: written once, whole, without the machine's name; shown on pages whose keys know of them."""

import getpass
import json
import re
import socket
from pathlib import Path

import pytest

from book_project import REPOSITORY, eegfmri, make_project
from eegfmri import cache, costs, project, recorded, results
from eegfmri.errors import DataError, EegFmriError, RequestError
from eegfmri.runner import chapters, execution, record

#: A page that shows the recorded run of another chapter, and leaves values of folds.
SHOWING = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
eegfmri:
  summary: Shows a recorded run.
  recorded: [fixtures/first]
---

# A page that shows a recorded run

```{code-cell} python
:tags: [parameters]
seed: int = 0   # seed
data = None
```

```{code-cell} python
from eegfmri import recorded
from eegfmri.results import record

run = recorded.latest("fixtures/first", "quick", "none")
record("shows/none/mean/value", 0.5, 0.4, 0.6)
recorded.record_folds("shows/none/mean/value", {"01": 0.4, "02": 0.6, "03": None})
recorded.beside({"first/none/mean/value": (0.5, 0.4, 0.6)}, run, {"first/none/mean/value": "the mean"})
```

```{code-cell} python
print(recorded.label(run))
```
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Give a project with a page that shows recorded runs of another chapter."""
    folder = make_project(tmp_path_factory.mktemp("recorded") / "project")
    (folder / "book" / "fixtures" / "shows.md").write_text(SHOWING, encoding="utf-8")
    toc = folder / "book" / "_toc.yml"
    toc.write_text(
        toc.read_text().replace("  - file: appendix/runs", "  - file: fixtures/shows\n  - file: appendix/runs")
    )
    return folder


@pytest.fixture(scope="module")
def recorded_once(book):
    """Record a run of the first chapter; return its file."""
    done = eegfmri(book, "run", "fixtures/first", "--record", "--out", "one")
    assert done.returncode == 0, done.stderr
    [path] = (book / "data" / "recorded").rglob("*.json")
    assert f"recorded: {path.relative_to(book)}" in done.stdout
    return path


@pytest.fixture
def inside(book, monkeypatch):
    """Work inside the project, as a session does that no runner has started."""
    monkeypatch.setenv("EEGFMRI_ROOT", str(book))
    monkeypatch.delenv(recorded.SHOWN, raising=False)
    return book


@pytest.mark.slow
def test_a_recorded_run_says_everything_and_nothing_of_the_machine_s_name(inside, recorded_once):
    key = (inside / "one").resolve()
    run = recorded.read(recorded_once)
    assert (
        recorded_once.relative_to(inside / "data" / "recorded").as_posix()
        == f"fixtures/first/quick-none-{run.key}.json"
    )
    document = json.loads((key / "results.json").read_text(encoding="utf-8"))
    assert {name: value for name, value in run.document.items() if name != "recorded"} == document
    assert run.facts.keys() == recorded.FACTS
    assert run.facts["seeds"] == {"seed": 0}
    assert run.facts["assigned"] == {} and run.facts["simulation"] is None
    chapter = chapters.find("fixtures/first")
    assert run.facts["digests"] == {
        **execution.code_digests(chapter),
        "data": "",
        "packages": cache.digest("nothing==1\n"),
    }
    assert run.machine.keys() == {"cores", "memory", "cpu", "cluster"}
    # A kernel with numpy and matplotlib takes more than 50 MB, and less than a machine has.
    assert 5e7 < run.facts["peak_memory"] < run.machine["memory"]
    assert run.results["first/none/mean/value"].n == 50
    text = recorded_once.read_text(encoding="utf-8")
    for private in (str(inside), socket.gethostname(), str(Path.home()), f'"{getpass.getuser()}"'):
        assert private not in text
    assert results.read(recorded_once)["chapter"] == "fixtures/first", "what reads results reads recorded ones"


@pytest.mark.slow
def test_a_recorded_run_is_never_overwritten(inside, recorded_once):
    before = recorded_once.read_bytes()
    done = eegfmri(inside, "run", "fixtures/first", "--record", "--force", "--out", "two")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "never overwritten" in done.stderr
    assert not (inside / "two").exists()
    dry = eegfmri(inside, "run", "fixtures/first", "--record", "--dry-run")
    assert (dry.returncode, dry.stdout) == (2, "")
    request = execution.prepare(
        chapters.find("fixtures/first"), chapters.resolve_parameters(chapters.find("fixtures/first"))
    )
    with pytest.raises(EegFmriError, match="stays as it is"):
        record.write(request, recorded_once, None)
    assert recorded_once.read_bytes() == before


@pytest.mark.slow
def test_a_failed_run_is_not_recorded(book):
    done = eegfmri(book, "run", "fixtures/second", "-p", "fail=True", "--record", "--out", "failed")
    assert done.returncode == 1
    assert "the planted failure" in done.stderr and "Nothing is recorded" in done.stderr
    assert not (book / "data" / "recorded" / "fixtures" / "second").exists()


def test_what_nobody_else_could_repeat_is_not_recorded(inside, tmp_path):
    labels = eegfmri(inside, "run", "fixtures/second", "-p", f"labels_dir={tmp_path}", "--record")
    assert (labels.returncode, labels.stderr.count("\n")) == (2, 1)
    assert "labels_dir" in labels.stderr
    assert not (inside / "runs").exists()


@pytest.mark.slow
def test_a_page_that_shows_a_recorded_run_is_made_again_when_there_is_another(inside, recorded_once):
    chapter = chapters.find("fixtures/shows")

    def request():
        return execution.prepare(chapter, chapters.resolve_parameters(chapter))

    before = request()
    assert before.shown.keys() == {"fixtures/first"}
    # A chapter that shows none does not care, and neither does what this page itself computes.
    first = execution.prepare(
        chapters.find("fixtures/first"), chapters.resolve_parameters(chapters.find("fixtures/first"))
    )
    assert first.key == first.own_key == recorded.read(recorded_once).key
    done = eegfmri(inside, "run", "fixtures/shows", "--record", "--out", "shown")
    assert done.returncode == 0, done.stderr
    page = (inside / "shown" / "fixtures-shows.html").read_text(encoding="utf-8")
    run = recorded.read(recorded_once)
    value = run.results["first/none/mean/value"]
    assert f"{value.value:.3g}".replace("-", "−") in page
    assert "Recorded on" in page and "profile quick, no recordings" in page
    assert request().key == before.key, "a run of this page is none that it shows"
    [own] = recorded.runs("fixtures/shows")
    assert own.key == before.own_key != before.key
    assert own.folds == {"shows/none/mean/value": {"01": 0.4, "02": 0.6, "03": None}}
    again = eegfmri(inside, "run", "fixtures/first", "-p", "seed=5", "--record", "--out", "five")
    assert again.returncode == 0, again.stderr
    assert request().key != before.key
    assert request().own_key == before.own_key
    # What was tried with another seed is listed, and does not stand for the profile.
    assert len(recorded.runs("fixtures/first")) == 2
    assert recorded.latest("fixtures/first", "quick", "none").key == run.key
    assert recorded.latest("fixtures/first") is None
    listed = eegfmri(inside, "chapters").stdout
    assert listed.count("recorded 20") == 3 and "seed=5" in listed


@pytest.mark.slow
def test_a_change_of_code_is_said(inside, recorded_once, monkeypatch):
    run = recorded.read(recorded_once)
    assert run.changed == ()
    assert "changed" not in recorded.label(run)
    assert run.changes({"fixtures/first": "another"}) == ("chapter",)
    (inside / "requirements.lock").write_text("nothing==2\n")
    monkeypatch.setattr(cache, "code_digest", lambda *modules: "another")
    assert run.changed == ("library", "packages")
    assert recorded.label(run).endswith("changed since: library, packages.")
    (inside / "requirements.lock").write_text("nothing==1\n")


@pytest.mark.slow
def test_a_recorded_run_that_was_changed_by_hand_is_refused(inside, recorded_once, tmp_path):
    document = json.loads(recorded_once.read_text(encoding="utf-8"))
    document["results"][0]["value"] = 0.99
    changed = cache.write_json(tmp_path / "changed.json", document)
    with pytest.raises(DataError, match="changed after it was recorded"):
        recorded.read(changed)
    with pytest.raises(DataError, match="no recorded run"):
        recorded.read(inside / "one" / "results.json")


def test_a_page_may_show_only_what_its_front_matter_names(inside, monkeypatch):
    monkeypatch.setenv(recorded.SHOWN, json.dumps({"a/x": "digest"}))
    assert recorded.latest("a/x") is None
    for asked in ("a/y", None):
        with pytest.raises(RequestError, match="front matter"):
            recorded.runs(asked)


def test_without_a_recorded_run_the_table_says_so():
    styled = recorded.beside({"a/b/c/d": 0.12345, "a/b/c/e": None, "a/b/c/f": (-1.0, -2.0, 0.5)}, None)
    assert styled.data["this page"].tolist() == ["0.123", "–", "−1 [−2, 0.5]"]
    assert list(styled.data.columns) == ["this page", "recorded"]
    assert "No run is recorded." in styled.to_html()
    again = recorded.beside({"a/b/c/d": 0.12345, "a/b/c/e": None, "a/b/c/f": (-1.0, -2.0, 0.5)}, None)
    assert again.to_html() == styled.to_html()


def test_every_run_recorded_with_the_book_is_as_it_was_written(monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(REPOSITORY))
    monkeypatch.delenv(recorded.SHOWN, raising=False)
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ignored.index("!data/recorded/") > ignored.index("data/*"), "recorded runs are kept in git"
    for path in sorted((project.data_dir() / "recorded").rglob("*")):
        if path.parent == costs.folder() and path.is_file():
            assert costs.read(path).document["rows"], path
            assert not re.search(r"/(home|root|Users|tmp|work)/", path.read_text(encoding="utf-8")), path
        elif path.is_file():
            run = recorded.read(path)
            assert path == recorded.folder(run.chapter) / f"{run.profile}-{run.preset}-{run.key}.json", path
            assert not re.search(r"/(home|root|Users|tmp|work)/", path.read_text(encoding="utf-8")), path
