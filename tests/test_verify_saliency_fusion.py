"""saliency_fusion from end to end on both datasets: its page is executed, its claims get values, nothing is confirmed."""

import json
import shutil

import pytest
import yaml

from book_project import REPOSITORY, eegfmri, make_project
from eegfmri.datasets.formats import AS_REAL
from eegfmri.simulation.simulate import simulate

#: Small enough for a test.
SETTINGS = {
    "n_training_epochs": 1,
    "n_fusion_epochs": 1,
    "features": 4,
    "n_filters": 2,
    "embedding": 4,
    "n_salient": 6,
    "noise_levels": [0.0, 1.0],
    "n_surrogates": 19,
    "lag_step": 5.0,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saliency")
    project = make_project(folder / "project", chapters=("fusion/saliency_fusion",))
    (project / "book" / "fusion").mkdir()
    shutil.copy(REPOSITORY / "book" / "fusion" / "saliency_fusion.md", project / "book" / "fusion")
    (project / "data").mkdir()
    for name in ("claims.yml", "sleep_stage_statistics.json"):
        shutil.copy(REPOSITORY / "data" / name, project / "data")
    return project


def results_of(project, dataset, data, out):
    arguments = [
        f"-p{name}={json.dumps(value) if isinstance(value, list) else value}" for name, value in SETTINGS.items()
    ]
    done = eegfmri(
        project,
        "run",
        "fusion/saliency_fusion",
        "-p",
        f"dataset={dataset}",
        *arguments,
        "--data",
        str(data),
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((project / out / "results.json").read_text())
    return {result["key"]: result for result in document["results"]}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["sleep", "oddball"])
def test_the_page_is_executed_with_the_truth_and_without(project, tmp_path, dataset, monkeypatch):
    root = simulate(dataset, tmp_path / "with" / dataset, scale="small", n_subjects=3)
    unlabelled = tmp_path / "without" / dataset
    shutil.copytree(root, unlabelled)
    simulated = results_of(project, dataset, tmp_path / "with", "a")
    monkeypatch.setenv(AS_REAL, "1")
    real = results_of(project, dataset, tmp_path / "without", "b")
    assert simulated.keys() == real.keys()
    about_truth = ("saliency_fusion/planted/", "saliency_fusion/recordings/", "_maps/recovery/")
    for key, result in simulated.items():
        if any(part in key for part in about_truth):
            assert real[key]["value"] is None, key
        else:
            assert result == real[key], key
    assert simulated["saliency_fusion/recordings/lag/median_error"]["value"] is not None
    for metric in ("gcnn/learned_graph_gain", "views/node_overlap"):
        assert simulated[f"saliency_fusion/loso/{metric}"]["value"] is not None


@pytest.mark.slow
def test_claims_about_results_get_a_value_and_no_confirmation(project, tmp_path):
    simulate("sleep", tmp_path / "sleep", scale="small", n_subjects=3)
    (project / "book" / "profiles.yml").write_text(yaml.safe_dump({"full": {"fusion/saliency_fusion": SETTINGS}}))
    done = eegfmri(project, "verify", "--paper", "saliency_fusion", "--data", str(tmp_path), "--json", "claims.json")
    assert done.returncode == 0, done.stderr
    found = {claim["id"]: claim for claim in json.loads((project / "claims.json").read_text())["claims"]}
    for name in ("learned_graph", "node_correspondence"):
        claim = found[f"saliency_fusion/{name}"]
        assert claim["ours"] is not None
        assert claim["verdict"] == "not comparable"
