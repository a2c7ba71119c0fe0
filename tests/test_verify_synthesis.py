"""synthesis verified from end to end: the published errors beside ours, teacher-forced and free-running told apart."""

import json
import shutil

import pytest
import yaml

from book_project import REPOSITORY, eegfmri, make_project
from eegfmri.datasets.formats import AS_REAL
from eegfmri.ledger import claims
from eegfmri.simulation.simulate import simulate

#: Small enough for a test; the page needs every network, regime and target nevertheless.
SETTINGS = {
    "sfreq": 100.0,
    "step": 1,
    "scalings": ["normalised", "raw"],
    "shuffled_models": [
        "fully_connected",
        "siamese",
        "convolutional",
        "convolutional_all",
        "transformer",
        "transformer_sinusoidal",
    ],
    "n_training_epochs": 1,
    "n_blocks": 2,
    "gap": 5.0,
    "gaps": [2.0, 4.0],
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """What ``verify --json`` says of the same files as what they are and taken for real ones."""
    folder = tmp_path_factory.mktemp("verify")
    project = make_project(folder / "project", chapters=("synthesis/synthesis",))
    (project / "book" / "synthesis").mkdir()
    shutil.copy(REPOSITORY / "book" / "synthesis" / "synthesis.md", project / "book" / "synthesis")
    (project / "book" / "profiles.yml").write_text(yaml.safe_dump({"full": {"synthesis/synthesis": SETTINGS}}))
    (project / "data").mkdir()
    shutil.copy(REPOSITORY / "data" / "claims.yml", project / "data")
    root = simulate("oddball", folder / "simulated" / "oddball", scale="tiny")
    unlabelled = folder / "unlabelled" / "oddball"
    shutil.copytree(root, unlabelled)
    found = {}
    for name in ("simulated", "unlabelled"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(AS_REAL, "1" if name == "unlabelled" else "")
            done = eegfmri(
                project, "verify", "--paper", "synthesis", "--data", str(folder / name), "--json", f"{name}.json"
            )
        assert done.returncode == 0, done.stderr
        claims_by_id = {claim["id"]: claim for claim in json.loads((project / f"{name}.json").read_text())["claims"]}
        results = json.loads((project / "book" / "_build" / "results" / "synthesis" / "synthesis.json").read_text())
        found[name] = claims_by_id, results, done.stdout
    return found


EMPIRICAL = [claim.id for claim in claims.load() if claim.paper == "synthesis" and claim.kind == "empirical"]


@pytest.mark.slow
def test_every_empirical_claim_has_our_value_and_is_not_comparable(documents):
    assert len(EMPIRICAL) == 10
    for name in EMPIRICAL:
        claim = documents["simulated"][0][name]
        assert claim["verdict"] == "not comparable", name
        assert claim["ours"] is not None, name
        assert "simulated" in claim["why"]


@pytest.mark.slow
def test_the_published_errors_stand_beside_ours_and_teacher_forcing_apart(documents):
    by_id, results, _ = documents["simulated"]
    for name, published in (("fully_connected", 9.527e-4), ("convolutional", 7.087e-4), ("transformer", 4.976e-4)):
        claim = by_id[f"synthesis/mse_{name}"]
        assert claim["published"] == pytest.approx(published)
        assert claim["low"] <= claim["ours"] <= claim["high"]
    values = {result["key"]: result["value"] for result in results["results"]}
    free, forced = (values[f"synthesis/left_out/transformer/mse/{kind}"] for kind in ("normalised", "teacher_forced"))
    assert free != forced
    assert by_id["synthesis/mse_transformer"]["ours"] == pytest.approx(free)
    assert "teacher_forced" in json.dumps(by_id["synthesis/mse_transformer"]["readings"])
    assert by_id["synthesis/samples_per_block"]["verdict"] == "consistent"
    assert by_id["synthesis/samples_if_inside"]["verdict"] == "inconsistent"
    assert by_id["synthesis/samples_if_inside"]["ours"] == 156
    assert (values["synthesis/data/windows/per_run/after"], values["synthesis/data/windows/per_run/end"]) == (45, 46)


@pytest.mark.slow
def test_recordings_without_the_simulator_s_file_differ_in_the_label_and_in_what_needs_the_truth(documents):
    (simulated, of_simulated, _), (unlabelled, of_unlabelled, _) = documents["simulated"], documents["unlabelled"]
    assert of_simulated["data"]["simulated"]
    assert not of_unlabelled["data"]["simulated"]
    needs_truth = [r for r in of_simulated["results"] if "/ceiling/" in r["key"] or "/planted/" in r["key"]]
    assert needs_truth
    assert [r for r in of_simulated["results"] if r not in needs_truth] == of_unlabelled["results"]
    for name in EMPIRICAL:
        assert unlabelled[name]["ours"] == simulated[name]["ours"], name
        assert unlabelled[name]["verdict"] in ("agrees", "differs", "inconclusive"), name
