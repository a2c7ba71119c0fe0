"""Whether a test subject was seen: replace all that is known of it, fit again, and compare everything that was learned."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from eegfmri.cache import save_array
from eegfmri.errors import RequestError
from eegfmri.windows import LazyArray, Windows

#: What scikit-learn's searches note of how long fitting took: no part of what was learned.
DURATIONS = frozenset({"mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time", "refit_time_"})


def fitted_digest(estimator) -> str:
    """Hash everything an estimator has learned.

    Parameters
    ----------
    estimator : estimator
        Fitted. Attributes that end in an underscore count, at any depth, as do the weights of torch modules; `DURATIONS` do not.

    Returns
    -------
    str
        Equal for equal fitted states. A leakage test compares it before and after the test subject is replaced.
    """
    state = hashlib.sha256()
    _digest_value(estimator, state, set())
    return state.hexdigest()[:16]


def _digest_value(value, state, seen: set[int]) -> None:
    if isinstance(value, np.ndarray) and value.dtype.names:
        for name in value.dtype.names:  # field by field: between them lies padding, which may hold anything
            _digest_value(value[name], state, seen)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        state.update(str((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (str, bytes, int, float, complex, bool, type(None), np.generic)):
        state.update(repr(value).encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in DURATIONS:
                state.update(str(key).encode())
                _digest_value(value[key], state, seen)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for item in value:
            _digest_value(item, state, seen)
    elif hasattr(value, "state_dict"):
        _digest_value({key: tensor.detach().cpu().numpy() for key, tensor in value.state_dict().items()}, state, seen)
    elif callable(value) and hasattr(value, "__qualname__"):
        state.update(value.__qualname__.encode())
    elif hasattr(value, "__dict__") and id(value) not in seen:
        seen.add(id(value))
        state.update(type(value).__qualname__.encode())
        # An estimator's parameters were given, not learned; of any other object everything counts. Some estimators keep what
        # they learned under a leading underscore only (boosted trees, remembered neighbours).
        learned = vars(value)
        if hasattr(value, "get_params"):
            given = set(value.get_params(deep=False)) - {"steps"}
            learned = {name: item for name, item in learned.items() if name not in given}
        _digest_value(learned, state, seen)
    elif hasattr(value, "__getstate__") and not isinstance(value, type):
        # compiled objects, as a tree's nodes: what they would be copied from is what they hold
        state.update(type(value).__qualname__.encode())
        _digest_value(value.__getstate__(), state, seen)


def poisoned(windows: Windows, subject: str, folder: str | Path, seed: int = 0) -> Windows:
    """Replace all that is known of one subject by noise: signals, features and classes.

    What was fitted without the subject must not change by it: a test of leaks.

    Parameters
    ----------
    windows : Windows
        Windows of several subjects.
    subject : str
        Whose.
    folder : str or pathlib.Path
        Where the noise is kept as long as the windows are used.
    seed : int, default=0
        Of the noise.

    Returns
    -------
    Windows
        Those of other subjects are as they were.
    """
    own = windows.groups == subject
    if not own.any():
        raise RequestError(f"There is no window of subject {subject!r}: choose one of {', '.join(windows.subjects)}.")
    rng = np.random.default_rng(seed)
    spoilt = {}
    for kind in ("eeg", "bold"):
        array = getattr(windows, kind)
        streams = list(array.streams)
        for run in np.unique(array.run[own]):
            values = streams[run].load()
            noise = rng.normal(0, 100 * (float(values.std()) or 1.0), values.shape).astype(values.dtype)
            streams[run] = replace(streams[run], path=save_array(Path(folder) / f"{kind}-{run}.npy", noise))
        spoilt[kind] = LazyArray(streams, array.run, array.first, array.length)
    features = {}
    for name, values in windows.features.items():
        noise = rng.normal(0, 100, values.shape).astype(values.dtype)
        features[name] = np.where(own.reshape(-1, *[1] * (values.ndim - 1)), noise, values)
    y = np.where(own, rng.integers(0, len(windows.classes) or windows.y.max() + 1, len(windows)), windows.y)
    return replace(windows, y=y, features=features, **spoilt)
