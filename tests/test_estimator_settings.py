"""What estimators share: settings that scikit-learn can copy, and one rule for adaptation to a subject's EEG."""

import numpy as np
import pytest
from sklearn.base import clone

from eegfmri.errors import RequestError
from eegfmri.estimators.adaptation import AdaptedEstimator
from eegfmri.estimators.engineered import BestOf
from eegfmri.estimators.graph_fusion import GraphFusionClassifier
from eegfmri.estimators.saliency_fusion import MultiViewReconstructor, SaliencyGcnnClassifier
from eegfmri.estimators.synthesis import VolumeSynthesiser
from eegfmri.estimators.training import TrainedEstimator
from eegfmri.estimators.transformer_cnn import AutoencoderReconstruction, TransformerCnnRegressor, UNetRegressor
from eegfmri.estimators.volume_baselines import BandPowerRidge, TrainingMean
from windows_made import cut, made_recording

TRAINED = (
    GraphFusionClassifier,
    SaliencyGcnnClassifier,
    MultiViewReconstructor,
    VolumeSynthesiser,
    TransformerCnnRegressor,
    UNetRegressor,
)
ADAPTED = (GraphFusionClassifier, SaliencyGcnnClassifier, VolumeSynthesiser, TransformerCnnRegressor, UNetRegressor)
OTHERS = (AutoencoderReconstruction, BandPowerRidge, TrainingMean, BestOf)


def made(kind, **settings):
    return kind(**({"modality": "eeg"} if kind is BestOf else {}), **settings)


@pytest.mark.parametrize("kind", [*TRAINED, *OTHERS])
def test_an_estimator_is_copied_with_its_parameters_and_set_by_name(kind):
    estimator = made(kind)
    parameters = estimator.get_params()
    assert clone(estimator).get_params() == parameters
    assert set(vars(estimator)) == set(parameters), "nothing is kept that is no parameter before it is fitted"
    for name in {"seed", "n_components", "by_subject"} & set(parameters):
        expected = parameters | {name: 7}
        assert clone(estimator).set_params(**{name: 7}).get_params() == made(kind, **{name: 7}).get_params() == expected


@pytest.mark.parametrize("kind", TRAINED)
def test_every_network_has_the_settings_of_training(kind):
    shared = set(TrainedEstimator().get_params())
    assert shared == {
        "n_training_epochs", "patience", "batch_size", "learning_rate", "weight_decay", "schedule", "validation_splits", "seed",
        "device",
    }  # fmt: skip
    assert shared <= set(kind().get_params())


@pytest.fixture
def windows(tmp_path):
    runs = [
        made_recording(tmp_path, subject, f"task-{run}", ["W"] * 12) for subject in ("01", "02") for run in ("a", "b")
    ]
    return cut(runs, bold_volumes=4)


def test_calibration_is_the_first_minutes_of_the_first_run_for_all(windows):
    seen = {}

    def learn(own):
        seen[own.subjects[0]] = own
        return np.ones(2)

    estimator = AdaptedEstimator(adaptation="calibration", calibration_minutes=2.0)
    found = estimator.adapted(windows, {"01": np.zeros(2)}, learn)
    assert list(seen) == ["02"], "a training subject keeps what was learned"
    assert (found["01"] == 0).all()
    assert set(seen["02"].table["run"]) == {"task-a"}
    assert seen["02"].table["onset"].tolist() == [0.0, 30.0, 60.0, 90.0]
    estimator.adapted(windows, {}, learn, adaptation="transductive")
    assert len(seen["02"]) == (windows.groups == "02").sum()


def test_without_adaptation_a_new_subject_gets_the_mean_of_the_training_subjects(windows):
    estimator = AdaptedEstimator(adaptation="none")
    known = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 6.0])}
    np.testing.assert_array_equal(estimator.adapted(windows, known, None)["01"], [2.0, 4.0])
    assert estimator.adapted(windows, known, None, unadapted="pooled")["02"] == "pooled"


@pytest.mark.parametrize("kind", [*ADAPTED, BandPowerRidge])
def test_an_adaptation_that_does_not_exist_is_refused(kind):
    assert kind().adaptation in ("transductive", "none")
    with pytest.raises(RequestError, match="adaptation is 'transductive', 'calibration' or 'none', not 'all'"):
        kind(adaptation="all").check_adaptation()
