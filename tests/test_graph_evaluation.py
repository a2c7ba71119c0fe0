"""The whole evaluation of graph_fusion: that it can learn, finds nothing in noise, leaks nothing, and survives being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from eegfmri import metrics
from eegfmri.datasets import sleep
from eegfmri.estimators.engineered import best_classical, engineered_methods, with_engineered_features
from eegfmri.estimators.graph_fusion import GraphFusionClassifier
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.leaks import fitted_digest
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.preprocessing import bold, eeg
from eegfmri.simulation import simulate as simulator
from eegfmri.windows import Windows, epoch_windows
from windows_made import SomeSubjects, cut, informative, made_recording, stages

MODALITIES = ("eeg", "bold", "both")
SMALL = {"conv_features": 4, "graph_features": 8, "embedding": 8, "n_training_epochs": 4}


def chance(windows: Windows) -> np.ndarray:
    """Balanced accuracy of a predictor that looks at nothing: one over the number of stages a subject has."""
    return np.array([1 / len(np.unique(windows.y[windows.groups == subject])) for subject in windows.subjects])


def made_strong(folder: Path, n_subjects: int) -> Windows:
    """Subjects of the noise-free, strongly coupled preset, read and prepared as the chapter does."""
    root = simulator.simulate("sleep", folder / "sleep", scale="small", preset="strong", n_subjects=n_subjects)
    steady = partial(bold.prepare, settings=bold.BoldSettings(high_pass=None))
    return epoch_windows(sleep.read(root), eeg.prepare, steady, eeg_epochs=3, bold_volumes=42)


@pytest.fixture(scope="module")
def one_of_the_strong(tmp_path_factory) -> Windows:
    """The fourth subject, who has all stages."""
    windows = made_strong(tmp_path_factory.mktemp("one"), 4)
    return windows[windows.groups == "04"]


@pytest.fixture(scope="module")
def strong(tmp_path_factory) -> Windows:
    return made_strong(tmp_path_factory.mktemp("strong"), 8)


@pytest.mark.slow
@pytest.mark.parametrize("modality", MODALITIES)
def test_each_network_fits_eight_scored_epochs_perfectly(one_of_the_strong, modality):
    windows = one_of_the_strong
    rows = [np.flatnonzero(windows.y == stage)[::4] for stage in range(3)]
    eight = windows[np.concatenate([rows[0][:3], rows[1][:3], rows[2][:2]])]
    assert np.bincount(eight.y).tolist() == [3, 3, 2]
    fitted = GraphFusionClassifier(modality, n_training_epochs=300).fit(eight, eight.y)
    np.testing.assert_array_equal(fitted.predict(eight), eight.y)


@pytest.mark.soak
@pytest.mark.parametrize("modality", MODALITIES)
def test_each_network_is_above_chance_on_subjects_it_has_not_seen(strong, modality, tmp_path):
    """The positive control, whose scores the chapter shows from a recorded run."""
    # BOLD is slow to learn: after the usual passes its training loss still falls.
    longer = {"n_training_epochs": 48} if modality == "bold" else {}
    methods = {modality: GraphFusionClassifier(modality, **longer)}
    scores = evaluate(methods, strong, LeaveOneSubjectOut(), folder=tmp_path, n_jobs=2).per_subject()[modality]
    assert len(scores) >= 6
    gain = scores.to_numpy() - chance(strong)
    assert gain.mean() > 0
    assert metrics.sign_flip_test(gain) < 0.05, scores.to_dict()


def all_methods(**options) -> dict:
    """The three networks, the twelve classical methods and the two choices among them."""
    networks = {modality: GraphFusionClassifier(modality, **options) for modality in MODALITIES}
    return networks | {
        name: method
        for which in ("eeg", "bold")
        for name, method in (engineered_methods(which) | best_classical(which)).items()
    }


@pytest.mark.slow
def test_no_method_finds_anything_in_noise(tmp_path):
    """A method's Holm-corrected interval holds every level that its Holm-adjusted sign-flip test does not reject.

    It excludes chance where the adjusted p of (score − chance), over subjects, is below 0.05. Twelve subjects, since with m
    methods and n subjects no adjusted p is below m 2 / 2ⁿ, which for eight subjects is more than 0.05: nothing could be found.
    """
    rng = np.random.default_rng(0)
    runs = [
        made_recording(
            tmp_path / "runs",
            f"{number:02d}",
            "task-sleep_run-1",
            stages(30, number),
            rng.normal(0, 1e-5, (3, 90000)),
            rng.normal(0, 1, (4, 428)),
        )
        for number in range(12)
    ]
    windows = with_engineered_features(cut(runs, eeg_epochs=3, bold_volumes=42))
    methods = all_methods(**SMALL)
    assert 2 / 2**12 * len(methods) < 0.05
    scores = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path / "folds", n_jobs=2).per_subject()
    p = [metrics.sign_flip_test(scores[name] - chance(windows)) for name in methods]
    adjusted = dict(zip(methods, metrics.holm(p), strict=True))
    assert min(adjusted.values()) >= 0.05, adjusted


def prepared(runs) -> Windows:
    return with_engineered_features(cut(runs, eeg_epochs=3, bold_volumes=14))


@pytest.fixture(scope="module")
def poisoned_states(tmp_path_factory):
    """Fitted states with subject 02 as recorded, and with other signals and other labels in its files."""
    folder = tmp_path_factory.mktemp("poison")
    clean = informative(folder / "clean", n_subjects=4, n_epochs=30)
    rng = np.random.default_rng(1)
    victim = made_recording(
        folder / "poison",
        "02",
        "task-sleep_run-1",
        stages(30, 77),
        1e3 * rng.standard_cauchy((3, 90000)),
        1e3 * rng.standard_cauchy((4, 428)) + 7,
    )
    replaced = [victim if run.subject == "02" else run for run in clean]
    protocol = SomeSubjects(subjects=("01", "02"))
    states = []
    for name, runs in (("clean", clean), ("poisoned", replaced)):
        folds = evaluate(all_methods(**SMALL), prepared(runs), protocol, folder=folder / f"folds-{name}").folds
        states.append(folds.set_index(["method", "fold"])["state"].unstack())
    assert (prepared(clean)[:].y != prepared(replaced)[:].y).any()
    return states


@pytest.mark.slow
@pytest.mark.parametrize("method", all_methods())
def test_poison_in_the_test_subject_reaches_no_fitted_state(poisoned_states, method):
    clean, poisoned = (state.loc[method] for state in poisoned_states)
    assert clean["sub-02"] == poisoned["sub-02"]
    assert clean["sub-01"] != poisoned["sub-01"], "where it is trained on, the same poison shows"


@pytest.mark.parametrize("adaptation", ["transductive", "calibration"])
def test_alignment_uses_the_test_subjects_own_unlabelled_eeg_and_nothing_else(tmp_path, adaptation):
    runs = informative(tmp_path / "runs", n_subjects=5, n_epochs=30)
    windows = cut(runs, eeg_epochs=3, bold_volumes=14)
    train = windows[np.isin(windows.groups, ["01", "02", "03"])]
    fitted = GraphFusionClassifier("eeg", adaptation=adaptation, **SMALL).fit(train, train.y)
    before = fitted_digest(fitted)

    def predicted(test: Windows) -> np.ndarray:
        return fitted.predict_proba(test)[test.groups == "04"]

    both = windows[np.isin(windows.groups, ["04", "05"])]
    expected = predicted(both)
    rng = np.random.default_rng(2)
    np.testing.assert_array_equal(predicted(replace(both, y=rng.permutation(both.y))), expected)
    assert fitted_digest(fitted) == before, "predicting teaches nothing"

    def with_other(subject: str, which: str) -> Windows:
        others = []
        for run in runs:
            if run.subject == subject:
                arrays = {name: run.streams[name].load() for name in ("eeg", "bold")}
                arrays[which] = rng.normal(0, 50, arrays[which].shape)
                labels = list(run.epochs["stage"])
                run = made_recording(tmp_path / f"{subject}-{which}", subject, run.run, labels, **arrays)
            others.append(run)
        test = cut(others, eeg_epochs=3, bold_volumes=14)
        return test[np.isin(test.groups, ["04", "05"])]

    np.testing.assert_array_equal(predicted(with_other("05", "eeg")), expected)
    np.testing.assert_array_equal(predicted(with_other("04", "bold")), expected)
    assert not np.allclose(predicted(with_other("04", "eeg")), expected), "its own EEG does matter"


INTERRUPTED = """
import json, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from windows_made import cut, informative
from eegfmri import cache
from eegfmri.evaluation import evaluate, splits
from eegfmri.estimators.graph_fusion import GraphFusionClassifier

if __name__ == "__main__":
    folder, n_jobs = Path(sys.argv[1]), int(sys.argv[2])
    write = cache.save_array  # the runs are written once: a prepared run keeps its file, and so its time stamp
    cache.save_array = lambda path, array: path if Path(path).exists() else write(path, array)
    windows = cut(informative(folder / "runs", n_epochs=30), eeg_epochs=3, bold_volumes=14)
    methods = {{name: GraphFusionClassifier(name, **{small!r}) for name in ("eeg", "both")}}
    print("start", flush=True)
    protocol = splits.LeaveOneSubjectOut()
    evaluation = evaluate.evaluate(methods, windows, protocol, n_jobs=n_jobs, folder=folder / "folds")
    print(int(evaluation.folds["cached"].sum()), len(evaluation.folds))
    (folder / "predictions.csv").write_text(evaluation.predictions.to_csv())
    (folder / "scores.csv").write_text(evaluation.summary().to_csv())
    (folder / "states.csv").write_text(evaluation.folds[["method", "fold", "state"]].to_csv())
    said = [[*key, value] for each in (evaluation.extras, evaluation.facts) for key, value in each.items()]
    (folder / "extras.json").write_text(json.dumps(said))
"""

WRITTEN = ("predictions.csv", "scores.csv", "states.csv", "extras.json")


def finished_folds(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("folds/*/sub-*/fold.json")}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    script = tmp_path_factory.mktemp("script") / "protocol.py"
    script.write_text(INTERRUPTED.format(tests=str(Path(__file__).parent), small=SMALL), encoding="utf-8")

    def start(folder: Path, n_jobs: int) -> subprocess.Popen:
        # A session of its own, so that the workers can be killed with the process that started them.
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", script, folder, str(n_jobs)],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
            start_new_session=True,
        )

    return start


@pytest.fixture(scope="module")
def undisturbed(interrupted, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    out, _ = interrupted(folder, 1).communicate()
    assert out.split()[-2:] == ["0", "12"]
    assert len(json.loads((folder / "extras.json").read_text())) == 24
    return {name: (folder / name).read_bytes() for name in WRITTEN}


@pytest.mark.slow
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_killed_protocol_finishes_the_rest_and_says_the_same(interrupted, undisturbed, n_jobs, tmp_path):
    killed = interrupted(tmp_path, n_jobs)
    assert killed.stdout.readline().strip() == "start"
    while len(finished_folds(tmp_path)) < 3:
        assert killed.poll() is None, "the evaluation ended before it could be killed"
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    finished = finished_folds(tmp_path)
    assert 3 <= len(finished) < 12
    out, _ = interrupted(tmp_path, n_jobs).communicate()
    assert out.split()[-2:] == [str(len(finished)), "12"], "what was finished is taken, the rest is computed"
    after = finished_folds(tmp_path)
    assert len(after) == 12
    assert {path: after[path] for path in finished} == finished
    for name in WRITTEN:
        assert (tmp_path / name).read_bytes() == undisturbed[name], name
