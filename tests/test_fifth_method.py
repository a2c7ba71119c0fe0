"""A fifth method joins the book by module, estimator and chapter, a line in contents and bibliography, and its ledger entry."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from bs4 import BeautifulSoup

from book_project import REPOSITORY, environment
from eegfmri import cache
from page_checks import problems

METHOD = REPOSITORY / "tests" / "fixture_method"
PAPER = {
    "cite": "fifth2026",
    "title": "A fifth method",
    "dataset": "sleep",
    "chapter": "fusion/band_ridge",
    "subjects": ["01", "04"],
}
CLAIM = {
    "id": "band_ridge/accuracy",
    "kind": "empirical",
    "statement": "Ridge regression on band power reaches a balanced accuracy of 0.61 on subjects held out.",
    "published": {"value": 0.61, "unit": "balanced accuracy"},
    "quote": "a balanced accuracy of 0.61",
    "source": "Results",
    "protocol": "loso",
    "margin": {"value": 0.1, "reason": "a fixture's margin, as wide as needed"},
    "result_key": "band_ridge/loso/band_ridge/balanced_accuracy",
}
BIBLIOGRAPHY = "\n@misc{fifth2026, author = {Fifth, F.}, title = {A fifth method}, year = {2026}}\n"


def copied(folder):
    """Copy library, book and ledger, nothing that was built."""
    nothing_built = shutil.ignore_patterns("__pycache__", "_build")
    shutil.copytree(REPOSITORY / "lib", folder / "lib", ignore=nothing_built)
    shutil.copytree(REPOSITORY / "book", folder / "book", ignore=nothing_built)
    (folder / "data").mkdir()
    for path in (REPOSITORY / "data").glob("*.*"):
        shutil.copy(path, folder / "data")
    shutil.copytree(REPOSITORY / "data" / "manifests", folder / "data" / "manifests")
    return folder


def join(project) -> None:
    """Add the method, and nothing else."""
    library, book = project / "lib" / "eegfmri", project / "book"
    shutil.copy(METHOD / "model.py", library / "models" / "band_ridge.py")
    shutil.copy(METHOD / "estimator.py", library / "estimators" / "band_ridge.py")
    shutil.copy(METHOD / "chapter.md", book / "fusion" / "band_ridge.md")
    contents = (book / "_toc.yml").read_text(encoding="utf-8")
    entry = "      - file: fusion/saliency_fusion\n"
    assert entry in contents
    (book / "_toc.yml").write_text(
        contents.replace(entry, f"{entry}      - file: fusion/band_ridge\n"), encoding="utf-8"
    )
    with (book / "references.bib").open("a", encoding="utf-8") as stream:
        stream.write(BIBLIOGRAPHY)
    ledger = yaml.safe_load((project / "data" / "claims.yml").read_text(encoding="utf-8"))
    ledger["papers"]["band_ridge"] = PAPER
    ledger["claims"].append(CLAIM)
    (project / "data" / "claims.yml").write_text(yaml.safe_dump(ledger, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """Build a copy of the book that the method has joined; its other chapters are titles only, for they take long to execute."""
    project = copied(tmp_path_factory.mktemp("fifth") / "project")
    for path in (project / "book").glob("*/*.md"):
        text = path.read_text(encoding="utf-8")
        # pages that point to exercises of the others have nothing to point to
        if ("jupytext:" in text and path.name != "claims.md") or path.name in ("misconceptions.md", "teaching.md"):
            path.write_text(re.search(r"^# .*$", text, re.M)[0] + "\n", encoding="utf-8")
    join(project)
    done = command(project, "build")
    assert done.returncode == 0, done.stderr
    return project


def command(project, *words) -> subprocess.CompletedProcess:
    return run(project, "-m", "eegfmri", *words)


def run(project, *words) -> subprocess.CompletedProcess:
    """Run Python in the copy, with the copy's library."""
    variables = environment(project) | {
        "PYTHONPATH": os.pathsep.join([str(project / "lib"), str(REPOSITORY / "tests")])
    }
    return subprocess.run(
        [sys.executable, *words], cwd=project, env=variables, capture_output=True, text=True, timeout=900
    )


def page(project, name) -> str:
    path = project / "book" / "_build" / "html" / f"{name}.html"
    html = path.read_text(encoding="utf-8")
    assert problems(html, path) == []
    return html


@pytest.mark.slow
def test_its_page_shows_its_score_and_where_it_comes_from(joined):
    [result] = cache.read_json(joined / "book" / "_build" / "results" / "fusion" / "band_ridge.json")["results"]
    text = BeautifulSoup(page(joined, "fusion/band_ridge"), "html.parser").get_text()
    assert f"we reach {result['value']:.2f}" in text
    assert "Fifth" in text
    assert "eegfmri run fusion/band_ridge" in text


@pytest.mark.slow
def test_the_pages_about_all_papers_name_it(joined):
    assert "band_ridge" in page(joined, "intro")
    claims = BeautifulSoup(page(joined, "verification/claims"), "html.parser")
    section = claims.find(id="claims-of-band_ridge")
    assert CLAIM["statement"] in section.get_text()
    assert "not comparable" in section.get_text()


@pytest.mark.slow
def test_the_commands_know_it(joined):
    assert "fusion/band_ridge" in command(joined, "chapters").stdout
    done = command(joined, "verify", "--paper", "band_ridge", "--json", "claims.json")
    assert done.returncode == 0, done.stderr
    [claim] = json.loads((joined / "claims.json").read_text(encoding="utf-8"))["claims"]
    assert (claim["verdict"], claim["published"]) == ("not comparable", 0.61)
    assert claim["low"] <= claim["ours"] <= claim["high"]
    done = command(joined, "data", "get", "sleep", "--dry-run")
    assert "every published score and figure of band_ridge: 2 subjects" in done.stdout


@pytest.mark.slow
def test_the_tests_of_rooms_and_ledger_pass_with_it(tmp_path):
    project = copied(tmp_path / "project")
    join(project)
    tests = [str(REPOSITORY / "tests" / f"test_{name}.py") for name in ("architecture", "claims")]
    settings = ["-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY)]
    done = run(project, "-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", *settings, *tests)
    assert done.returncode == 0, done.stdout[-3000:]
