"""The full-size benchmark of transformer_cnn measures what it says, here at tiny sizes; no time is asserted."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from eegfmri.bench import transformer_cnn as bench
from eegfmri.simulation.simulate import simulate


def test_networks_have_the_size_of_the_full_profile():
    model, unet, full = bench.paper_size()
    assert full["grid"] == "mni_64x64x30"
    assert len(model.autoencoder.inside) == len(unet.inside) > 30_000
    assert model.config.width == full["width"] == 256
    assert full["learning_rate"] == 1e-5
    assert full["n_training_epochs"] == 100
    assert full["schedule"] is False


def test_both_ways_of_autoregression_say_the_same():
    rows = {row["measure"]: row["value"] for row in bench.autoregression(n_volumes=6, repeats=1)}
    assert rows["largest difference of a token"] < 1e-4
    assert rows["speed-up"] == pytest.approx(rows["the past anew for every volume"] / rows["keys and values kept"])


def test_the_protocol_is_projected_from_steps():
    rows = bench.steps(batch=1, repeats=1, places=["one core"])
    values = {row["measure"]: row["value"] for row in rows}
    hours = values["auto-encoder, 100 training epochs"]
    assert hours == pytest.approx(100 * 8 * 295 * values["auto-encoder, 1 volumes"] / 3600)
    assert values["transformer, 100 training epochs with validation"] > 0
    assert all(np.isfinite(row["value"]) for row in rows)


@pytest.mark.slow
def test_every_stage_runs_from_the_files(tmp_path):
    simulate("rest", tmp_path / "rest", scale="tiny", n_subjects=1)
    for stage in bench.STAGES:
        code = f"from eegfmri.bench.transformer_cnn import run_stage; run_stage({stage!r}, {str(tmp_path / 'rest')!r})"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True,
            env=os.environ | {"EEGFMRI_CACHE": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        seconds, memory = json.loads(done.stdout.strip().splitlines()[-1])
        assert seconds > 0
        assert memory >= 0
