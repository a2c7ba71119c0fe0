"""The benchmark of synthesis measures networks of the published shapes; no time is asserted."""

import numpy as np
import pytest
import torch

from eegfmri.bench import synthesis as bench
from eegfmri.models.synthesis import MODELS, AveragePool, Dropout, build, full_config


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
    quotient = rows[bench.PLAIN][0] / rows["training step"][0]
    assert rows["speed-up over plain means"][0] == quotient, "both sides of the ratio were measured here and now"
    parts = ("forward pass", "backward pass", "optimiser", "training step", "prediction of 2 volumes")
    assert all(rows[part][0] > 0 and rows[part][1] == "s" for part in parts)
    assert rows["private memory, training"][1] == "GiB"
    only_generation = {"the same, teacher-forced", "the same, keys and values not kept"} & set(rows)
    assert bool(only_generation) == (name == "transformer")


@pytest.mark.parametrize("name", MODELS)
def test_the_plain_network_does_equal_work(name):
    mask = torch.ones((4, 5, 3), dtype=torch.bool)
    module = build(name, 3, 12_000, 1000.0, mask, full_config(name)).eval()
    for parameter in module.parameters():  # heads begin at zero, which would make anything equal
        torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(0))
    other = bench.plain(module)
    kinds = {type(layer) for layer in other.modules()}
    assert not kinds & {AveragePool, Dropout}
    assert sum(p.numel() for p in other.parameters()) == sum(p.numel() for p in module.parameters())
    eeg = torch.randn(2, 3, 12_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(other(eeg), module(eeg), rtol=1e-4, atol=1e-5)
        assert module(eeg).abs().max() > 1e-4
