"""The executed notebooks show what they showed when somebody last looked: words cell by cell, headline numbers within tolerances."""

import copy

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import notebook_references as references
from eegfmri import cache
from eegfmri.runner.chapters import discover

CHAPTERS = list(discover())
HOW = "if that is meant, run `python tests/notebook_references.py` after `make book` and read what git shows"


@pytest.mark.book
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_notebook_shows_what_its_reference_shows(chapter):
    folders = references.built()
    assert chapter in folders, "the built book lacks this chapter: run `make book` first"
    assert references.path_of(chapter).is_file(), f"{chapter} has no reference: {HOW}"
    reference = nbformat.read(references.path_of(chapter), as_version=4)
    notebook = nbformat.read(folders[chapter] / "notebook.ipynb", as_version=4)
    found = references.difference(reference, references.slim(notebook))
    assert not found, f"{HOW}{found}"


@pytest.mark.book
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_headline_numbers_are_where_they_were(chapter):
    folder = references.built()[chapter]
    expected = cache.read_json(references.NUMBERS)[chapter]
    assert set(references.HEADLINES.get(chapter, ())) <= set(expected), HOW
    assert references.departures(expected, cache.read_json(folder / "results.json")) == [], HOW


@pytest.mark.book
def test_every_reference_belongs_to_a_chapter():
    assert {path.name for path in references.REFERENCES.glob("*.ipynb")} == {
        references.path_of(chapter).name for chapter in CHAPTERS
    }


# --- the comparison can fail -----------------------------------------------------------------------------------------


def glued(key):
    return new_output("display_data", {"a/b": "0.25"}, metadata={"scrapbook": {"name": key}})


@pytest.fixture
def notebook():
    """Give an executed notebook with every kind of output."""
    table = "<table><tr><td>lag</td><td>-5.25</td></tr></table><script>let x = 1;</script>"
    return new_notebook(
        cells=[
            new_markdown_cell("Prose."),
            new_code_cell("seed = 3", metadata={"tags": ["injected-parameters"]}),
            new_code_cell(
                "first()\nsecond()",
                outputs=[
                    new_output("stream", name="stdout", text="8 subjects,\n1.5e-3 V\n"),
                    new_output("execute_result", {"text/plain": "<object at 0x7f9036b169b0>", "text/html": table}),
                    glued("a/b/c"),
                ],
            ),
            new_code_cell("plot()", outputs=[new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})]),
        ]
    )


def test_a_reference_is_slim(notebook):
    first, second = references.slim(notebook).cells
    assert first.source == "first()"
    assert [output.get("text") or output.data["text/plain"] for output in first.outputs] == [
        "# subjects, # V ",
        "text/html, text/plain: lag #",
        "recorded\na/b/c",
    ]
    assert second.outputs[0].data == {"text/plain": "image/png, text/plain: <Figure>"}


def test_numbers_addresses_and_prose_make_no_difference(notebook):
    other = copy.deepcopy(notebook)
    other.cells[0].source = "Other prose."
    other.cells[2].source = "# What it is for.\nfirst()  # and why\nsecond()"
    other.cells[2].outputs[0].text = "12 subjects, −0.00215 V\n"
    other.cells[2].outputs[1].data["text/html"] = "<table><tr><td>lag</td> <td>10.5</td></tr></table>"
    assert references.difference(references.slim(notebook), references.slim(other)) == ""


def change(notebook, what):
    outputs = notebook.cells[2].outputs
    if what == "a word":
        outputs[0].text = outputs[0].text.replace("subjects", "windows")
    elif what == "a recorded key":
        outputs[2] = glued("a/b/d")
    elif what == "a lost output":
        del outputs[1]
    elif what == "a kind":
        notebook.cells[3].outputs[0].data["text/html"] = "<Figure>"
    elif what == "a cell":
        del notebook.cells[3]


@pytest.mark.parametrize("what", ["a word", "a recorded key", "a lost output", "a kind", "a cell"])
def test_what_a_reader_would_miss_is_a_difference(notebook, what):
    other = copy.deepcopy(notebook)
    change(other, what)
    assert references.difference(references.slim(notebook), references.slim(other))


@pytest.mark.parametrize(("value", "found"), [(0.55, 0), (0.65, 0), (0.71, 1), (0.49, 1), (None, 1)])
def test_numbers_are_compared_with_their_tolerance(value, found):
    document = {"results": [{"key": "a/b/c", "value": value}]}
    assert len(references.departures({"a/b/c": {"value": 0.6, "tolerance": 0.1}}, document)) == found


def test_the_ledger_s_numbers_are_among_the_headlines():
    key = "graph_fusion/loso/eeg_gcn/balanced_accuracy"
    results = [
        {"key": key, "value": 0.7, "low": 0.6, "high": 0.8},
        {"key": "other", "value": 1, "low": None, "high": None},
    ]
    [(name, found)] = references.headlines({"chapter": "fusion/graph_fusion", "results": results}).items()
    assert (name, found["value"], found["tolerance"]) == (key, 0.7, pytest.approx(0.1))
