"""Sweeps: every combination once, resumable, with the spread of each result."""

import csv
import json
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup

from book_project import FIXTURES, eegfmri, make_project
from eegfmri.errors import EegFmriError
from eegfmri.runner.chapters import read_chapter
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
def test_the_spread_is_over_seeds_and_never_over_settings(project, swept):
    spread = rows(project / "swept" / "spread.csv")
    assert [(row["rate"], row["key"], row["unit"], row["n"]) for row in spread] == [
        (rate, "first/none/mean/value", "V", "3") for rate in ("2.0", "3.0")
    ]
    means = [np.random.default_rng(seed).normal(size=50).mean() for seed in (0, 1, 2)]
    for row in spread:
        assert float(row["mean"]) == pytest.approx(np.mean(means))
        assert float(row["sd"]) == pytest.approx(np.std(means, ddof=1))
    assert next(iter(spread[0])) == "rate", "what varied comes first"
    assert "first/none/mean/value" in swept.stdout


@pytest.mark.slow
def test_the_page_says_what_varied_and_has_a_column_for_each_value(project, swept):
    page = BeautifulSoup((project / "swept" / "sweep.html").read_text(encoding="utf-8"), "html.parser")
    varied = page.select_one("h1").find_next("p").get_text()
    assert varied.startswith("What varied: seed = 0, 1, 2; rate = 2.0, 3.0. 6 combinations.")
    assert "seed = 2, rate = 3.0" in str(page), "the figure has a place for each combination"
    # Without headline results the page opens on the figure, as all results are equal.
    assert "Headline results" not in page.get_text()
    results, held = page.select("details")
    assert [cell.get_text() for cell in results.select("th")] == ["result", "rate = 2.0", "rate = 3.0"]
    assert [row.td.get_text() for row in held.select("tr")] == ["protocol", "n_subjects", "names"]


@pytest.mark.slow
def test_the_page_opens_on_the_headline_results_of_the_chapter(tmp_path):
    project = make_project(tmp_path / "project")
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    cell = 'record("first/none/mean/missing", np.nan)\n'
    more = (
        'record("first/none/net/mse", values.var())\nif protocol == "blocked":\n    record("first/none/net/gap", 1.0)\n'
    )
    text = text.replace(cell, cell + more)
    headline = "  headline: [first/none/net/mse, first/none/net/gap, first/none/mean/missing]\n"
    path.write_text(text.replace("  minutes: 1\n", f"  minutes: 1\n{headline}", 1), encoding="utf-8")
    words = ("sweep", "fixtures/first", "-p", "protocol=loso,blocked", "-p", "seed=0,1", "--out", "swept")
    done = eegfmri(project, *words)
    assert done.returncode == 0, done.stderr
    assert "first/none/net/mse" in done.stdout and "first/none/mean/value" not in done.stdout
    page = BeautifulSoup((project / "swept" / "sweep.html").read_text(encoding="utf-8"), "html.parser")
    table = page.select_one("h2").find_next("table")
    assert page.select_one("h2").get_text() == "Headline results"
    assert [cell.get_text() for cell in table.select("th")] == ["result", "protocol = loso", "protocol = blocked"]
    mse, gap = ([cell.get_text() for cell in row.select("td")] for row in table.select("tr")[1:])
    variances = [np.random.default_rng(seed).normal(size=50).var() for seed in (0, 1)]
    written = f"{np.mean(variances):.4g} ± {np.std(variances, ddof=1):.2g}"
    assert mse == ["first/none/net/mselower is better", written, written]
    assert gap == ["first/none/net/gap", "", "1 ± 0"], "a result that a setting has not is missing, not averaged"
    # Plotly's own script comes first; it escapes slashes.
    script = page.find_all("script", string=re.compile("updatemenus"))[-1].string.replace("\\u002f", "/")
    labels = re.findall(r'"label":"([^"]+)"', script)
    assert labels == ["first/none/net/mse", "first/none/net/gap", "first/none/mean/value"]
    seeds = eegfmri(project, "sweep", "fixtures/first", "-p", "seed=0,1", "--out", "seeds")
    assert seeds.returncode == 0, seeds.stderr
    page = BeautifulSoup((project / "seeds" / "sweep.html").read_text(encoding="utf-8"), "html.parser")
    heads = [cell.get_text() for cell in page.select_one("table").select("th")]
    assert heads == ["result", "seed = 0", "seed = 1", "mean ± SD over seed"]
    assert page.select_one("table").select("tr")[1].select("td")[-1].get_text() == written


def test_a_headline_is_a_list_of_keys(tmp_path):
    text = (FIXTURES / "fixtures" / "first.md").read_text(encoding="utf-8")
    for headline in ("first/none/mean/value", "[not a key]", "[a]"):
        edited = text.replace("  minutes: 1\n", f"  minutes: 1\n  headline: {headline}\n", 1)
        with pytest.raises(EegFmriError, match="headline"):
            read_chapter("fixtures/first", tmp_path / "first.md", edited)


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
