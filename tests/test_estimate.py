"""What a request would take, from measured costs: scaled by what grows, and silent about what nobody has measured."""

from datetime import date
from types import SimpleNamespace

import pytest

from eegfmri import costs
from eegfmri.runner import estimate

PREPARING = {
    "sleep EEG, 32 × 933 s × 5000 Hz": {
        "gradient artefact": 30.0,
        "resample": 4.0,
        "resample, MNE": 40.0,
        "band-pass": 1.0,
    },
    "sleep BOLD, 80 × 80 × 35 × 429": {
        "motion": 100.0,
        "affine": 10.0,
        "affine and warp": 15.0,
        "into MNI152 (3 mm)": 5.0,
    },
}


def bench(name, rows):
    return costs.Benchmark(None, {"benchmark": name, "date": "2026-11-28", "rows": rows, "others": 0.0})


@pytest.fixture
def shelf(monkeypatch):
    """Give a shelf of benchmarks with that of preparing on it."""
    rows = [
        {"case": case, "measure": f"{step}: {kind}", "value": value, "unit": ""}
        for case, steps in PREPARING.items()
        for step, seconds in steps.items()
        for kind, value in (("time", seconds), ("memory", 1.0))
    ]
    kept = {"preprocessing": bench("preprocessing", rows)}
    monkeypatch.setattr(costs, "latest", lambda name: kept.get(name))
    return kept


def run(subject="01", share=1.0, sfreq=5000.0):
    return SimpleNamespace(
        dataset="sleep", subject=subject, sfreq=sfreq, scalp_channels=["E"] * 32, n_times=round(933 * 5000 * share),
        volume_shape=(80, 80, 35), n_volumes=round(429 * share), duration=933.0 * share,
    )  # fmt: skip


def test_nothing_is_said_where_nothing_was_measured(shelf):
    assert estimate.estimate("fusion/graph_fusion", {}, {}) is None
    shelf.clear()
    assert estimate.estimate("fusion/graph_fusion", {}, {"sleep": [run()]}) is None


def test_preparing_takes_our_own_steps_that_the_recording_needs(shelf):
    own = shelf["preprocessing"]
    assert estimate.prepared(run(), {"grid": "mni_3mm"}, own) == pytest.approx(30 + 4 + 1 + 100 + 15 + 5)
    assert estimate.prepared(run(), {}, own) == pytest.approx(150)
    assert estimate.prepared(run(), {"motion_correction": False}, own) == pytest.approx(50)
    assert estimate.prepared(run(sfreq=250.0), {}, own) == pytest.approx(120)
    assert estimate.prepared(run(share=0.5), {}, own) == pytest.approx(75, rel=0.01)


def test_folds_grow_with_the_square_of_the_subjects(shelf):
    rows = [
        {"case": f"one fold, {name}", "measure": "time", "value": 100.0, "unit": "s"}
        for name in ("bold", "eeg", "both")
    ]
    shelf["graph_fusion"] = bench("graph_fusion", rows)
    found = {
        n: estimate.estimate("fusion/graph_fusion", {"n_seeds": 2}, {"sleep": [run(f"{i:02d}") for i in range(n)]})
        for n in (12, 23)
    }
    assert found[23].training == pytest.approx(23 * 300 * 2)
    assert found[12].training == pytest.approx(12 * 300 * 2 * 11 / 22)
    assert found[23].preparing == pytest.approx(23 * 150)
    assert found[23].measured == [date(2026, 11, 28)] * 2 and found[23].unknown


def test_training_of_synthesis_counts_networks_scalings_and_folds(shelf):
    shelf["synthesis"] = bench(
        "synthesis", [{"case": "siamese, grey and white matter", "measure": "training step", "value": 0.5, "unit": "s"}]
    )
    parameters = {
        "models": ["siamese", "unheard_of"],
        "scalings": ["raw", "normalised"],
        "n_training_epochs": 10,
        "n_blocks": 5,
    }
    runs = [run(f"{i}") for i in range(4)]
    found = estimate.estimate("synthesis/synthesis", parameters, {"oddball": runs})
    windows = 4 * (933 - 30) / 2
    assert found.training == pytest.approx(2 * 10 * (3 + 4 + 0.8) * windows / 8 * 0.5)
    assert "training unheard_of" in found.unknown


def test_the_published_protocol_of_transformer_cnn_is_scaled(shelf):
    case = "published protocol, one split, one core"
    shelf["transformer_cnn"] = bench(
        "transformer_cnn", [{"case": case, "measure": name, "value": 2.0, "unit": "h"} for name in ("a", "b")]
    )
    runs = [run(f"{i}") for i in range(8)]
    found = estimate.estimate("synthesis/transformer_cnn", {"n_training_epochs": 50, "n_folds": 3}, {"rest": runs})
    assert found.training == pytest.approx(2 * 3 * 4 * 0.5 * 0.5 * 3600)


def test_a_chapter_whose_training_nobody_measured_says_so(shelf):
    found = estimate.estimate("fusion/saliency_fusion", {}, {"sleep": [run()]})
    assert found.unknown == ["training and evaluating"] and found.training == 0


def test_the_estimate_of_preparing_is_within_a_factor_of_two_of_whole_subjects_that_were_measured():
    """Both numbers are recorded: what single steps took in one benchmark, and what a whole simulated subject took in another."""
    steps, whole = costs.latest("preprocessing"), costs.latest("transformer_cnn")
    if steps is None or whole is None:
        pytest.skip("the benchmarks preprocessing and transformer_cnn are not recorded")
    stages = {row["measure"].removesuffix(": time"): row["value"] for row in whole.rows if row["unit"] == "s"}
    taken = (
        "recorder's file: artefacts, resampling, filter",
        "recorder's file: spectrograms",
        "volumes: affine map and warp, one interpolation",
    )
    measured = sum(stages[stage] for stage in taken)
    recording = SimpleNamespace(
        dataset="rest", subject="01", sfreq=5000.0, scalp_channels=["E"] * 64, n_times=650 * 5000,
        volume_shape=(64, 64, 30), n_volumes=300, duration=650.0,
    )  # fmt: skip
    estimated = estimate.prepared(recording, {"grid": "mni_64x64x30", "motion_correction": False}, steps)
    assert 0.5 < estimated / measured < 2.0
