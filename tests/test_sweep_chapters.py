"""The chapters of the book: those that make random choices can be swept over their seed, and every profile fits."""

from dataclasses import replace

import pytest

from eegfmri import results
from eegfmri.errors import RequestError
from eegfmri.runner import record
from eegfmri.runner.chapters import common_parameters, discover, resolve_parameters
from eegfmri.runner.execution import Request, build_dir, prepare
from eegfmri.runner.sweep import swept_values

CHAPTERS = discover()
SEEDED = [name for name, chapter in CHAPTERS.items() if "seed" in chapter.parameters]


def test_chapters_without_a_seed_make_no_random_choice_of_their_own():
    assert {"fusion/graph_fusion", "synthesis/transformer_cnn"} <= set(SEEDED)
    for name in set(CHAPTERS) - set(SEEDED):
        source = "\n".join(cell.source for cell in CHAPTERS[name].cells)
        assert "default_rng" not in source, name
        assert ".fit(" not in source, name


@pytest.mark.parametrize("name", SEEDED)
def test_seeds_are_runs_of_their_own_that_differ_in_nothing_else(name):
    chapter = CHAPTERS[name]
    values = swept_values(["seed=0,1,2"])["seed"]
    requests = [prepare(chapter, resolve_parameters(chapter, None, [f"seed={value}"])) for value in values]
    assert len({request.key for request in requests}) == 3
    assert {request.parameters["seed"] for request in requests} == {0, 1, 2}
    assert len({str({**request.parameters, "seed": None}) for request in requests}) == 1
    assert requests[0].key == prepare(chapter, resolve_parameters(chapter)).key


@pytest.mark.parametrize("profile", ["standard", "full"])
def test_every_profile_fits_every_chapter(profile):
    for chapter in CHAPTERS.values():
        assert resolve_parameters(chapter, profile).keys() == chapter.parameters.keys()


def test_the_standard_profile_has_as_many_subjects_as_published():
    from eegfmri.simulation.parameters import SCALES

    scale = common_parameters("standard")["scale"]
    assert {name: scales[scale].n_subjects for name, scales in SCALES.items()} == {
        "sleep": 23,
        "oddball": 16,
        "rest": 16,
    }


def test_a_standard_run_on_few_subjects_is_not_recorded():
    request = Request(CHAPTERS["fusion/graph_fusion"], {}, None, ("sleep",), "k", own_key="k")
    for parameters in ({}, {"scale": "small"}):
        few = replace(request, parameters=parameters)
        with pytest.raises(RequestError, match="of scale medium.*from scale small"):
            record.place(few, "standard")
        assert record.place(few, None).name == "quick-realistic-k.json"
    weak = replace(request, parameters={"scale": "medium", "preset": "weak"})
    assert record.place(weak, "standard").name == "standard-weak-k.json"


@pytest.mark.book
def test_headlines_are_results_of_their_chapters():
    declared = {name: chapter.headline for name, chapter in CHAPTERS.items() if chapter.headline}
    methods = {"fusion/graph_fusion", "fusion/saliency_fusion", "synthesis/synthesis", "synthesis/transformer_cnn"}
    assert methods <= set(declared)
    for name, keys in declared.items():
        document = results.read(build_dir() / "results" / f"{name}.json")
        assert set(keys) <= {result["key"] for result in document["results"]}, name
