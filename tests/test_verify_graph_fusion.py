"""graph_fusion verified from end to end: on simulated recordings nothing is confirmed, and nothing but the label differs."""

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
    "n_training_epochs": 1,
    "n_training_epochs_within": 1,
    "batch_size_within": 16,
    "conv_features": 2,
    "graph_features": 4,
    "embedding": 4,
    "n_blocks": 2,
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """What ``verify --json`` says of the same files as what they are and taken for real ones."""
    folder = tmp_path_factory.mktemp("verify")
    project = make_project(folder / "project", chapters=("fusion/graph_fusion",))
    (project / "book" / "fusion").mkdir()
    shutil.copy(REPOSITORY / "book" / "fusion" / "graph_fusion.md", project / "book" / "fusion")
    (project / "book" / "profiles.yml").write_text(yaml.safe_dump({"full": {"fusion/graph_fusion": SETTINGS}}))
    (project / "data").mkdir()
    for name in ("claims.yml", "sleep_stage_statistics.json"):
        shutil.copy(REPOSITORY / "data" / name, project / "data")
    root = simulate("sleep", folder / "simulated" / "sleep", scale="small", n_subjects=3)
    unlabelled = folder / "unlabelled" / "sleep"
    shutil.copytree(root, unlabelled)
    found = {}
    for name in ("simulated", "unlabelled"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(AS_REAL, "1" if name == "unlabelled" else "")
            done = eegfmri(
                project, "verify", "--paper", "graph_fusion", "--data", str(folder / name), "--json", f"{name}.json"
            )
        assert done.returncode == 0, done.stderr
        claims_by_id = {claim["id"]: claim for claim in json.loads((project / f"{name}.json").read_text())["claims"]}
        results = json.loads((project / "book" / "_build" / "results" / "fusion" / "graph_fusion.json").read_text())
        found[name] = claims_by_id, results
    return found


EMPIRICAL = [claim.id for claim in claims.load() if claim.paper == "graph_fusion" and claim.kind == "empirical"]


@pytest.mark.slow
def test_every_empirical_claim_has_our_value_and_is_not_comparable(documents):
    assert len(EMPIRICAL) == 10
    for name in EMPIRICAL:
        claim = documents["simulated"][0][name]
        assert claim["verdict"] == "not comparable", name
        assert claim["ours"] is not None, name
        assert claim["low"] <= claim["ours"] <= claim["high"], name
        assert "simulated" in claim["why"]


@pytest.mark.slow
def test_recordings_without_the_simulator_s_file_differ_in_the_label_alone(documents):
    (simulated, of_simulated), (unlabelled, of_unlabelled) = documents["simulated"], documents["unlabelled"]
    assert len(of_simulated["results"]) > 100
    assert of_simulated["results"] == of_unlabelled["results"]
    assert {**of_simulated["parameters"], "data": None} == {**of_unlabelled["parameters"], "data": None}
    assert of_simulated["data"]["simulated"]
    assert not of_unlabelled["data"]["simulated"]
    assert simulated.keys() == unlabelled.keys()
    for name, claim in simulated.items():
        other = unlabelled[name]
        assert without_verdict(claim) == without_verdict(other), name
        if name in EMPIRICAL:
            assert other["verdict"] in ("agrees", "differs", "inconclusive"), name


def without_verdict(claim: dict) -> dict:
    """The claim and our numbers, of all its readings, without what is concluded from them."""
    numbers = {key: value for key, value in claim.items() if key not in ("verdict", "why")}
    return numbers | {"readings": [without_verdict(reading) for reading in claim.get("readings", [])]}
