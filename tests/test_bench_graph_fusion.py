"""The full-size benchmark of graph_fusion works on arrays of the published shape; no time is asserted."""

import numpy as np

from eegfmri.bench import graph_fusion as bench
from eegfmri.simulation.stage_sequences import load_stage_statistics


def test_the_default_selection_leaves_the_23_published_folds():
    subjects = bench.selected_subjects(load_stage_statistics()["subjects"])
    assert len(subjects) == 23
    assert not set(subjects) & {"02", "03", "05", "08", "11", "16", "18", "20", "21", "26"}


def test_windows_have_the_real_shapes_and_numbers_of_epochs(tmp_path, monkeypatch):
    statistics = load_stage_statistics()
    kept = {subject: statistics["subjects"][subject] for subject in ("01", "12")}
    monkeypatch.setattr(bench, "load_stage_statistics", lambda: {"subjects": kept})
    windows = bench.write_windows(tmp_path)
    assert windows.eeg.shape[1:] == (30, 9000)
    assert windows.bold.shape[1:] == (100, 42)
    assert windows.subjects == ("01", "12")
    epochs = sum(of_kind["epochs"] for of_subject in kept.values() for of_kind in of_subject.values())
    assert len(windows) + sum(windows.dropped.values()) == epochs
    assert np.isfinite(windows.eeg[0]).all()


def test_the_network_is_the_one_of_the_full_profile():
    network = bench.full_size_network("eeg")
    assert network.modality == "eeg"
    assert network.patience == network.n_training_epochs > 12
    assert network.conv_features == 8
