"""Scores against the number of subjects that a method learns from.

`FewerSubjects` is a protocol made of another one: the same tests, by models that saw fewer of the training subjects.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.evaluation.splits import Fold, Protocol
from eegfmri.windows import Windows


@dataclass(frozen=True)
class FewerSubjects:
    """The folds of another protocol with so many of their training subjects.

    Which ones is drawn at random for each fold, and more of them always include the fewer: a curve over ``n_subjects`` adds
    subjects and exchanges none.

    Attributes
    ----------
    protocol : Protocol
        Whose folds; their tests stay as they are.
    n_subjects : int
        Training subjects that are left.
    seed : int
        Of the order in which they are drawn.
    """

    protocol: Protocol
    n_subjects: int
    seed: int = 0

    @property
    def name(self) -> str:
        """The protocol's name and the number."""
        return f"{self.protocol.name}_of_{self.n_subjects}"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield the protocol's folds with fewer training windows."""
        for number, fold in enumerate(self.protocol.split(windows)):
            groups = windows.groups[fold.train]
            subjects = np.unique(groups)
            if not 1 <= self.n_subjects <= len(subjects):
                raise RequestError(
                    f"Fold {fold.name} of {self.protocol.name} trains on {len(subjects)} subjects: {self.n_subjects} of them "
                    "cannot be taken."
                )
            chosen = np.random.default_rng([self.seed, number]).permutation(subjects)[: self.n_subjects]
            yield Fold(fold.name, fold.train[np.isin(groups, chosen)], fold.test)
