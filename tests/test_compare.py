"""Two runs compared: a run is identical with itself, and what differs is named, with intervals in mind."""

import copy
import json

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from book_project import eegfmri, make_project
from eegfmri import cache, recorded
from eegfmri.errors import RequestError
from eegfmri.runner.compare import compare, direction, documents
from page_checks import loads_from_outside


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
        recorded_run(write, f"{year}-01-01", value)
    assert documents("recorded")["a/x"]["results"][-1]["value"] == 3
    # What was tried with other parameters stands back, however new it is.
    recorded_run(write, "2028-01-01", 4, assigned={"seed": 1})
    recorded_run(write, "2028-01-02", 5, profile="quick")
    assert documents("recorded")["a/x"]["results"][-1]["value"] == 3
    assert compare("recorded", "recorded")["identical"]


def recorded_run(write, day, value, **facts):
    """Write a recorded run of one chapter."""

    def change(document):
        document["environment"]["executed"] = f"{day}T00:00:00+00:00"
        document["results"].append(result("a/b/f", value))
        document["recorded"] = {
            "profile": "standard", "preset": "realistic", "key": day, "date": day, "assigned": {}, "seeds": {}, "folds": {},
            "simulation": {"preset": "realistic", "scale": "medium", "seed": 0}, "modules": [], "machine": {"cores": 2},
            "digests": {"chapter": "c", "library": "l", "packages": None, "data": "abc"}, "peak_memory": None,
        } | facts  # fmt: skip
        document["recorded"]["digest"] = recorded.seal(document)

    return write(f"data/recorded/a/x/standard-realistic-{day}.json", change)


def test_metrics_say_what_is_better_and_who_is(write):
    keys = {
        "a/loso/net/balanced_accuracy": ("higher", "second"),
        "a/loso/net/mse/raw": ("lower", "first"),
        "a/loso/net/median_error": ("lower", "first"),
        "a/loso/net/count": (None, None),
        "a/loso/net": (None, None),
    }

    def values(value):
        return lambda document: document.update(results=[result(key, value) for key in keys])

    [entry] = compare(write("one.json", values(0.5)), write("two.json", values(0.6)))["chapters"]
    assert {row["key"]: (row["better"], row["favours"]) for row in entry["results"]} == keys


def test_the_metrics_of_the_book_have_directions():
    assert direction("graph_fusion/loso/fusion/balanced_accuracy") == "higher"
    assert direction("transformer_cnn/by_subject/transformer_cnn/ssim_inside/unit") == "higher"
    assert direction("saliency_fusion/loso/views/reconstruction_error") == "lower"
    # Neither: a p-value, a share of overlap between encoders, a number of windows.
    for key in (
        "a/loso/x/p_holm",
        "a/loso/encoders/cka",
        "a/data/windows/count",
        "a/loso/x/balanced_accuracy_of_noise",
    ):
        assert direction(key) is None, key


def test_code_is_compared_where_both_runs_state_it(write):
    def with_code(library):
        return lambda document: document["environment"].update(code={"chapter": "c", "library": library})

    first, second = write("one.json", with_code("a")), write("two.json", with_code("b"))
    [entry] = compare(first, second)["chapters"]
    assert entry["code"] == [{"name": "library", "first": "a", "second": "b"}]
    assert entry["environment"] == []
    [entry] = compare(first, write("old.json"))["chapters"]
    assert entry["code"] == entry["environment"] == []


@pytest.mark.slow
def test_the_page_of_a_comparison_stands_alone_and_folds_what_is_long(tmp_path):
    project = make_project(tmp_path / "project")
    hostile = "<script>alert(1)</script>"
    for name, shift in (("one", 0.0), ("two", 0.5)):
        found = [result(f"a/loso/m{i}/mse", i + shift, i + shift - 0.1, i + shift + 0.1) for i in range(20)]
        parameters = {"seed": 0, "text": name + hostile}
        cache.write_json(project / name / "results.json", {**DOCUMENT, "results": found, "parameters": parameters})
    done = eegfmri(project, "compare", "one", "two", "--page", "page.html")
    assert done.returncode == 0, done.stderr
    html = (project / "page.html").read_text(encoding="utf-8")
    assert loads_from_outside(html) == []
    page = BeautifulSoup(html, "html.parser")
    assert hostile not in html
    assert hostile in page.select_one("article").get_text()
    [folded] = page.select("article details")
    assert folded.summary.get_text() == "20 results differ, 20 of them beyond the intervals"
    assert len(folded.select("tbody tr")) == 20
    assert len(folded.select("tbody strong")) == 20
    assert "better: A" in folded.get_text()
    assert "eegfmri-differences" in html and "--eegfmri-accent" in html, "it has the book's look"
    same = eegfmri(project, "compare", "one", "one", "--page", "same.html")
    assert same.returncode == 0, same.stderr
    said = BeautifulSoup((project / "same.html").read_text(encoding="utf-8"), "html.parser").select_one("article")
    assert "identical" in said.get_text() and not said.select("table")
    refused = eegfmri(project, "compare", "one", "two", "--page", ".")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--page" in refused.stderr


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
    assert "1 result differs, 1 of them beyond their intervals" in done.stdout
    assert "a/b/c" in done.stdout and "0.4" in done.stdout
    assert not cache.read_json(project / "compared.json")["identical"]
    wrong = eegfmri(project, "compare", "one", "nowhere")
    assert (wrong.returncode, len(wrong.stderr.strip().split("\n"))) == (2, 1)
