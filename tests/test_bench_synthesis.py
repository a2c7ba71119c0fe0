"""The benchmark of synthesis measures networks of the published shapes; no time is asserted."""

import numpy as np
import pytest

from eegfmri.bench import synthesis as bench


def test_the_sizes_are_the_published_ones():
    assert (bench.N_CHANNELS, bench.N_TIMES, bench.SFREQ) == (34, 30_000, 1000.0)
    whole = bench.full_size_mask(False)
    assert whole.shape == (53, 63, 52)
    assert whole.all()


@pytest.mark.slow
def test_grey_and_white_matter_is_part_of_the_grid():
    mask = bench.full_size_mask(True)
    assert mask.shape == (53, 63, 52)
    assert 0.2 < mask.mean() < 0.5


@pytest.mark.parametrize("name", ["siamese", "transformer"])
def test_every_part_of_a_step_is_told(name, monkeypatch):
    monkeypatch.setattr(bench, "N_CHANNELS", 3)
    monkeypatch.setattr(bench, "N_TIMES", 4000)
    monkeypatch.setattr(bench, "BATCH", 2)
    monkeypatch.setattr(bench, "N_STEPS", 2)
    monkeypatch.setattr(bench, "full_size_mask", lambda masked: np.ones((4, 5, 3), dtype=bool))
    rows = {measure: (value, unit) for measure, value, unit in bench._network(name, False)}
    assert rows["voxels"][0] == 60
    parts = ("forward pass", "backward pass", "optimiser", "training step", "prediction of 2 volumes")
    assert all(rows[part][0] > 0 and rows[part][1] == "s" for part in parts)
    assert rows["private memory, training"][1] == "GiB"
    only_generation = {"the same, teacher-forced", "the same, keys and values not kept"} & set(rows)
    assert bool(only_generation) == (name == "transformer")
