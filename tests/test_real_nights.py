"""The classical evaluation on real nights: Sleep-EDF features of five subjects, two nights each."""

import re

import numpy as np
import pandas as pd
import pytest

from eegfmri.estimators import classical
from eegfmri.evaluation.evaluate import evaluate
from eegfmri.evaluation.splits import LeaveOneSubjectOut
from eegfmri.windows import LazyArray, Windows

STAGES = ("W", "N1", "N2", "N3", "REM")


def real_nights(folder) -> Windows:
    """Windows without signals: one row per scored epoch, 72 features; both nights of a subject bear the subject's name."""
    rows, features, labels = [], [], []
    for path in sorted(folder.glob("SC4*E0.npz")):
        subject, night = re.match(r"SC4(\d\d)(\d)E0", path.name).groups()
        with np.load(path) as night_data:
            features.append(night_data["X"])
            labels.append(night_data["y"])
        onsets = 30.0 * np.arange(len(labels[-1]))
        rows.append(
            pd.DataFrame(
                {
                    "subject": subject,
                    "run": f"task-sleep_run-{night}",
                    "onset": onsets,
                    "start": onsets,
                    "stop": onsets + 30,
                }
            )
        )
    table = pd.concat(rows, ignore_index=True)
    table.insert(3, "order", table.groupby("subject").cumcount())
    nothing = LazyArray((), np.zeros(len(table)), np.zeros(len(table)), 0)
    return Windows(
        table, nothing, nothing, np.concatenate(labels), STAGES, features={"features": np.concatenate(features)}
    )


@pytest.mark.real_data
def test_classical_methods_stage_real_nights_of_subjects_left_out(real_data, tmp_path, record_property):
    windows = real_nights(real_data / "sleep_edf_features")
    assert len(windows.subjects) == 5
    assert len(windows.table.groupby(["subject", "run"])) == 10
    for fold in LeaveOneSubjectOut().split(windows):
        assert not set(windows.groups[fold.train]) & set(windows.groups[fold.test])

    methods = {
        **classical.trivial_predictors(),
        "lda": classical.shrinkage_lda("features"),
        "ridge": classical.ridge("features"),
    }
    evaluation = evaluate(methods, windows, LeaveOneSubjectOut(), folder=tmp_path)
    summary = evaluation.summary()
    print(summary.round(3).to_string())
    record_property("balanced_accuracy", summary["value"].to_dict())
    # Five classes: majority has a recall of 1 on one stage. The published features are good, so even linear methods
    # must stay clear of the best predictor without a signal, subject by subject.
    blind = evaluation.per_subject()[["majority", "stratified_random", "time_in_run"]].max(axis=1)
    for method in ("lda", "ridge"):
        assert (evaluation.per_subject()[method] > blind + 0.1).all()
        assert summary.loc[method, "low"] > 1 / len(STAGES)
