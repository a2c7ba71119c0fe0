"""Every method verified from end to end: on simulated recordings nothing is confirmed, and without the simulator's file only labels differ.

Each case simulates a dataset, copies it without the file that says so, and lets ``eegfmri verify --data`` execute the chapter on both.
"""

import json
import shutil
from dataclasses import dataclass, field

import pytest
import yaml

from book_project import REPOSITORY, eegfmri, make_project
from eegfmri.datasets.formats import AS_REAL
from eegfmri.ledger import claims
from eegfmri.simulation.simulate import simulate


@dataclass(frozen=True)
class Case:
    """A paper, the recordings that its chapter is tried on, and parameters small enough for a test.

    Attributes
    ----------
    paper, dataset : str
        Names.
    scale : dict
        Of the simulated recordings.
    settings : dict
        Parameters; the page needs every method, fold and target nevertheless.
    truth : tuple of str
        Parts of the keys of results that need the planted truth.
    n_results : int
        There are more results than these.
    """

    paper: str
    dataset: str
    scale: dict
    settings: dict = field(default_factory=dict)
    truth: tuple[str, ...] = ()
    n_results: int = 0


SALIENCY = {
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
SALIENCY_TRUTH = ("saliency_fusion/planted/", "saliency_fusion/recordings/", "_maps/recovery/")
NETWORKS = ["fully_connected", "siamese", "convolutional", "convolutional_all", "transformer", "transformer_sinusoidal"]

CASES = {
    "graph_fusion": Case(
        "graph_fusion",
        "sleep",
        {"scale": "small", "n_subjects": 3},
        {
            "n_training_epochs": 1,
            "n_training_epochs_within": 1,
            "batch_size_within": 16,
            "conv_features": 2,
            "graph_features": 4,
            "embedding": 4,
            "n_blocks": 2,
            "n_seeds": 2,
        },
        ("/means_noise_free/",),
        n_results=100,
    ),
    "saliency_fusion, sleep": Case(
        "saliency_fusion",
        "sleep",
        {"scale": "tiny", "n_subjects": 3},
        SALIENCY | {"dataset": "sleep"},
        SALIENCY_TRUTH,
    ),
    "saliency_fusion, oddball": Case(
        "saliency_fusion",
        "oddball",
        {"scale": "tiny", "n_subjects": 3},
        SALIENCY | {"dataset": "oddball"},
        SALIENCY_TRUTH,
    ),
    "synthesis": Case(
        "synthesis",
        "oddball",
        {"scale": "tiny"},
        {
            "sfreq": 100.0,
            "step": 1,
            "scalings": ["normalised", "raw"],
            "shuffled_models": NETWORKS,
            "n_training_epochs": 1,
            "n_blocks": 2,
            "gap": 5.0,
            "gaps": [2.0, 4.0],
        },
        ("/ceiling/", "/planted/"),
    ),
    "transformer_cnn": Case(
        "transformer_cnn",
        "rest",
        {"scale": "small", "n_subjects": 4},
        {
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
        },
        n_results=150,
    ),
}
# A paper that nobody has written a case for is verified with the parameters of its profile.
CASES |= {
    name: Case(name, paper.dataset, {"scale": "small", "n_subjects": 3})
    for name, paper in claims.papers().items()
    if name not in {case.paper for case in CASES.values()} and paper.dataset
}

#: The claims of each paper that a run of its own chapter decides.
DECIDED = {
    name: [claim for claim in claims.load() if claim.paper == name and (claim.result_key or "").startswith(f"{name}/")]
    for name in claims.papers()
}


@dataclass(frozen=True)
class Verified:
    """What ``verify --json`` says, by claim, and the results behind it, with the simulator's file and without."""

    case: Case
    simulated: dict
    unlabelled: dict
    of_simulated: dict
    of_unlabelled: dict

    @property
    def values(self) -> dict:
        return {result["key"]: result["value"] for result in self.of_simulated["results"]}


@pytest.fixture(scope="module")
def verified(request, tmp_path_factory) -> Verified:
    case = CASES[request.param]
    chapter = claims.papers()[case.paper].chapter
    folder = tmp_path_factory.mktemp("verify")
    project = make_project(folder / "project", chapters=(chapter,))
    (project / "book" / chapter).parent.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "book" / f"{chapter}.md", project / "book" / f"{chapter}.md")
    (project / "book" / "profiles.yml").write_text(yaml.safe_dump({"full": {chapter: case.settings}}))
    (project / "data").mkdir()
    for name in ("claims.yml", "sleep_stage_statistics.json"):
        shutil.copy(REPOSITORY / "data" / name, project / "data")
    root = simulate(case.dataset, folder / "simulated" / case.dataset, **case.scale)
    unlabelled = folder / "unlabelled" / case.dataset
    shutil.copytree(root, unlabelled)
    said, results = {}, {}
    for name in ("simulated", "unlabelled"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(AS_REAL, "1" if name == "unlabelled" else "")
            done = eegfmri(
                project, "verify", "--paper", case.paper, "--data", str(folder / name), "--json", f"{name}.json"
            )
        assert done.returncode == 0, done.stderr
        document = json.loads((project / f"{name}.json").read_text(encoding="utf-8"))
        said[name] = {claim["id"]: claim for claim in document["claims"]}
        path = project / "book" / "_build" / "results" / f"{chapter}.json"
        results[name] = json.loads(path.read_text(encoding="utf-8"))
    return Verified(case, said["simulated"], said["unlabelled"], results["simulated"], results["unlabelled"])


#: Each takes minutes: `make soak` has the time.
LONG = ("saliency_fusion, oddball", "synthesis", "transformer_cnn")


def _cases(names) -> list:
    return [pytest.param(name, marks=pytest.mark.soak if name in LONG else ()) for name in names]


of_every_method = pytest.mark.parametrize("verified", _cases(CASES), indirect=True)


def of(*papers: str):
    """Run a test on the cases of these papers."""
    chosen = [name for name, case in CASES.items() if case.paper in papers]
    return pytest.mark.parametrize("verified", _cases(chosen), indirect=True)


@pytest.mark.slow
@of_every_method
def test_every_claim_that_a_run_decides_has_our_value_and_is_not_comparable(verified):
    assert DECIDED[verified.case.paper]
    for decided in DECIDED[verified.case.paper]:
        claim = verified.simulated[decided.id]
        assert claim["verdict"] == "not comparable", decided.id
        assert claim["ours"] is not None, decided.id
        assert "simulated" in claim["why"], decided.id


@pytest.mark.slow
@of_every_method
def test_recordings_without_the_simulator_s_file_differ_in_the_label_and_in_what_needs_the_truth(verified):
    case = verified.case
    assert len(verified.of_simulated["results"]) > case.n_results
    assert verified.of_simulated["data"]["simulated"]
    assert not verified.of_unlabelled["data"]["simulated"]
    assert {**verified.of_simulated["parameters"], "data": None} == {
        **verified.of_unlabelled["parameters"],
        "data": None,
    }

    def needs_truth(result):
        return any(part in result["key"] for part in case.truth)

    if case.truth:
        assert any(needs_truth(result) for result in verified.of_simulated["results"])
    without = [result for result in verified.of_simulated["results"] if not needs_truth(result)]
    assert without == [result for result in verified.of_unlabelled["results"] if not needs_truth(result)]
    assert all(result["value"] is None for result in verified.of_unlabelled["results"] if needs_truth(result))
    assert verified.simulated.keys() == verified.unlabelled.keys()
    for name, claim in verified.simulated.items():
        assert without_verdict(claim) == without_verdict(verified.unlabelled[name]), name


@pytest.mark.slow
@of_every_method
def test_what_is_not_known_to_be_simulated_is_judged(verified):
    for decided in DECIDED[verified.case.paper]:
        verdict = verified.unlabelled[decided.id]["verdict"]
        if decided.dataset == verified.case.dataset:
            assert verdict in ("agrees", "differs", "inconclusive"), decided.id
        else:
            assert verdict == "not comparable", decided.id


def without_verdict(claim: dict) -> dict:
    """The claim and our numbers, of all its readings, without what is concluded from them."""
    numbers = {key: value for key, value in claim.items() if key not in ("verdict", "why")}
    return numbers | {"readings": [without_verdict(reading) for reading in claim.get("readings", [])]}


# --- what is particular to one method ----------------------------------------------------------------------------------


@pytest.mark.slow
@of("graph_fusion", "synthesis")
def test_the_findings_have_intervals(verified):
    empirical = [claim.id for claim in DECIDED[verified.case.paper] if claim.kind == "empirical"]
    assert len(empirical) == 10
    if verified.case.paper == "graph_fusion":
        for name in empirical:
            claim = verified.simulated[name]
            assert claim["low"] <= claim["ours"] <= claim["high"], name


@pytest.mark.slow
@of("saliency_fusion")
def test_of_saliency_fusion_the_planted_lag_and_both_findings_have_values(verified):
    for key in ("recordings/lag/median_error", "loso/gcnn/learned_graph_gain", "loso/views/node_overlap"):
        assert verified.values[f"saliency_fusion/{key}"] is not None
    assert [result["key"] for result in verified.of_simulated["results"]] == [
        result["key"] for result in verified.of_unlabelled["results"]
    ]
    assert {claim.id.split("/")[1] for claim in DECIDED["saliency_fusion"]} >= {"learned_graph", "node_correspondence"}


@pytest.mark.slow
@of("synthesis")
def test_of_synthesis_the_published_errors_stand_beside_ours_and_teacher_forcing_apart(verified):
    by_id, values = verified.simulated, verified.values
    for name, published in (("fully_connected", 9.527e-4), ("convolutional", 7.087e-4), ("transformer", 4.976e-4)):
        claim = by_id[f"synthesis/mse_{name}"]
        assert claim["published"] == pytest.approx(published)
        assert claim["low"] <= claim["ours"] <= claim["high"]
    free, forced = (values[f"synthesis/left_out/transformer/mse/{kind}"] for kind in ("normalised", "teacher_forced"))
    assert free != forced
    assert by_id["synthesis/mse_transformer"]["ours"] == pytest.approx(free)
    assert "teacher_forced" in json.dumps(by_id["synthesis/mse_transformer"]["readings"])
    assert by_id["synthesis/samples_per_block"]["verdict"] == "consistent"
    assert by_id["synthesis/samples_if_inside"]["verdict"] == "inconsistent"
    assert by_id["synthesis/samples_if_inside"]["ours"] == 156
    assert (values["synthesis/data/windows/per_run/after"], values["synthesis/data/windows/per_run/end"]) == (45, 46)
    assert not any(
        part in result["key"] for result in verified.of_unlabelled["results"] for part in verified.case.truth
    )


@pytest.mark.slow
@of("transformer_cnn")
def test_of_transformer_cnn_loss_psnr_and_ssim_stand_there_for_every_scaling_and_mask(verified):
    slugs = {claim.id.split("/")[1] for claim in DECIDED["transformer_cnn"]}
    assert slugs >= {"loss", "psnr", "ssim", "no_overfitting", "peaks", "improved"}
    found = verified.simulated
    for name, masks in (("loss", ("", "_whole")), ("psnr", ("", "_whole")), ("ssim", ("", "_inside"))):
        readings = {reading["key"]: reading for reading in found[f"transformer_cnn/{name}"]["readings"]}
        assert all(reading["ours"] is not None for reading in readings.values()), name
        metric = {"loss": "mse"}.get(name, name)
        for split in ("by_subject", "by_volume"):
            for scaling in ("unit", "normalised", "zscore"):
                for mask in masks:
                    assert f"transformer_cnn/{split}/transformer_cnn/{metric}/{scaling}{mask}" in readings
    assert found["transformer_cnn/standardised_range"]["ours"] is not None
