"""Sweeps: combinations, spread over seeds, and going on after an interruption."""

import csv
import json

import pytest

from book_project import eegfmri, make_project
from eegfmri import sweeps
from eegfmri.errors import RequestError


def test_values_are_split_at_commas_outside_brackets_and_quotes():
    swept, combined = sweeps.combinations(["seed=0,1,2", 'classes=["W", "N1"],["W"]', "name='a,b'", "lag=5.0"])
    assert swept == ["seed", "classes"]
    assert len(combined) == 6
    assert combined[0] == ("seed=0", 'classes=["W", "N1"]', "name='a,b'", "lag=5.0")
    assert combined[1] == ("seed=0", 'classes=["W"]', "name='a,b'", "lag=5.0")
    assert combined[-1][0] == "seed=2"
    assert sweeps.combinations([]) == ([], [()])
    assert sweeps.combinations(["seed=1,1,2"]) == (["seed"], [("seed=1",), ("seed=2",)])


@pytest.mark.parametrize(
    "bad", [["seed"], ["seed=1,,2"], ["seed="], ["seed=1", "seed=2"], ["a=" + ",".join(map(str, range(1001)))]]
)
def test_what_cannot_be_swept_is_refused(bad):
    with pytest.raises(RequestError):
        sweeps.combinations(bad)


def row(value, seed, **other):
    result = {
        "key": "a/b/c",
        "value": value,
        "low": None if value is None else value - 2,
        "high": None if value is None else value + 2,
    }
    return {"parameters": {"seed": seed, **other}, "results": [result, {**result, "key": "a/b/d", "value": None}]}


def test_the_spread_is_over_seeds_within_each_setting():
    rows = [row(1.0, 0, lag=0), row(3.0, 1, lag=0), row(10.0, 0, lag=5), row(10.0, 1, lag=5)]
    first, second = sweeps.spread(rows)
    assert first == {
        "setting": {"lag": 0}, "key": "a/b/c", "n": 2, "mean": 2.0, "sd": pytest.approx(2**0.5), "lowest": 1.0, "highest": 3.0,
        "half_width": 2.0,
    }  # fmt: skip
    assert (second["setting"], second["sd"]) == ({"lag": 5}, 0.0)
    [whole] = sweeps.spread([{**one, "parameters": {"lag": one["parameters"]["lag"]}} for one in rows])
    assert (whole["n"], whole["setting"]) == (4, {})
    [lone] = sweeps.spread(rows[:1])
    assert lone["sd"] is None


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("sweep") / "project")


@pytest.mark.slow
def test_a_sweep_over_seeds_gives_tables_a_plot_and_goes_on_where_it_was(project):
    words = ("sweep", "fixtures/first", "-p", "seed=0,1,2", "--out", "swept", "--workers", "2")
    done = eegfmri(project, *words)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 combinations" in done.stdout
    folder = project / "swept"
    document = json.loads((folder / "sweep.json").read_text())
    values = [one["results"][0]["value"] for one in document["rows"]]
    assert len(set(values)) == 3
    [found] = [one for one in document["spread"] if one["key"] == "first/none/mean/value"]
    assert found["n"] == 3
    assert found["mean"] == pytest.approx(sum(values) / 3)
    assert found["lowest"] < found["mean"] < found["highest"]
    assert not any(one["key"].endswith("missing") for one in document["spread"])
    with (folder / "sweep.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [one["seed"] for one in table] == ["0", "1", "2"]
    assert [float(one["first/none/mean/value"]) for one in table] == pytest.approx(values)
    assert (folder / "sweep.png").stat().st_size > 5000
    assert "first/none/mean/value" in (folder / "spread.csv").read_text()
    # one of the three is lost: only that one is executed again
    for kept in sorted((folder / "rows").glob("*.json"))[:1]:
        kept.unlink()
    again = eegfmri(project, *words)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("cached") == 1  # it had been executed in this project before
    assert json.loads((folder / "sweep.json").read_text())["spread"] == document["spread"]


@pytest.mark.slow
def test_a_combination_that_fails_is_named_and_the_others_stand(project):
    done = eegfmri(project, "sweep", "fixtures/second", "-p", "fail=False,True", "--out", "half")
    assert done.returncode == 1
    assert "1 of 2 combinations" in done.stdout
    assert "Traceback" not in done.stderr
    rows = json.loads((project / "half" / "sweep.json").read_text())["rows"]
    assert [one["status"] for one in rows] == ["done", "failed"]
    assert rows[1]["error"]
