"""transformer_cnn verified from end to end: on simulated recordings nothing is confirmed, and nothing but the label differs."""

import json
import shutil

import pytest
import yaml

from book_project import REPOSITORY, eegfmri, make_project
from eegfmri.datasets.formats import AS_REAL
from eegfmri.ledger import claims
from eegfmri.simulation.simulate import simulate

#: Small enough for a test; the page needs every method and every fold nevertheless.
SETTINGS = {
    "registration": "affine",
    "features": [4, 8, 8],
    "embedding": 8,
    "width": 16,
    "n_heads": 2,
    "n_layers": 1,
    "feedforward": 16,
    "n_pretraining_epochs": 1,
    "n_training_epochs": 1,
    "unet_features": [4, 4],
    "score_every": 60,
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """What ``verify --json`` says of the same files as what they are and taken for real ones."""
    folder = tmp_path_factory.mktemp("verify")
    project = make_project(folder / "project", chapters=("synthesis/transformer_cnn",))
    (project / "book" / "synthesis").mkdir()
    shutil.copy(REPOSITORY / "book" / "synthesis" / "transformer_cnn.md", project / "book" / "synthesis")
    (project / "book" / "profiles.yml").write_text(yaml.safe_dump({"full": {"synthesis/transformer_cnn": SETTINGS}}))
    (project / "data").mkdir()
    shutil.copy(REPOSITORY / "data" / "claims.yml", project / "data")
    root = simulate("rest", folder / "simulated" / "rest", scale="small", n_subjects=4)
    unlabelled = folder / "unlabelled" / "rest"
    shutil.copytree(root, unlabelled)
    found = {}
    for name in ("simulated", "unlabelled"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(AS_REAL, "1" if name == "unlabelled" else "")
            done = eegfmri(
                project, "verify", "--paper", "transformer_cnn", "--data", str(folder / name), "--json", f"{name}.json"
            )
        assert done.returncode == 0, done.stderr
        claims_by_id = {claim["id"]: claim for claim in json.loads((project / f"{name}.json").read_text())["claims"]}
        path = project / "book" / "_build" / "results" / "synthesis" / "transformer_cnn.json"
        found[name] = claims_by_id, json.loads(path.read_text())
    return found


OF_PAPER = [claim for claim in claims.load() if claim.paper == "transformer_cnn" and claim.protocol is not None]


@pytest.mark.slow
def test_every_claim_that_needs_results_has_our_value_and_is_not_comparable(documents):
    assert {claim.id.split("/")[1] for claim in OF_PAPER} >= {
        "loss",
        "psnr",
        "ssim",
        "no_overfitting",
        "peaks",
        "improved",
    }
    for one in OF_PAPER:
        claim = documents["simulated"][0][one.id]
        assert claim["verdict"] == "not comparable", one.id
        assert claim["ours"] is not None, one.id
        assert "simulated" in claim["why"]


@pytest.mark.slow
def test_loss_psnr_and_ssim_stand_there_for_every_scaling_and_mask(documents):
    found = documents["simulated"][0]
    for name, masks in (("loss", ("", "_whole")), ("psnr", ("", "_whole")), ("ssim", ("", "_inside"))):
        readings = {reading["key"]: reading for reading in found[f"transformer_cnn/{name}"]["readings"]}
        assert all(reading["ours"] is not None for reading in readings.values()), name
        metric = {"loss": "mse"}.get(name, name)
        for split in ("by_subject", "by_volume"):
            for scaling in ("unit", "normalised", "zscore"):
                for mask in masks:
                    assert f"transformer_cnn/{split}/transformer_cnn/{metric}/{scaling}{mask}" in readings
    assert found["transformer_cnn/standardised_range"]["ours"] is not None


@pytest.mark.slow
def test_recordings_without_the_simulator_s_file_differ_in_the_label_alone(documents):
    (simulated, of_simulated), (unlabelled, of_unlabelled) = documents["simulated"], documents["unlabelled"]
    assert len(of_simulated["results"]) > 150
    assert of_simulated["results"] == of_unlabelled["results"]
    assert of_simulated["data"]["simulated"]
    assert not of_unlabelled["data"]["simulated"]
    for one in OF_PAPER:
        assert simulated[one.id]["ours"] == unlabelled[one.id]["ours"]
        assert unlabelled[one.id]["verdict"] != "not comparable"
