"""Measured EEG and BOLD: what was computed elsewhere from the same files is found again, and the chapter says that it is real."""

import json

import numpy as np
import pytest

from book_project import REPOSITORY, eegfmri
from eegfmri import metrics
from eegfmri.datasets.coupling_files import read_alertness, read_correlation_maps, read_responses
from eegfmri.recovery import alertness, measured, reference, responses

pytestmark = pytest.mark.real_data

#: Found beforehand and by other code, subjects 1 to 12.
CORRELATIONS = {
    1: 0.61, 2: 0.44, 3: 0.55, 4: 0.56, 5: 0.69, 6: 0.01, 7: 0.24, 8: 0.28, 9: 0.25, 10: 0.59, 11: 0.07, 12: 0.47,
}  # fmt: skip


@pytest.fixture(scope="module")
def files(real_data):
    return {
        "coupling": real_data / "eeg_bold_coupling" / "correlation_maps.npz",
        "alertness": real_data / "alertness",
        "response": real_data / "rshrf",
    }


@pytest.fixture(scope="module")
def series(files):
    return {subject: (run.eeg, run.bold) for subject, run in read_alertness(files["alertness"]).runs.items()}


def test_alertness_agrees_as_it_did_elsewhere(series):
    found = alertness.correlations(series)
    assert found == pytest.approx(CORRELATIONS, abs=0.01)
    assert np.mean(list(found.values())) == pytest.approx(0.40, abs=0.01)
    lags, curves = alertness.lag_curves(series, 2.1)
    assert lags[curves.mean(axis=0).argmax()] == 0
    rng = np.random.default_rng(0)
    assert sum(alertness.surrogate_test(*pair, seed=rng)[0] < 0.05 for pair in series.values()) == 10


def test_correlation_says_yes_where_explained_variance_says_no(series):
    found = alertness.leave_one_subject_out(series)
    assert np.mean([one.r for one in found.values()]) == pytest.approx(0.40, abs=0.01)
    assert np.mean([one.r_squared for one in found.values()]) == pytest.approx(0.11, abs=0.01)
    assert {subject for subject, one in found.items() if one.r_squared < 0} == {6, 11}
    # in subject 4, more than r = .5 explains next to nothing
    assert found[4].r > 0.5
    assert found[4].r_squared < 0.05


def test_coupling_has_the_size_and_the_spread_found_elsewhere(files):
    maps = read_correlation_maps(files["coupling"])
    assert len(maps.subjects) == 23
    values = measured.coupling_statistics(maps)["values"]
    alpha = {lag: maps.r[:, 0, lag, 7:12].mean(axis=1) for lag in (2, 3, 6)}
    for lag, mean in ((2, -0.15), (3, -0.14), (6, -0.08)):
        assert alpha[lag].mean() == pytest.approx(mean, abs=0.005)
    assert alpha[2].std(ddof=1) == pytest.approx(0.10, abs=0.005)
    dan = maps.r[:, 0].mean(axis=0)
    assert np.unravel_index(dan.argmin(), dan.shape) == (2, 9)
    assert dan.min() == pytest.approx(-0.164, abs=0.0005)
    for name, mean in (("dan_delta", -0.08), ("dan_theta", -0.08), ("dan_beta", -0.09), ("dmn_alpha", 0.05)):
        assert values[f"{name}_mean"] == pytest.approx(mean, abs=0.005)
    assert -0.075 < values["dmn_delta_early_mean"] < values["dmn_theta_early_mean"] < -0.055
    assert values["dan_gamma_largest"] < 0.04
    assert values["late_largest"] < 0.04
    assert measured.strongest_bin(maps).p == pytest.approx(0.001)


def test_the_response_peaks_where_it_did_and_a_guess_does_nearly_as_well(files):
    found = read_responses(files["response"])
    _, _, peak = responses.cross_correlation(found.lfp, found.optical, 1 / found.optical_sfreq)
    assert peak == pytest.approx(3.4, abs=0.05)
    calcium = responses.before_volumes(found.calcium, found.calcium_sfreq, found.bold_times, found.t_r)
    guess = responses.stimulus_prediction(found.stimulus_times, found.bold_times)
    held_out = responses.estimate_response(calcium, found.bold, found.t_r).held_out.mean()
    stimuli = responses.within_blocks(guess, found.bold).mean()
    # .60 and .58 were found elsewhere, with blocks that are not known
    assert held_out == pytest.approx(0.60, abs=0.06)
    assert stimuli == pytest.approx(0.58, abs=0.04)
    assert 0 < held_out - stimuli < 0.1


def test_the_alert_are_not_told_by_their_reaction_times(files):
    found = measured.measured_alertness(read_alertness(files["alertness"]))
    assert [entry["n_responses"] for entry in found["subjects"]][:2] == [31, 13]
    interval = metrics.bootstrap_mean([entry["reactions_eeg"] for entry in found["subjects"]])
    assert interval.low < 0 < interval.high


@pytest.mark.parametrize("section", ["coupling", "alertness", "response"])
def test_the_shipped_statistics_are_those_of_the_files(section, files):
    shipped, found = reference.load_reference_statistics()[section], reference.measured(section, files[section])
    assert {name: value for name, value in shipped.items() if name != "origin"}.keys() == found.statistics.keys()
    compared = list(numbers(shipped, found.statistics))
    assert len(compared) > 100
    for here, there in compared:
        # rounded to three decimals and more; a choice of the penalty may not hang on the last digit
        assert here == pytest.approx(there, abs=1.1e-3)


def numbers(shipped, found):
    """Pair the numbers of two nested documents."""
    if isinstance(found, dict):
        for name, value in found.items():
            yield from numbers(shipped[name], value)
    elif isinstance(found, list):
        assert len(shipped) == len(found)
        for one, other in zip(shipped, found, strict=True):
            yield from numbers(one, other)
    elif isinstance(found, (int, float)):
        yield shipped, found
    else:
        assert shipped == found


@pytest.mark.slow
def test_the_chapter_made_of_real_recordings_is_not_called_simulated(files, tmp_path):
    done = eegfmri(
        REPOSITORY, "run", "recordings/coupling", "--out", str(tmp_path / "out"),
        "-p", f"coupling_file={files['coupling']}", "-p", f"alertness_dir={files['alertness']}", "-p", f"rshrf_dir={files['response']}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert document["data"]["simulated"] is False
    assert document["data"]["dataset"] == "eeg_bold_coupling+alertness+rshrf"
    values = {result["key"]: result["value"] for result in document["results"]}
    assert values["coupling/real/dan_alpha/mean"] == pytest.approx(-0.147, abs=0.001)
    assert values["coupling/alertness/real/r_mean"] == pytest.approx(0.40, abs=0.01)
    assert values["coupling/response/real/cross_correlation_peak"] == pytest.approx(3.4, abs=0.05)
    assert not [key for key in values if "rest" in key or "uncoupled" in key]
    page = (tmp_path / "out" / "recordings-coupling.html").read_text(encoding="utf-8")
    assert "Simulated recordings." not in page
    assert 'data-simulated="true"' not in page
    assert page.count('data-recorded="real"') >= 6
