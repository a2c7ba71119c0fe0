"""What of a subject's unlabelled EEG a method may adapt to: one rule for every estimator.

A training subject's EEG is scaled (centred, whitened) by what was learned from its training windows. For a subject that was not trained
on, the same is learned from all of its unlabelled windows (transductive), from the first minutes of its first run (calibration), or not
at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import numpy as np
from sklearn.base import BaseEstimator

from eegfmri.errors import RequestError
from eegfmri.windows import Windows

Adaptation = Literal["transductive", "calibration", "none"]


@dataclass(eq=False, repr=False)
class AdaptedEstimator(BaseEstimator):
    """An estimator that scales the EEG of each subject.

    Attributes
    ----------
    adaptation : {"transductive", "calibration", "none"}, default="transductive"
        What the scaling of a new subject is learned from: all of its unlabelled windows; those of the first minutes of its first
        run; or nothing, and it is given the training subjects' mean scaling.
    calibration_minutes : float, default=5.0
        How much ``"calibration"`` may use.
    """

    _: KW_ONLY
    adaptation: Adaptation = "transductive"
    calibration_minutes: float = 5.0

    def check_adaptation(self) -> None:
        """Refuse an adaptation that does not exist."""
        if self.adaptation not in get_args(Adaptation):
            raise RequestError(f"adaptation is 'transductive', 'calibration' or 'none', not {self.adaptation!r}.")

    def adapted(
        self,
        X: Windows,
        known: Mapping[str, object],
        learn: Callable[[Windows], object],
        *,
        unadapted: object = None,
        adaptation: Adaptation | None = None,
    ) -> dict[str, object]:
        """Return the scaling of each subject.

        Parameters
        ----------
        X : Windows
            Of any subjects; those of a new subject together.
        known : mapping of str to object
            Scaling of training subjects.
        learn : callable
            Learns the scaling of one subject from some of its windows.
        unadapted : object
            Scaling of a new subject without adaptation; None: the mean of ``known``.
        adaptation : {"transductive", "calibration", "none"} or None
            Another one than the estimator's.

        Returns
        -------
        dict of str to object
            By subject, in the order of ``X``.
        """
        adaptation, found = adaptation or self.adaptation, {}
        for subject in X.subjects:
            if subject in known:
                found[subject] = known[subject]
            elif adaptation == "none":
                found[subject] = np.mean(list(known.values()), axis=0) if unadapted is None else unadapted
            else:
                own = X[subject == X.groups]
                found[subject] = learn(
                    own.start_of_session(self.calibration_minutes) if adaptation == "calibration" else own
                )
        return found
