"""Rendering: a run's page stands alone; links follow what takes a source's place."""

import json
import shutil

import pytest
from bs4 import BeautifulSoup

from book_project import eegfmri, make_project
from eegfmri.runner import render
from eegfmri.runner.parameters import read_parameters
from page_checks import loads_from_outside, problems


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run a chapter with other parameters once."""
    project = make_project(tmp_path_factory.mktemp("ran") / "project")
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n{cite:t}`nobody` and {doc}`second` and [intro](../intro.md).\n", encoding="utf-8")
    done = eegfmri(project, "run", "fixtures/first", "-p", "seed=4", "-p", "protocol=blocked")
    assert done.returncode == 0, done.stderr
    [folder] = (project / "runs").iterdir()
    return project, folder


@pytest.mark.slow
def test_a_run_leaves_notebook_page_and_results(ran):
    _, folder = ran
    assert folder.name.startswith("fixtures-first-")
    assert sorted(path.name for path in folder.iterdir()) == [
        "fixtures-first.html",
        "fixtures-first.ipynb",
        "results.json",
    ]
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert list(document) == ["schema", "chapter", "parameters", "data", "environment", "seconds", "results"]
    assert (document["schema"], document["chapter"]) == (1, "fixtures/first")
    assert document["parameters"]["seed"] == 4
    assert document["parameters"]["protocol"] == "blocked"
    assert document["parameters"]["n_subjects"] is None
    assert [set(result) for result in document["results"]] == [{"key", "value", "low", "high", "unit", "n"}] * 2
    notebook = (folder / "fixtures-first.ipynb").read_text(encoding="utf-8")
    assert "papermill.record" in notebook
    assert "input_path" not in notebook
    assert "{glue" not in notebook, "the text holds the run's own numbers"
    assert "jupyter lab" in notebook


@pytest.mark.slow
def test_the_page_of_a_run_stands_alone(ran, tmp_path):
    _, folder = ran
    # Moved away, so that nothing can lie beside it.
    page = tmp_path / "page.html"
    shutil.copy(folder / "fixtures-first.html", page)
    html = page.read_text(encoding="utf-8")
    assert problems(html, page) == []
    assert loads_from_outside(html) == []
    soup = BeautifulSoup(html, "html.parser")
    for name in ("script", "link", "img", "iframe", "source"):
        for tag in soup.find_all(name):
            for attribute in ("src", "href"):
                assert tag.get(attribute, "data:").startswith("data:"), tag
    text = soup.get_text()
    value = json.loads((folder / "results.json").read_text(encoding="utf-8"))["results"][0]["value"]
    assert f"{value:.3f}" in text
    assert "Nobody" in text
    assert "Exercise 1" in text
    assert "seed=4" in text.replace(" ", "")
    assert soup.select(".eegfmri-live")


@pytest.mark.slow
def test_a_second_run_uses_what_was_executed(ran):
    project, folder = ran
    executed = project / "book" / "_build" / "executed" / "fixtures" / "first" / folder.name.rpartition("-")[2]
    stamp = (executed / "results.json").stat().st_mtime_ns
    done = eegfmri(project, "run", "fixtures/first", "-p", "seed=4", "-p", "protocol=blocked", "--out", "again")
    assert done.returncode == 0
    assert "cached" in done.stdout
    assert (executed / "results.json").stat().st_mtime_ns == stamp
    assert (project / "again" / "results.json").read_bytes() == (folder / "results.json").read_bytes()


@pytest.mark.slow
def test_a_run_s_page_shows_the_values_that_were_used(ran):
    _, folder = ran
    notebook = json.loads((folder / "fixtures-first.ipynb").read_text(encoding="utf-8"))
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert 'protocol: Literal["loso", "blocked"] = \'blocked\'    # how test subjects are held out' in code[0]
    assert "seed: int = 4  " in code[0]
    assert "n_subjects: int | None = None  " in code[0]
    assert code[1].startswith("import numpy"), "no second cell sets the parameters again"
    page = BeautifulSoup((folder / "fixtures-first.html").read_text(encoding="utf-8"), "html.parser")
    cells = [cell.get_text() for cell in page.select("div.cell_input")]
    assert "= 'blocked'" in cells[0] and "'loso'" not in cells[0]
    assert not page.select("div.eegfmri-differences"), "there is no book to differ from"


@pytest.mark.slow
def test_a_run_s_page_says_at_its_head_what_differs_from_the_book(tmp_path):
    project = make_project(tmp_path / "project")
    assert eegfmri(project, "build").returncode == 0
    book = project / "book" / "_build" / "html" / "fixtures" / "first.html"
    assert not BeautifulSoup(book.read_text(encoding="utf-8"), "html.parser").select("div.eegfmri-differences")
    assert eegfmri(project, "run", "fixtures/first", "--out", "same").returncode == 0
    same = BeautifulSoup((project / "same" / "fixtures-first.html").read_text(encoding="utf-8"), "html.parser")
    assert not same.select("div.eegfmri-differences")
    words = ("run", "fixtures/first", "-p", "seed=4", "-p", "protocol=blocked", "--out", "other")
    assert eegfmri(project, *words).returncode == 0
    html = (project / "other" / "fixtures-first.html").read_text(encoding="utf-8")
    assert problems(html, project / "other" / "fixtures-first.html") == []
    page = BeautifulSoup(html, "html.parser")
    [head] = page.select("div.eegfmri-differences")
    assert head.find_previous("h1") is not None and head.find_next("div", class_="cell_input") is not None
    settings, results = head.select("table")
    rows = [[cell.get_text(strip=True) for cell in row.select("td")] for row in settings.select("tbody tr")]
    assert rows == [["parameter", "seed", "0", "4"], ["parameter", "protocol", "loso", "blocked"]]
    [row] = results.select("tbody tr")
    documents = [json.loads((project / name / "results.json").read_text())["results"][0] for name in ("same", "other")]
    for document, cell in zip(documents, row.select("td")[1:3], strict=True):
        assert cell.get_text().startswith(f"{document['value']:.4g} [")


def test_a_value_takes_the_place_of_another_in_the_parameters_cell_and_nothing_else_does(tmp_path, monkeypatch):
    from eegfmri.runner import chapters, execution

    project = make_project(tmp_path / "project")
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('= ["a", "b"] ', '= [\n    "ä",\n    "b",\n]  '), encoding="utf-8")
    chapter = chapters.find("fixtures/first")
    source = next(cell.source for cell in chapter.cells if "parameters" in cell.tags)
    hostile = '\'"); import os; ("'
    values = chapters.resolve_parameters(chapter, None, ["seed=-7", f"names=[{hostile!r}]", "n_subjects=3"])
    written = execution.with_values(source, execution.prepare(chapter, values))
    found = read_parameters(written, path, 1)
    assert {name: parameter.default for name, parameter in found.items()} == values
    assert [parameter.help for parameter in found.values()] == [p.help for p in chapter.parameters.values()]
    unchanged = execution.prepare(chapter, chapters.resolve_parameters(chapter))
    assert execution.with_values(source, unchanged) == source


def test_links_to_a_chapter_s_source_follow_its_notebook(tmp_path):
    (tmp_path / "a").mkdir()
    page = tmp_path / "intro.md"
    page.write_text(
        "[x](a/one.md#part) [y](a/two.md) {doc}`words <a/one.md>` {glue:text}`a/one.md::k/l:.2f` [z](https://x/a/one.md)"
    )
    chapter = tmp_path / "a" / "one.ipynb"
    cells = [{"cell_type": "markdown", "source": ["[x](../a/one.md)", "[y](/a/one.md) `one.md`"]}]
    chapter.write_text(json.dumps({"cells": cells}))
    render._redirect_links(tmp_path, ["a/one"])
    assert page.read_text() == (
        "[x](a/one.ipynb#part) [y](a/two.md) {doc}`words <a/one.ipynb>` {glue:text}`a/one.ipynb::k/l:.2f` [z](https://x/a/one.md)"
    )
    assert json.loads(chapter.read_text())["cells"][0]["source"] == "[x](../a/one.ipynb)[y](/a/one.ipynb) `one.md`"


def test_styles_and_scripts_are_put_inside_and_the_outside_is_dropped(tmp_path):
    (tmp_path / "font.woff2").write_bytes(b"font")
    (tmp_path / "base.css").write_text("b{color:red}")
    (tmp_path / "style.css").write_text(
        "@import 'base.css';@import url(https://example.org/x.css);a{background:url(font.woff2)}"
        "c{background:url('https://example.org/x.png')}d{background:url(gone.png)}"
    )
    (tmp_path / "script.js").write_text("let a = '</script><!--';")
    page = tmp_path / "page.html"
    page.write_text(
        "<html><head><title>x</title><link rel=stylesheet href=style.css><link rel=stylesheet href=https://example.org/y.css>"
        "<script src=script.js></script><script src=https://example.org/z.js></script></head>"
        "<body><a href=other.html>other</a><a href=#here>here</a></body></html>"
    )
    html = render.inlined(page, "A title")
    assert loads_from_outside(html) == []
    assert "example.org" not in html
    assert "b{color:red}" in html
    assert "data:font/woff2;base64," in html
    assert html.count("</script>") == 1
    assert "other.html" not in html
    assert "#here" in html


def test_an_interrupted_replacement_of_the_book_is_settled(tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(tmp_path))
    build = tmp_path / "book" / "_build"
    # Killed after the first of two renames: only the previous book is there.
    (build / ".html-previous").mkdir(parents=True)
    (build / ".html-previous" / "index.html").write_text("old")
    render._settle()
    assert (build / "html" / "index.html").read_text() == "old"
    # Killed after the second: both are there, and the new one counts.
    (build / ".html-previous").mkdir()
    render._settle()
    assert not (build / ".html-previous").exists()
    new = tmp_path / "new"
    new.mkdir()
    (new / "index.html").write_text("new")
    render._replace(new, build / "html")
    assert (build / "html" / "index.html").read_text() == "new"
