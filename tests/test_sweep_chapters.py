"""Every chapter of the book that makes random choices can be swept over its seed."""

import pytest

from eegfmri.runner.chapters import discover, resolve_parameters
from eegfmri.runner.execution import prepare
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
