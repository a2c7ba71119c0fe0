"""Sweeps: every combination once, resumable, with the spread of each result."""

import csv
import json

import numpy as np
import pytest

from book_project import eegfmri, make_project
from eegfmri.runner.execution import KEPT
from eegfmri.runner.sweep import swept_values


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("sweep") / "project")


@pytest.fixture(scope="module")
def swept(project):
    done = eegfmri(project, "sweep", "fixtures/first", "-p", "seed=0,1,2", "-p", "rate=2,3", "--out", "swept")
    assert done.returncode == 0, done.stderr
    return done


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_commas_inside_brackets_and_quotes_do_not_separate():
    assert swept_values(["names=['a','b'],['c']", "text='x,y',z", "seed=1, 2,1"]) == {
        "names": ["['a','b']", "['c']"],
        "text": ["'x,y'", "z"],
        "seed": ["1", "2"],
    }


@pytest.mark.slow
def test_every_combination_has_one_row(project, swept):
    table = rows(project / "swept" / "sweep.csv")
    assert [(row["seed"], row["rate"]) for row in table] == [(s, r) for s in "012" for r in ("2.0", "3.0")]
    for row in table:
        mean = np.random.default_rng(int(row["seed"])).normal(size=50).mean()
        assert float(row["first/none/mean/value"]) == pytest.approx(mean)


@pytest.mark.slow
def test_the_spread_is_that_of_the_values(project, swept):
    [spread] = rows(project / "swept" / "spread.csv")
    assert (spread["key"], spread["unit"], spread["n"]) == ("first/none/mean/value", "V", "6")
    means = [np.random.default_rng(seed).normal(size=50).mean() for seed in (0, 1, 2) for _ in range(2)]
    assert float(spread["sd"]) == pytest.approx(np.std(means, ddof=1))
    assert "first/none/mean/value" in swept.stdout
    page = (project / "swept" / "sweep.html").read_text(encoding="utf-8")
    assert "seed = 2, rate = 3.0" in page
    assert page.count("<script") >= 1


@pytest.mark.slow
def test_what_was_executed_is_not_executed_again(project, swept):
    again = eegfmri(project, "sweep", "fixtures/first", "-p", "seed=0,1,2,3", "-p", "rate=2,3", "--out", "more")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("cached") == 6
    assert again.stdout.count("executed") == 2
    documents = [json.loads(path.read_text()) for path in (project / "more").glob("*.json")]
    assert sorted({document["parameters"]["seed"] for document in documents}) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_sweep_larger_than_what_a_build_keeps_is_resumed_after_it(tmp_path):
    project = make_project(tmp_path / "project")
    pauses = ",".join(str(number / 1000) for number in range(1, KEPT + 2))
    words = ("sweep", "fixtures/second", "-p", f"pause={pauses}", "--out", "large")
    first = eegfmri(project, *words)
    assert first.returncode == 0, first.stderr
    assert eegfmri(project, "build").returncode == 0
    again = eegfmri(project, *words)
    assert again.stdout.count("executed") == 0, again.stdout


@pytest.mark.slow
def test_a_combination_that_fails_does_not_stop_the_others(project):
    done = eegfmri(project, "sweep", "fixtures/second", "-p", "fail=True,False", "--out", "half")
    assert done.returncode == 1
    assert "the planted failure" in done.stderr
    assert "Traceback" not in done.stderr
    assert [row["status"] for row in rows(project / "half" / "sweep.csv")] == ["failed", "executed"]
