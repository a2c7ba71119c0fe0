"""Who is tested on what: splits that do not leak, and some that do because published results used them.

Whether a split leaks is not declared by a protocol but found on the windows that were split, by `shares_signal`. Hyper-parameters are
chosen by `InnerValidation` inside the training windows: the test subject is scored once, by a model that was settled before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from eegfmri.errors import RequestError
from eegfmri.windows import Windows


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: indices of training and test windows.

    Attributes
    ----------
    name : str
        Unique within the protocol; names the fold's file.
    train, test : numpy.ndarray
        Indices into the windows.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class LeaveOneSubjectOut:
    """Each subject is tested once by a model that has seen none of its windows.

    Attributes
    ----------
    name : str
        Of the protocol in result keys.
    """

    name: str = "loso"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield one fold per subject."""
        from sklearn.model_selection import LeaveOneGroupOut

        if len(windows.subjects) < 2:
            raise RequestError(f"Leaving one subject out needs at least two subjects, not {len(windows.subjects)}.")
        for train, test in LeaveOneGroupOut().split(np.zeros(len(windows)), groups=windows.groups):
            yield Fold(f"sub-{windows.groups[test[0]]}", train, test)


@dataclass(frozen=True)
class BlockedWithinSubject:
    """Within each subject, contiguous blocks of time are tested; training keeps a gap around each.

    Attributes
    ----------
    n_blocks : int
        Blocks a subject's session is cut into; each is tested once.
    gap : float
        Seconds that must lie between the stretches of signal that a training and a test window touch, contexts on both
        modalities included: at least the haemodynamic response's length, so that no volume remembers the other side.
    name
        As for `LeaveOneSubjectOut`.
    """

    n_blocks: int = 5
    gap: float = 20.0
    name: str = "blocked"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_blocks`` folds per subject; train and test are the same subject's."""
        for subject in windows.subjects:
            own = np.flatnonzero(windows.groups == subject)
            for number, test in enumerate(_blocks(windows, own, self.n_blocks)):
                rest = np.setdiff1d(own, test)
                train = rest[_separated(windows, rest, test, self.gap)]
                if len(test) and len(train):
                    yield Fold(f"sub-{subject}_block-{number + 1}", train, test)


@dataclass(frozen=True)
class ShuffledWithinSubject:
    """Within each subject, windows are assigned at random: neighbours end up on both sides, so it leaks.

    It is here because published results used it, to measure what it would claim.

    Attributes
    ----------
    n_splits : int
        Folds per subject.
    seed : int
        Of the shuffling.
    name
        As for `LeaveOneSubjectOut`.
    """

    n_splits: int = 5
    seed: int = 0
    name: str = "shuffled"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_splits`` folds per subject."""
        from sklearn.model_selection import KFold

        for subject in windows.subjects:
            own = np.flatnonzero(windows.groups == subject)
            if len(own) < self.n_splits:
                raise RequestError(
                    f"Subject {subject} has {len(own)} windows, fewer than the {self.n_splits} folds asked for."
                )
            for number, (train, test) in enumerate(
                KFold(self.n_splits, shuffle=True, random_state=self.seed).split(own)
            ):
                yield Fold(f"sub-{subject}_part-{number + 1}", own[train], own[test])


@dataclass(frozen=True)
class BlockedTogether:
    """One model for all subjects; of each, contiguous blocks of time are tested and training keeps a gap around them.

    Attributes
    ----------
    n_blocks : int
        Blocks each subject's session is cut into; the first of all subjects are tested together, then the second, and so on.
    gap : float
        As for `BlockedWithinSubject`.
    name
        As for `LeaveOneSubjectOut`.
    """

    n_blocks: int = 5
    gap: float = 20.0
    name: str = "blocked"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_blocks`` folds."""
        owns = [np.flatnonzero(windows.groups == subject) for subject in windows.subjects]
        blocks = [_blocks(windows, own, self.n_blocks) for own in owns]
        for number in range(self.n_blocks):
            train = []
            tested = [of_subject[number] for of_subject in blocks]
            for own, block in zip(owns, tested, strict=True):
                rest = np.setdiff1d(own, block)
                train.append(rest[_separated(windows, rest, block, self.gap)])
            train, test = np.concatenate(train), np.concatenate(tested)
            if len(test) and len(train):
                yield Fold(f"block-{number + 1}", train, np.sort(test))


@dataclass(frozen=True)
class ShuffledTogether:
    """All windows of all subjects shuffled into a training and a test part: neighbours end up on both sides, so it leaks.

    Attributes
    ----------
    test_share : float
        Share of windows that are tested.
    n_folds : int
        How many such splits, each drawn anew.
    seed : int
        Of the shuffling.
    name
        As for `LeaveOneSubjectOut`.
    """

    test_share: float = 0.2
    n_folds: int = 1
    seed: int = 0
    name: str = "shuffled"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_folds`` folds."""
        from sklearn.model_selection import ShuffleSplit

        splits = ShuffleSplit(self.n_folds, test_size=self.test_share, random_state=self.seed)
        for number, (train, test) in enumerate(splits.split(np.zeros(len(windows)))):
            yield Fold(f"part-{number + 1}", np.sort(train), np.sort(test))


@dataclass(frozen=True)
class SubjectFolds:
    """Subjects assigned at random to parts of equal size; each part is tested by a model of the others.

    Attributes
    ----------
    n_parts : int
        Parts; with four, a quarter of the subjects is tested and `InnerValidation` with three splits cuts another quarter for
        validation: 50, 25 and 25 %.
    n_folds : int or None
        Test only so many of the parts; all if None.
    seed : int
        Of the assignment.
    name
        As for `LeaveOneSubjectOut`.
    """

    n_parts: int = 4
    n_folds: int | None = None
    seed: int = 0
    name: str = "by_subject"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield up to ``n_parts`` folds."""
        from sklearn.model_selection import GroupKFold

        n_subjects = len(windows.subjects)
        if n_subjects < self.n_parts:
            raise RequestError(f"{n_subjects} subjects cannot be parted into {self.n_parts} parts: ask for fewer.")
        parts = GroupKFold(self.n_parts, shuffle=True, random_state=self.seed)
        splits = islice(parts.split(np.zeros(len(windows)), groups=windows.groups), self.n_folds)
        for number, (train, test) in enumerate(splits):
            yield Fold(f"part-{number + 1}", train, test)


@dataclass(frozen=True)
class HalvesOfSubjects:
    """Every second subject is tested by a model of the others, and the other way round: two folds, for what need not be precise.

    Attributes
    ----------
    name
        As for `LeaveOneSubjectOut`.
    """

    name: str = "halves"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield two folds."""
        if len(windows.subjects) < 2:
            raise RequestError(f"Halves of subjects need at least two subjects, not {len(windows.subjects)}.")
        for number in (0, 1):
            held_out = np.isin(windows.groups, windows.subjects[number::2])
            yield Fold(f"half-{number + 1}", np.flatnonzero(~held_out), np.flatnonzero(held_out))


@dataclass(frozen=True)
class NearestInTime:
    """A few windows of each run are tested by a model that saw the nearest others, none nearer than a gap: always equally many.

    Moving the gap from less to more than the windows' length shows what a shuffled split owes to neighbours.

    Attributes
    ----------
    gap : float
        Seconds from onset to onset between a tested window and the nearest training window of its run, at least.
    n_train : int
        Training windows per run: those nearest to the tested ones that keep the gap.
    n_test : int
        Tested windows per run in a fold, evenly spread.
    n_folds : int
        So many folds, their tested windows lying between each other's.
    name
        As for `LeaveOneSubjectOut`.
    """

    gap: float = 2.0
    n_train: int = 36
    n_test: int = 2
    n_folds: int = 1
    name: str = "apart"

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_folds`` folds, all subjects together."""
        onset = windows.table["onset"].to_numpy()
        runs = windows.table.groupby(["subject", "run"], sort=False).indices
        for number in range(self.n_folds):
            train, test = [], []
            for (subject, run), rows in runs.items():
                share = (np.arange(self.n_test) + (number + 0.5) / self.n_folds) / self.n_test
                tested = rows[np.unique((share * len(rows)).astype(int))]
                distance = np.abs(onset[rows, None] - onset[tested]).min(axis=1)
                nearest = rows[np.argsort(distance, kind="stable")]
                kept = nearest[np.sort(distance) >= self.gap - 1e-6][: self.n_train]
                if len(kept) < self.n_train:
                    raise RequestError(
                        f"Run {run} of subject {subject} has {len(kept)} windows at least {self.gap:g} s from the tested ones, "
                        f"fewer than the {self.n_train} asked for: use fewer, or a smaller gap."
                    )
                train.append(kept)
                test.append(tested)
            yield Fold(f"gap-{self.gap:g}_part-{number + 1}", np.sort(np.concatenate(train)), np.concatenate(test))


Protocol = (
    LeaveOneSubjectOut
    | BlockedWithinSubject
    | ShuffledWithinSubject
    | BlockedTogether
    | ShuffledTogether
    | SubjectFolds
    | HalvesOfSubjects
    | NearestInTime
)


class NoInnerSplit(RequestError):
    """One subject's training windows cannot be parted into training and validation that keep the gap."""


@dataclass(frozen=True)
class InnerValidation:
    """Splits of the training windows for choosing hyper-parameters, as scikit-learn's ``cv``.

    With several training subjects whole subjects are held out. With one, blocks of its time are, and training keeps the gap around each;
    a block beside which no training window is left, or windows of one class only, is passed over. Where that leaves no block, blocks
    half as long are tried, down to single windows.

    Attributes
    ----------
    n_splits : int
        Maximum number of folds.
    gap : float
        Seconds between the signals of training and validation windows of one subject, contexts on both modalities included.
    """

    n_splits: int = 3
    gap: float = 20.0

    def split(self, X: Windows, y=None, groups=None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield training and validation indices into ``X``; refuse with `NoInnerSplit` if no block at all keeps the gap."""
        from sklearn.model_selection import GroupKFold

        if len(X.subjects) > 1:
            n_splits = min(self.n_splits, len(X.subjects))
            yield from GroupKFold(n_splits).split(np.zeros(len(X)), groups=X.groups)
        else:
            yield from self._within_one_subject(X)

    def get_n_splits(self, X: Windows | None = None, y=None, groups=None) -> int:
        """Return how many splits `split` yields."""
        return self.n_splits if X is None else sum(1 for _ in self.split(X))

    def _within_one_subject(self, X: Windows) -> list[tuple[np.ndarray, np.ndarray]]:
        everything, n_classes = np.arange(len(X)), min(2, len(np.unique(X.y)))
        n_blocks = self.n_splits
        while True:
            splits = []
            for validation in _blocks(X, everything, n_blocks):
                rest = np.setdiff1d(everything, validation)
                train = rest[_separated(X, rest, validation, self.gap)]
                if len(validation) and len(train) and len(np.unique(X.y[train])) >= n_classes:
                    splits.append((train, validation))
            if splits:
                return splits[: self.n_splits]
            if n_blocks >= len(X):
                # What may be trained on beside a block may be trained on beside each of its windows: no other cut exists.
                raise NoInnerSplit(
                    f"{len(X)} training windows of subject {', '.join(X.subjects)} cannot be parted into training and validation windows "
                    f"{self.gap:g} s apart: use a smaller gap, shorter windows or more of them."
                )
            n_blocks = min(2 * n_blocks, len(X))


def folds_of(protocol: Protocol, windows: Windows) -> list[Fold]:
    """Return the folds of a protocol, at least one.

    Parameters
    ----------
    protocol : Protocol
        The splits.
    windows : Windows
        To be split.

    Returns
    -------
    list of Fold
        In the protocol's order.

    Raises
    ------
    RequestError
        If none has training and test windows.
    """
    folds = list(protocol.split(windows))
    if not folds:
        raise RequestError(
            f"The protocol {protocol.name!r} leaves no fold with training and test windows: use fewer blocks or a smaller gap."
        )
    return folds


def shares_signal(windows: Windows, fold: Fold) -> bool:
    """Tell whether a training and a test window of a fold overlap: whether the split leaks.

    Parameters
    ----------
    windows : Windows
        That were split.
    fold : Fold
        One of the splits.

    Returns
    -------
    bool
        Whether any sample of EEG or volume of BOLD lies between ``start`` and ``stop`` of both.
    """
    start, stop = (windows.table[name].to_numpy() for name in ("start", "stop"))
    tested = np.isin(np.arange(len(windows)), fold.test)
    trained = np.isin(np.arange(len(windows)), fold.train)
    for rows in windows.table.groupby(["subject", "run"], sort=False).indices.values():
        train, test = rows[trained[rows]], rows[tested[rows]]
        # a microsecond: windows that only touch share nothing, whatever rounding says
        shared = np.minimum(stop[train, None], stop[test]) - np.maximum(start[train, None], start[test]) > 1e-6
        if shared.any():
            return True
    return False


def _blocks(windows: Windows, own: np.ndarray, n_blocks: int) -> list[np.ndarray]:
    """Cut windows, in order of the session, into contiguous blocks of nearly equal size."""
    in_time = own[np.argsort(windows.table["order"].to_numpy()[own], kind="stable")]
    return np.array_split(in_time, n_blocks)


def _separated(windows: Windows, candidates: np.ndarray, test: np.ndarray, gap: float) -> np.ndarray:
    """Tell which candidates lie at least ``gap`` seconds from every test window of the same run, contexts included."""
    start, stop, run = (windows.table[name].to_numpy() for name in ("start", "stop", "run"))
    near = (start[candidates, None] < stop[test] + gap) & (stop[candidates, None] + gap > start[test])
    return ~(near & (run[candidates, None] == run[test])).any(axis=1)
