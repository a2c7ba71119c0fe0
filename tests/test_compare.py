"""Two runs compared: a run is identical with itself, and what differs is named, with intervals in mind."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book_project import eegfmri, make_project
from eegfmri import cache
from eegfmri.errors import RequestError
from eegfmri.runner.compare import compare, documents


def result(key, value, low=None, high=None, unit="V", n=8):
    return {"key": key, "value": value, "low": low, "high": high, "unit": unit, "n": n}


DOCUMENT = {
    "schema": 1,
    "chapter": "a/x",
    "parameters": {"seed": 0, "classes": ["W", "N1"]},
    "data": {"dataset": "sleep", "simulated": True, "digest": "abc"},
    "environment": {
        "python": "3.11",
        "packages": {"numpy": "2.4", "torch": "2.13"},
        "commit": "1",
        "executed": "2026-01-01",
    },
    "seconds": 1.0,
    "results": [result("a/b/c", 0.5, 0.4, 0.6), result("a/b/d", 3), result("a/b/e", None)],
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Give a function that writes a changed document and returns its path."""
    monkeypatch.setenv("EEGFMRI_ROOT", str(tmp_path))

    def write(name, change=lambda document: None):
        document = copy.deepcopy(DOCUMENT)
        change(document)
        return cache.write_json(tmp_path / name, document)

    return write


def test_a_run_is_identical_with_itself_and_with_a_later_one_that_found_the_same(write):
    first = write("one/results.json")

    def later(document):
        document["seconds"] = 99.0
        document["environment"]["executed"] = "2027-01-01"

    for second in (first, first.parent, write("two/results.json", later)):
        document = compare(first, second)
        assert document["identical"]
        [entry] = document["chapters"]
        assert not any(
            entry[part] for part in ("parameters", "data", "environment", "results", "only_first", "only_second")
        )
    json.dumps(document, allow_nan=False)


def test_what_differs_is_named(write):
    def change(document):
        document["parameters"] |= {"seed": 1, "lag": 5.0}
        document["data"]["digest"] = "def"
        document["environment"]["packages"]["torch"] = "2.14"
        document["results"] = [result("a/b/c", 0.7, 0.65, 0.75), result("a/b/d", 4), result("a/b/f", 1.0)]

    document = compare(write("one.json"), write("two.json", change))
    assert not document["identical"]
    [entry] = document["chapters"]
    assert entry["parameters"] == [
        {"name": "seed", "first": 0, "second": 1},
        {"name": "lag", "first": None, "second": 5.0},
    ]
    assert [row["name"] for row in entry["data"]] == ["digest"]
    assert entry["environment"] == [{"name": "torch", "first": "2.13", "second": "2.14"}]
    beyond, counted = entry["results"]
    assert (beyond["key"], beyond["difference"], beyond["beyond"]) == ("a/b/c", pytest.approx(0.2), True)
    assert (counted["key"], counted["difference"], counted["beyond"]) == ("a/b/d", 1, None)
    assert (entry["only_first"], entry["only_second"]) == (["a/b/e"], ["a/b/f"])


def test_another_environment_alone_leaves_results_identical(write):
    def change(document):
        document["environment"]["packages"]["numpy"] = "2.5"

    document = compare(write("one.json"), write("two.json", change))
    assert document["identical"]
    assert [row["name"] for row in document["chapters"][0]["environment"]] == ["numpy"]


intervals = st.tuples(*[st.floats(-1e3, 1e3)] * 3).map(sorted)


@given(intervals, intervals)
def test_a_difference_is_beyond_the_intervals_when_neither_value_lies_in_the_other_s(one, other):
    from eegfmri.runner.compare import _beyond

    first, second = (result("a/b/c", value, low, high) for low, value, high in (one, other))
    assert _beyond(first, second) is _beyond(second, first)
    if _beyond(first, second):
        assert first["value"] != second["value"]
    if one[2] < other[0]:
        assert _beyond(first, second)


def test_a_run_is_set_beside_its_own_chapter_of_the_book(write):
    write("book/_build/results/a/x.json")
    write("book/_build/results/a/y.json", lambda document: document.update(chapter="a/y"))
    run = write("runs/x/results.json")
    assert [entry["chapter"] for entry in compare(run, "book")["chapters"]] == ["a/x"]
    assert compare(run, "book")["identical"]
    assert [entry["chapter"] for entry in compare("book", "book")["chapters"]] == ["a/x", "a/y"]


def test_a_chapter_that_one_of_two_books_lacks_is_a_difference(write, tmp_path):
    for book, chapters in (("one", "xyz"), ("two", "xy")):
        for name in chapters:
            write(f"{book}/{name}.json", lambda document, name=name: document.update(chapter=f"a/{name}"))
    document = compare(tmp_path / "one", tmp_path / "two")
    assert not document["identical"]
    assert (document["only_first"], document["only_second"]) == (["a/z"], [])


def test_of_several_recorded_runs_the_newest_counts(write):
    for year, value in ((2025, 1), (2027, 3), (2026, 2)):
        write(
            f"data/recorded/x-{year}.json",
            lambda document, year=year, value=value: (
                document["environment"].update(executed=f"{year}-01-01"),
                document["results"].append(result("a/b/f", value)),
            ),
        )
    assert documents("recorded")["a/x"]["results"][-1]["value"] == 3


def test_what_is_no_run_is_refused(write, tmp_path):
    run = write("one.json")
    (tmp_path / "text.json").write_text("not json")
    (tmp_path / "empty").mkdir()
    other = write("other.json", lambda document: document.update(chapter="a/other"))
    for second, said in (
        (tmp_path / "nowhere", "no run"),
        ("book", "eegfmri build"),
        ("recorded", "--record"),
        (tmp_path / "text.json", "not a results.json"),
        (write("new.json", lambda document: document.update(schema=2)), "not a results.json"),
        (tmp_path / "empty", "holds no results.json"),
        (other, "same chapter"),
    ):
        with pytest.raises(RequestError, match=said):
            compare(run, second)


def test_the_command_says_what_differs_and_leaves_with_0(tmp_path):
    project = make_project(tmp_path / "project")
    for name, value in (("one", 0.5), ("two", 0.9)):
        cache.write_json(
            project / name / "results.json", {**DOCUMENT, "results": [result("a/b/c", value, value - 0.1, value + 0.1)]}
        )
    same = eegfmri(project, "compare", "one", "one/results.json")
    assert (same.returncode, same.stdout.split()[-1]) == (0, "identical")
    done = eegfmri(project, "compare", "one", "two", "--json", "compared.json")
    assert done.returncode == 0, done.stderr
    assert "1 results differ, 1 of them beyond their intervals" in done.stdout
    assert "a/b/c" in done.stdout and "0.4" in done.stdout
    assert not cache.read_json(project / "compared.json")["identical"]
    wrong = eegfmri(project, "compare", "one", "nowhere")
    assert (wrong.returncode, len(wrong.stderr.strip().split("\n"))) == (2, 1)
