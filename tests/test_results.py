"""Results: what a chapter records is what results.json holds and what its prose shows."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from eegfmri import results
from eegfmri.errors import EegFmriError, RequestError

#: What a page without recordings declares.
NO_DATA = {"dataset": "", "simulated": False, "digest": ""}


@dataclass
class Recordings:
    """Stands in for a set of recordings: what `declare` and `show` look at."""

    dataset: str
    digest: str
    simulation: dict | None = None
    root: Path = Path("/somewhere/ds003768")

    def __len__(self):
        return 3

    @property
    def simulated(self):
        return self.simulation is not None

    @property
    def provenance(self):
        return f"Recordings of {self.dataset}."


SIMULATED = Recordings("sleep", "abc", {"preset": "realistic", "scale": "small", "seed": 0, "digest": "abc"})
REAL = Recordings("oddball", "def")


@pytest.fixture
def notebook(monkeypatch):
    """Give a notebook that collects what is displayed, as a kernel's client would."""
    import IPython
    import IPython.display

    outputs = []

    def display(bundle, raw, metadata):
        assert raw
        outputs.append({"output_type": "display_data", "data": bundle, "metadata": metadata})

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace())
    monkeypatch.setattr(IPython.display, "display", display)
    return {"cells": [{"cell_type": "markdown", "source": ""}, {"cell_type": "code", "outputs": outputs}]}


def glued(notebook) -> dict[str, str]:
    return {
        output["metadata"]["scrapbook"]["name"]: output["data"]["application/papermill.record/text/plain"]
        for output in notebook["cells"][1]["outputs"]
        if "scrapbook" in output["metadata"]
    }


def test_recorded_values_are_harvested_and_glued(notebook):
    results.record("a/b/c", 0.1234, low=0.1, high=np.float32(0.25), unit="V", n=8)
    results.record("a/b/d", np.int64(3))
    assert results.harvest(notebook)["results"] == [
        {"key": "a/b/c", "value": 0.1234, "low": 0.1, "high": 0.25, "unit": "V", "n": 8},
        {"key": "a/b/d", "value": 3, "low": None, "high": None, "unit": "", "n": None},
    ]
    assert glued(notebook) == {
        "a/b/c": "0.1234",
        "a/b/c.low": "0.1",
        "a/b/c.high": "0.25",
        "a/b/d": "3",
    }


def test_the_prose_formats_what_was_glued(notebook):
    from myst_nb.core.variables import format_plain_text

    results.record("a/b/c", np.float64(0.1234), low=math.nan)
    results.record("a/b/missing", math.nan)
    texts = glued(notebook)
    assert format_plain_text(texts["a/b/c"], ".3f") == "0.123"
    assert format_plain_text(texts["a/b/missing"], ".3f") == "nan"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf")])
def test_numbers_that_are_not_finite_become_null(notebook, value):
    results.record("a/b/c", value)
    [result] = results.harvest(notebook)["results"]
    assert result["value"] is None
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("key", ["", "a", "/a/b", "a/b/", "a//b", "a/b c", "a/b:c", "a/b.low", "a/{b}"])
def test_malformed_keys_are_refused(key):
    with pytest.raises(RequestError):
        results.record(key, 1)


@pytest.mark.parametrize("value", [[1], np.ones(2), {"a": 1}, object(), "1", True, np.True_])
def test_values_that_are_no_single_value_are_refused(value):
    with pytest.raises(RequestError):
        results.record("a/b/c", value)


def test_a_key_recorded_twice_is_an_error(notebook):
    results.record("a/b/c", 1)
    results.record("a/b/c", 1)
    with pytest.raises(EegFmriError, match="a/b/c"):
        results.harvest(notebook)


def test_recording_outside_a_notebook_is_silent(capsys):
    results.record("a/b/c", 1)
    results.declare(SIMULATED)
    assert capsys.readouterr().out == ""


def test_declared_recordings_are_shown_and_harvested(notebook):
    results.declare(SIMULATED)
    html = notebook["cells"][1]["outputs"][0]["data"]["text/html"]
    for word in ("Simulated recordings.", "realistic", "small", "abc", "eegfmri-simulated"):
        assert word in html
    assert results.harvest(notebook)["data"] == {"dataset": "sleep", "simulated": True, "digest": "abc"}


def test_several_sets_are_joined_and_one_simulated_is_enough(notebook):
    results.declare(REAL, SIMULATED)
    html = notebook["cells"][1]["outputs"][0]["data"]["text/html"]
    assert "Real recordings." in html
    assert "ds003768" in html
    assert "/somewhere" not in html
    data = results.harvest(notebook)["data"]
    assert (data["dataset"], data["simulated"]) == ("oddball+sleep", True)
    assert data["digest"] not in ("abc", "def")


def test_declaring_twice_is_an_error(notebook):
    results.declare(SIMULATED)
    results.declare(REAL)
    with pytest.raises(EegFmriError, match="declared twice"):
        results.harvest(notebook)


def test_a_page_without_recordings_is_not_simulated(notebook):
    results.declare()
    assert results.harvest(notebook)["data"] == {"dataset": "", "simulated": False, "digest": ""}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Give a function that writes a results document of a certain age."""
    monkeypatch.setenv("EEGFMRI_ROOT", str(tmp_path))

    def write(path, chapter, value, age, schema=1, **more):
        path = tmp_path / path
        path.parent.mkdir(parents=True, exist_ok=True)
        entry = {"key": "a/b/c", "value": None, "unit": value}
        document = {"schema": schema, "chapter": chapter, "data": NO_DATA, "results": [entry], **more}
        path.write_text(json.dumps(document))
        os.utime(path, (1e9 - age, 1e9 - age))

    return write


def test_the_latest_results_are_the_newest_of_each_chapter(tmp_path, write):
    assert results.latest() == []
    write("book/_build/results/a/x.json", "a/x", "1", age=10)
    write("book/_build/results/a/y.json", "a/y", "2", age=10)
    write("runs/x-1/results.json", "a/x", "3", age=5)
    write("runs/y-1/results.json", "a/y", "4", age=50)
    write("runs/z-1/results.json", "a/z", "5", age=50)
    write("runs/z-2/results.json", "a/z", "6", age=1, schema=99)
    (tmp_path / "book" / "_build" / "results" / "a" / ".part-1.json").write_text("{")
    found = [(document["chapter"], document["results"][0]["unit"]) for document in results.latest()]
    assert found == [("a/x", "3"), ("a/y", "2"), ("a/z", "5")]


def test_what_was_found_in_real_recordings_is_hidden_by_nothing_but_the_same_again(write):
    real = {"data": {"dataset": "sleep", "simulated": False, "digest": "a"}}
    simulated = {"data": {"dataset": "sleep", "simulated": True, "digest": "b"}}
    full, quick = {"parameters": {"n": 20}}, {"parameters": {"n": 2}}
    write("runs/x-1/results.json", "a/x", "full, old", 90, **real, **full)
    write("runs/x-2/results.json", "a/x", "full", 80, **real, **full)
    write("runs/x-3/results.json", "a/x", "quick", 70, **real, **quick)
    write("runs/x-4/results.json", "a/x", "simulated, old", 60, **simulated, **full)
    write("book/_build/results/a/x.json", "a/x", "simulated", 50, **simulated, **quick)
    found = [document["results"][0]["unit"] for document in results.latest()]
    assert found == ["full", "quick", "simulated"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("recording/all/lag/people", "recording/all/lag/subjects"),
        ("simulator/recovery/spectrum/people/left_out", "simulator/recovery/spectrum/subjects/left_out"),
        ("transformer_cnn/data/windows/per_person", "transformer_cnn/data/windows/per_subject"),
        (
            "evaluation/shuffled/clock_reader/balanced_accuracy/compared",
            "evaluation/shuffled/nearest_in_time/balanced_accuracy/compared",
        ),
        ("evaluation/loso/lda_eeg/kappa", "evaluation/loso/lda_eeg/kappa"),
        ("synthesis/loso/peoples/mse", "synthesis/loso/peoples/mse"),
    ],
)
def test_keys_of_older_documents_are_read_under_their_present_names(old, new):
    document = {"schema": 1, "chapter": "a/b", "data": NO_DATA, "results": [{"key": old, "value": 1.0}]}
    assert results.renamed(document)["results"] == [{"key": new, "value": 1.0}]
    assert results.present_key(new) == new, "a present name stays"


def test_what_is_no_document_is_left_to_those_who_judge_it():
    for entry in ([], "text", {"results": "none"}, {"results": [1, {"key": 2}]}):
        assert results.renamed(entry) == entry
