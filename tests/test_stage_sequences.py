"""Stage sequences: counts checked by hand, and statistics recovered from what is drawn."""

import json
from collections import Counter

import numpy as np
import pytest

from eegfmri import project
from eegfmri.errors import DataError
from eegfmri.simulation.stage_sequences import (
    choose_donor,
    donors,
    draw_stages,
    fit_stage_statistics,
    load_stage_statistics,
    read_label_runs,
)

HEADER = "session\tepoch_start_time_sec\t30-sec_epoch_sleep_stage"
CODES = {"W": "W", "N1": "1", "N2": "2", "N3": "3"}


def write_table(folder, subject, runs):
    rows = [HEADER]
    for name, labels in runs.items():
        rows += [f"{name}\t{30 * i}\t{label}" for i, label in enumerate(labels)]
    folder.mkdir(exist_ok=True)
    path = folder / f"sub-{subject}-sleep-stage.tsv"
    path.write_text("\r\n".join(rows) + "\r\n", newline="")
    return path


def test_bouts_are_counted_as_by_hand(tmp_path):
    write_table(
        tmp_path,
        "05",
        {
            "task-rest_run-1": ["W", "W", "1", "1", "1", "W"],
            "task-rest_run-2": ["1", "1", "2 (uncertain)", "2", "2", "W"],
        },
    )
    rest = fit_stage_statistics(tmp_path)["subjects"]["05"]["rest"]
    assert rest == {
        "runs": 2,
        "epochs": 11,
        "initial": {"N1": 1, "W": 1},
        "ended": {"N1": {"3": 1}, "N2": {"2": 1}, "W": {"2": 1}},
        "censored": {"N1": {"2": 1}, "W": {"1": 2}},
        "transitions": {"N1": {"W": 1}, "N2": {"W": 1}, "W": {"N1": 1}},
    }


def test_a_subject_with_fixed_bouts_sleeps_in_fixed_bouts():
    statistics = {
        "initial": {"W": 1},
        "ended": {"W": {"2": 5}, "N1": {"3": 5}},
        "censored": {},
        "transitions": {"W": {"N1": 5}, "N1": {"W": 5}},
    }
    drawn = draw_stages(statistics, 12, np.random.default_rng(0))
    assert drawn == ["W", "W", "N1", "N1", "N1", "W", "W", "N1", "N1", "N1", "W", "W"]


def test_a_bout_that_never_ended_lasts_to_the_end_of_the_run():
    statistics = {"initial": {"N2": 1}, "ended": {}, "censored": {"N2": {"4": 2}}, "transitions": {}}
    assert draw_stages(statistics, 30, np.random.default_rng(0)) == ["N2"] * 30


@pytest.mark.parametrize("subject", ["01", "16", "31"])
def test_drawn_nights_have_the_statistics_they_were_drawn_from(subject, tmp_path):
    """Refit what is drawn: how often bouts outlast each length, and what follows them, come back."""
    given = load_stage_statistics()["subjects"][subject]["sleep"]
    rng = np.random.default_rng(0)
    write_table(
        tmp_path,
        subject,
        {f"task-sleep_run-{i}": [CODES[s] for s in draw_stages(given, 30, rng)] for i in range(1, 601)},
    )
    found = fit_stage_statistics(tmp_path)["subjects"][subject]["sleep"]
    for stage in given["ended"]:
        for length in range(1, 12):
            expected, n_expected = survival(given, stage, length)
            again, n_again = survival(found, stage, length)
            if n_again > 400:
                # a bout cut by the end of a run biases nothing, so only chance is left: 4 standard errors
                assert abs(again - expected) < 4 * np.sqrt(0.25 / n_again) + 1e-9, (stage, length, n_expected)
        total, total_found = sum(given["transitions"][stage].values()), sum(found["transitions"][stage].values())
        for following, count in given["transitions"][stage].items():
            share = found["transitions"][stage].get(following, 0) / total_found
            assert abs(share - count / total) < 4 * np.sqrt(0.25 / total_found)


def survival(statistics, stage, length):
    """Kaplan-Meier estimate that a bout outlasts ``length`` epochs, and the number of bouts at risk there."""
    ended = {int(k): n for k, n in statistics["ended"].get(stage, {}).items()}
    censored = {int(k): n for k, n in statistics["censored"].get(stage, {}).items()}
    outlasts, at_risk = 1.0, 0
    for t in range(1, length + 1):
        at_risk = sum(n for k, n in (*ended.items(), *censored.items()) if k >= t)
        if at_risk:
            outlasts *= 1 - ended.get(t, 0) / at_risk
    return outlasts, at_risk


def test_few_simulated_subjects_already_spread_over_good_and_poor_sleepers():
    ordered = donors(load_stage_statistics())
    assert len(ordered) == 31  # all but the two without sleep runs
    for seed in range(5):
        chosen = [ordered.index(choose_donor(ordered, i, seed)) for i in range(8)]
        assert Counter(chosen).most_common(1)[0][1] == 1
        gaps = np.diff([*sorted(chosen), min(chosen) + len(ordered)])
        assert gaps.max() <= 8


def test_the_quirks_of_real_tables_are_read_through(tmp_path):
    path = tmp_path / "sub-01-sleep-stage.tsv"
    path.write_text(f"subject\t{HEADER}\r\n1\ttask-rest_run-1\t0\tW\r\n1\ttask-rest_run-1\t30 1\r\n", newline="")
    assert read_label_runs(path) == {("rest", 1): ["W", "1"]}


def test_a_broken_row_is_named(tmp_path):
    path = tmp_path / "sub-01-sleep-stage.tsv"
    path.write_text(f"{HEADER}\r\ntask-rest_run-1\tW\r\n", newline="")
    with pytest.raises(DataError, match="line 2"):
        read_label_runs(path)


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(DataError, match="sleep-stage"):
        fit_stage_statistics(tmp_path)


@pytest.mark.real_data
def test_the_shipped_statistics_follow_from_the_real_tables(real_data):
    shipped = json.loads((project.data_dir() / "sleep_stage_statistics.json").read_text(encoding="utf-8"))
    assert fit_stage_statistics(real_data / "ds003768_text" / "sourcedata") == shipped
    stages = Counter()
    for kinds in shipped["subjects"].values():
        for kind in kinds.values():
            for outcome in ("ended", "censored"):
                for stage, lengths in kind[outcome].items():
                    stages[stage] += sum(int(length) * n for length, n in lengths.items())
    # the clean epochs that the dataset's tables hold
    assert stages == {"W": 3344, "N1": 2148, "N2": 1325, "N3": 42}
