"""Every number of the book is published, computed by the run that made the page, or recorded; and a planted one is found."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

import number_tracing as tracing
from eegfmri import cache, project, recorded
from eegfmri.ledger import claims
from eegfmri.runner.chapters import discover

BUILD = project.root() / "book" / "_build"
CHAPTERS = discover()


def published() -> list[float]:
    """Return every number of the ledger."""
    return list(tracing.values(yaml.safe_load((project.data_dir() / "claims.yml").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_result_is_typed_into_the_prose(name):
    chapter = CHAPTERS[name]
    assert tracing.untraced(tracing.typed(chapter.source), tracing.SETTINGS.get(name, ()), published()) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_result_is_typed_into_sentences_that_cells_make(name):
    found = [number for cell in CHAPTERS[name].cells for number in tracing.typed_statements(cell.source)]
    assert tracing.untraced(found, tracing.SETTINGS.get(name, ()), published()) == []


@pytest.mark.book
@pytest.mark.parametrize("name", CHAPTERS)
def test_numbers_in_tables_come_from_the_run_that_made_the_page(name):
    page = (BUILD / "html" / f"{name}.html").read_text(encoding="utf-8")
    key = cache.kept_json(BUILD / "rendered.json")["chapters"][name]
    folder = BUILD / "executed" / name / key
    notebook = json.loads((folder / "notebook.ipynb").read_text(encoding="utf-8"))
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    known = [*published(), *tracing.values(results["results"]), *tracing.values(results["parameters"])]
    known += [
        value for parameter in CHAPTERS[name].parameters.values() for value in tracing.values(parameter.described())
    ]
    for chapter in CHAPTERS[name].shows_recorded:
        known += [value for run in recorded.runs(chapter) for value in tracing.values(run.document["results"])]
    assert tracing.untraced(tracing.in_tables(page), tracing.outputs(notebook), known) == []


@pytest.mark.book
@pytest.mark.parametrize("name", CHAPTERS)
def test_what_the_prose_glues_is_among_the_results_of_this_build(name):
    results = json.loads((BUILD / "results" / f"{name}.json").read_text(encoding="utf-8"))
    keys = {result["key"] for result in results["results"]}
    glued = re.findall(r"\{glue:text\}`([^`:]+?)(?:\.low|\.high)?(?::[^`]*)?`", CHAPTERS[name].source)
    assert {key for key in glued if key not in keys} == set()


@pytest.mark.book
def test_every_control_of_a_claim_is_among_the_results_of_its_chapter():
    controlled = [claim for claim in claims.load() if claim.control]
    assert controlled
    for claim in controlled:
        results = json.loads((BUILD / "results" / f"{claim.chapter}.json").read_text(encoding="utf-8"))
        found = {result["key"] for result in results["results"]}
        # What the quick profile leaves out is made with the models and scalings of profile full.
        if claim.result_key in found:
            assert claim.control.key in found, claim.id


# --- the tests can fail ----------------------------------------------------------------------------------------------

PAGE = """---
eegfmri: {minutes: 1.5}
---
# A page

The network reaches {glue:text}`a/b/c:.3f`, at $p < 0.123$ and `x=0.77`, as [published](0.91.md).

```{code-cell} ipython3
value = 0.4321
```

```{exercise}
Suppose that it were 0.613.
```
"""


def test_code_formulae_roles_and_questions_are_no_typed_results():
    assert tracing.typed(PAGE) == []


def test_a_planted_number_in_the_prose_is_found():
    planted = PAGE.replace("as [published]", "which is 0.871, as [published]")
    assert tracing.untraced(tracing.typed(planted), (), [0.583, 0.5883]) == ["0.871"]
    assert tracing.untraced(tracing.typed(planted), (), [0.87149]) == []


def test_a_planted_number_in_a_sentence_of_a_cell_is_found():
    code = 'prose.state(f"It is {x:.3f} of 0.05" if x > 0.33 else "It is 0.912.", by(0.7))\nother("0.5")'
    assert tracing.untraced(tracing.typed_statements(code), (), ()) == ["0.912"]


def test_a_planted_number_in_a_table_is_found():
    notebook = {"cells": [{"outputs": [{"data": {"text/html": ["<td>0.714 [0.6", "01, 0.80]</td>"]}}]}]}
    page = "<article><table><tr><td>0.714 [0.601, 0.80]</td><td>71.4</td><td>{}</td></tr></table><p>0.999</p></article>"
    made = tracing.outputs(notebook)
    assert tracing.untraced(tracing.in_tables(page.format("0.583")), made, [0.714, 0.5830]) == []
    assert tracing.untraced(tracing.in_tables(page.format("0.991")), made, [0.714, 0.5830]) == ["0.991"]


@pytest.mark.parametrize(("number", "value"), [("-0.12", -0.1243), ("12.4", 0.12381), ("1.3e-4", 0.000128)])
def test_a_rounded_value_or_percentage_is_traced(number, value):
    assert tracing.untraced([number], (), [value]) == []
    assert tracing.untraced([number], (), [value * 1.2]) == [number]


def test_numbers_are_read_with_either_sign_and_versions_are_none():
    assert tracing.numbers("−0.5, +1.25 and 3.11.7 or v2.0, 1.5e-3") == ["-0.5", "1.25", "1.5e-3"]
    assert Path(tracing.__file__).name == "number_tracing.py"


# --- what a reader sets is what the cells read -----------------------------------------------------------------------


def bound(code: str) -> set[str]:
    """Return the names that a cell binds by imports, definitions and loops; an assignment may work out what a parameter left open."""
    found: set[str] = set()
    for node in ast.parse(re.sub(r"(?m)^[%!].*$", "", code)).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.For):
            found |= {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
    return found


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_cell_takes_the_name_of_a_parameter(name):
    chapter = CHAPTERS[name]
    cells = [cell for cell in chapter.cells if "parameters" not in cell.tags]
    taken = {given for cell in cells for given in bound(cell.source) & set(chapter.parameters)}
    assert taken == set()


def test_a_taken_name_is_found():
    assert bound("from a import controls\nimport b.c as d\nimport e.f\nfor g in h: i = j\ndef k(): l = 1") == {
        "controls", "d", "e", "g", "k",
    }  # fmt: skip
