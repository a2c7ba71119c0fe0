"""Who is tested on what: splits that do not leak, one that does, and the evaluation over their folds.

Everything that is fitted is fitted inside a fold, on its training windows only. Hyper-parameters are chosen by
`InnerValidation` inside the training windows: the test subject is scored once, by a model that was settled before.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from eegfmri import cache, metrics, project
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.windows import Windows

#: How a score is taken over subjects: all windows together, or the mean of the subjects' scores.
Averaging = Literal["pooled", "per_subject"]


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
    leaks : bool
        Whether training and test windows share signal.
    """

    name: str = "loso"
    leaks: bool = False

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield one fold per subject."""
        if len(windows.subjects) < 2:
            raise RequestError(f"Leaving one subject out needs at least two subjects, not {len(windows.subjects)}.")
        for subject in windows.subjects:
            held_out = windows.groups == subject
            yield Fold(f"sub-{subject}", np.flatnonzero(~held_out), np.flatnonzero(held_out))


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
    name, leaks
        As for `LeaveOneSubjectOut`.
    """

    n_blocks: int = 5
    gap: float = 20.0
    name: str = "blocked"
    leaks: bool = False

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
    """Within each subject, windows are dealt out at random: neighbours end up on both sides, so it leaks.

    It is here because published results used it, to measure what it would claim.

    Attributes
    ----------
    n_splits : int
        Folds per subject.
    seed : int
        Of the shuffling.
    name, leaks
        As for `LeaveOneSubjectOut`.
    """

    n_splits: int = 5
    seed: int = 0
    name: str = "shuffled"
    leaks: bool = True

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
        Blocks each subject's session is cut into; the first of everyone are tested together, then the second, and so on.
    gap : float
        As for `BlockedWithinSubject`.
    name, leaks
        As for `LeaveOneSubjectOut`.
    """

    n_blocks: int = 5
    gap: float = 20.0
    name: str = "blocked"
    leaks: bool = False

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_blocks`` folds."""
        owns = [np.flatnonzero(windows.groups == subject) for subject in windows.subjects]
        blocks = [_blocks(windows, own, self.n_blocks) for own in owns]
        for number in range(self.n_blocks):
            train = []
            for own, theirs in zip(owns, blocks, strict=True):
                rest = np.setdiff1d(own, theirs[number])
                train.append(rest[_separated(windows, rest, theirs[number], self.gap)])
            train, test = np.concatenate(train), np.concatenate([theirs[number] for theirs in blocks])
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
    name, leaks
        As for `LeaveOneSubjectOut`.
    """

    test_share: float = 0.2
    n_folds: int = 1
    seed: int = 0
    name: str = "shuffled"
    leaks: bool = True

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield ``n_folds`` folds."""
        from sklearn.model_selection import ShuffleSplit

        splits = ShuffleSplit(self.n_folds, test_size=self.test_share, random_state=self.seed)
        for number, (train, test) in enumerate(splits.split(np.zeros(len(windows)))):
            yield Fold(f"part-{number + 1}", np.sort(train), np.sort(test))


@dataclass(frozen=True)
class SubjectFolds:
    """Subjects dealt into parts of equal size; each part is tested by a model of the others.

    Attributes
    ----------
    n_parts : int
        Parts; with four, a quarter of the subjects is tested and `InnerValidation` with three splits cuts another quarter for
        validation: 50, 25 and 25 %.
    n_folds : int or None
        Test only so many of the parts; all if None.
    seed : int
        Of the dealing.
    name, leaks
        As for `LeaveOneSubjectOut`.
    """

    n_parts: int = 4
    n_folds: int | None = None
    seed: int = 0
    name: str = "by_subject"
    leaks: bool = False

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield up to ``n_parts`` folds."""
        subjects = np.array(windows.subjects)
        if len(subjects) < self.n_parts:
            raise RequestError(f"{len(subjects)} subjects cannot be dealt into {self.n_parts} parts: ask for fewer.")
        parts = np.array_split(np.random.default_rng(self.seed).permutation(subjects), self.n_parts)
        for number, part in enumerate(parts[: self.n_folds]):
            tested = np.isin(windows.groups, part)
            yield Fold(f"part-{number + 1}", np.flatnonzero(~tested), np.flatnonzero(tested))


@dataclass(frozen=True)
class HalvesOfSubjects:
    """Every second person is tested by a model of the others, and the other way round: two folds, for what need not be precise.

    Attributes
    ----------
    name, leaks
        As for `LeaveOneSubjectOut`.
    """

    name: str = "halves"
    leaks: bool = False

    def split(self, windows: Windows) -> Iterator[Fold]:
        """Yield two folds."""
        if len(windows.subjects) < 2:
            raise RequestError(f"Halves of people need at least two people, not {len(windows.subjects)}.")
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
    name, leaks
        As for `LeaveOneSubjectOut`; it leaks for gaps below the windows' length.
    """

    gap: float = 2.0
    n_train: int = 36
    n_test: int = 2
    n_folds: int = 1
    name: str = "apart"
    leaks: bool = True

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


@dataclass(frozen=True)
class InnerValidation:
    """Splits of the training windows for choosing hyper-parameters, as scikit-learn's ``cv``.

    With several training subjects whole subjects are held out; with one, blocks of its time with a gap.

    Attributes
    ----------
    n_splits : int
        At most this many folds.
    gap : float
        Seconds between training and validation windows of one subject.
    """

    n_splits: int = 3
    gap: float = 20.0

    def split(self, X: Windows, y=None, groups=None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield training and validation indices into ``X``."""
        from sklearn.model_selection import GroupKFold

        if len(X.subjects) > 1:
            n_splits = min(self.n_splits, len(X.subjects))
            yield from GroupKFold(n_splits).split(np.zeros(len(X)), groups=X.groups)
            return
        everything = np.arange(len(X))
        for test in _blocks(X, everything, self.n_splits):
            rest = np.setdiff1d(everything, test)
            train = rest[_separated(X, rest, test, self.gap)]
            # A side block without neighbours far enough away still needs something to be trained on.
            yield (train if len(np.unique(X.y[train])) > 1 else rest), test

    def get_n_splits(self, X: Windows | None = None, y=None, groups=None) -> int:
        """Return how many splits `split` yields."""
        return min(self.n_splits, len(X.subjects)) if X is not None and len(X.subjects) > 1 else self.n_splits


def _blocks(windows: Windows, own: np.ndarray, n_blocks: int) -> list[np.ndarray]:
    """Cut windows, in order of the session, into contiguous blocks of nearly equal size."""
    in_time = own[np.argsort(windows.table["order"].to_numpy()[own], kind="stable")]
    return np.array_split(in_time, n_blocks)


def _separated(windows: Windows, candidates: np.ndarray, test: np.ndarray, gap: float) -> np.ndarray:
    """Tell which candidates lie at least ``gap`` seconds from every test window of the same run, contexts included."""
    start, stop, run = (windows.table[name].to_numpy() for name in ("start", "stop", "run"))
    near = (start[candidates, None] < stop[test] + gap) & (stop[candidates, None] + gap > start[test])
    return ~(near & (run[candidates, None] == run[test])).any(axis=1)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What every method predicted for every test window, and the scores that follow.

    Attributes
    ----------
    protocol : str
        Name of the protocol.
    leaks : bool
        Whether the protocol leaks.
    classes : tuple of str
        Class names.
    predictions : pandas.DataFrame
        One row per method and test window: ``method``, ``fold``, ``subject``, ``window``, ``true``, ``predicted``.
    folds : pandas.DataFrame
        One row per method and fold: ``state`` (hash of everything fitted), ``seconds``, ``n_train``, ``n_test``, ``cached``
        and ``fallback`` (the training windows held a single class, so it was predicted).
    extras : mapping of (str, str) to mapping
        By method and fold: what the estimator's ``extras`` said of the test windows.
    facts : mapping of (str, str) to mapping
        By method and fold: what the estimator's ``learned`` said of what it had learned.
    """

    protocol: str
    leaks: bool
    classes: tuple[str, ...]
    predictions: pd.DataFrame
    folds: pd.DataFrame
    extras: Mapping[tuple[str, str], Mapping[str, list]] = field(default_factory=dict)
    facts: Mapping[tuple[str, str], Mapping[str, list]] = field(default_factory=dict)

    def extra(self, method: str, name: str) -> np.ndarray:
        """Return something that a method said beside its classes, one row per test window, in the order of `predictions`.

        Parameters
        ----------
        method : str
            A method whose estimator has ``extras``.
        name : str
            What it said (``probabilities``, ``gate``).

        Returns
        -------
        numpy.ndarray
            NaN for folds that did not say it (their training windows held one class).
        """
        folds = self.predictions[self.predictions["method"] == method].groupby("fold", sort=False).size()
        rows = [np.asarray(self.extras[method, fold].get(name, ()), dtype=float) for fold in folds.index]
        shape = next((row.shape[1:] for row in rows if len(row)), ())
        return np.concatenate(
            [row if len(row) else np.full((count, *shape), np.nan) for row, count in zip(rows, folds, strict=True)]
        )

    def learned(self, method: str, name: str) -> np.ndarray:
        """Return something that a method had learned in each fold, shape (n_folds, …).

        Parameters
        ----------
        method : str
            A method whose estimator has ``learned``.
        name : str
            What it said (``scalp_adjacency``, ``edge_use``).

        Returns
        -------
        numpy.ndarray
            In the order of folds; those whose training windows held one class are left out.
        """
        of_method = [facts for (owner, _), facts in self.facts.items() if owner == method]
        return np.array([facts[name] for facts in of_method if name in facts])

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order given."""
        return tuple(dict.fromkeys(self.predictions["method"]))

    def joined(self, other: "Evaluation") -> "Evaluation":
        """Return one evaluation with the methods of both, which are of the same windows and protocol.

        Raises
        ------
        RequestError
            If protocols, classes or test windows differ, or a method occurs in both.
        """
        tested = [set(zip(e.predictions["fold"], e.predictions["window"], strict=True)) for e in (self, other)]
        if (self.protocol, self.classes) != (other.protocol, other.classes) or tested[0] != tested[1]:
            raise RequestError("Only evaluations of the same windows under the same protocol can be joined.")
        if twice := set(self.methods) & set(other.methods):
            raise RequestError(
                f"Both evaluations hold {', '.join(sorted(twice))}: give the methods names of their own."
            )
        return replace(
            self,
            predictions=pd.concat([self.predictions, other.predictions], ignore_index=True),
            folds=pd.concat([self.folds, other.folds], ignore_index=True),
            extras={**self.extras, **other.extras},
            facts={**self.facts, **other.facts},
        )

    def with_said(self, name: str, method: str, extra: str) -> "Evaluation":
        """Return the evaluation with one more method, whose classes another method said as an extra.

        Parameters
        ----------
        name : str
            Of the new method.
        method, extra : str
            Who said what (``fusion``, ``without_eeg``). Where a fold did not say it, its prediction stands.

        Returns
        -------
        Evaluation
            Folds and extras are as before.
        """
        own = self.predictions[self.predictions["method"] == method]
        said = self.extra(method, extra)
        said = np.where(np.isnan(said), own["predicted"], said).astype(int)
        return replace(
            self, predictions=pd.concat([self.predictions, own.assign(method=name, predicted=said)], ignore_index=True)
        )

    def interval(
        self,
        method: str,
        score: str = "balanced_accuracy",
        *,
        less: str | None = None,
        averaging: Averaging = "pooled",
        seed: int = 0,
    ) -> metrics.Interval:
        """Score a method, or the difference to another one, with its 95 % interval over subjects.

        Parameters
        ----------
        method : str
            Which method.
        score : str, default="balanced_accuracy"
            One of `eegfmri.metrics.SCORES`.
        less : str or None
            A method whose score is subtracted; subjects are drawn for both alike.
        averaging : {"pooled", "per_subject"}
            Score all windows together, or average the subjects' scores.
        seed : int, default=0
            Of the bootstrap.

        Returns
        -------
        eegfmri.metrics.Interval
            Estimate and limits.
        """
        if averaging == "per_subject":
            table = self.per_subject(score)
            return metrics.bootstrap_mean(table[method] - (table[less] if less else 0.0), seed)
        subjects = list(dict.fromkeys(self.predictions["subject"]))
        counts = []
        for name in (method, less) if less else (method,):
            own = self.predictions[self.predictions["method"] == name]
            parts = dict(iter(own.groupby("subject")))
            counts.append(
                np.array(
                    [metrics.confusion(parts[s]["true"], parts[s]["predicted"], len(self.classes)) for s in subjects]
                )
            )
        function = metrics.SCORES[score]

        def statistic(drawn: np.ndarray) -> np.ndarray:
            first, *second = (function(of_method[drawn].sum(axis=-3)) for of_method in counts)
            return first - second[0] if second else first

        return metrics.bootstrap(statistic, len(subjects), seed)

    def per_subject(self, score: str = "balanced_accuracy") -> pd.DataFrame:
        """Return one score per subject (rows) and method (columns), folds of a subject taken together."""
        function = metrics.SCORES[score]
        values = {
            (method, subject): float(function(metrics.confusion(rows["true"], rows["predicted"])))
            for (method, subject), rows in self.predictions.groupby(["method", "subject"], sort=False)
        }
        table = pd.Series(values).unstack(level=0)
        subjects = dict.fromkeys(self.predictions["subject"])
        return table.loc[list(subjects), list(self.methods)]

    def summary(self, score: str = "balanced_accuracy", seed: int = 0) -> pd.DataFrame:
        """Summarise each method: mean over subjects and pooled score, each with its 95 % interval over subjects.

        Parameters
        ----------
        score : str, default="balanced_accuracy"
            One of `eegfmri.metrics.SCORES`.
        seed : int, default=0
            Of the bootstrap.

        Returns
        -------
        pandas.DataFrame
            Indexed by method; ``value``, ``low``, ``high``, ``n``, then ``pooled``, ``pooled_low``, ``pooled_high``.
        """
        by_subject = self.per_subject(score)
        rows = {}
        for method in self.methods:
            mean = metrics.bootstrap_mean(by_subject[method], seed)
            own = self.predictions[self.predictions["method"] == method]
            pooled = metrics.bootstrap_pooled(score, own["true"], own["predicted"], own["subject"], seed)
            rows[method] = asdict(mean) | {"pooled": pooled.value, "pooled_low": pooled.low, "pooled_high": pooled.high}
        return pd.DataFrame.from_dict(rows, orient="index")

    def compare(self, pairs: list[tuple[str, str]], score: str = "balanced_accuracy", seed: int = 0) -> pd.DataFrame:
        """Compare methods subject by subject: difference, interval, sign-flip p-value, Holm over the pairs.

        Parameters
        ----------
        pairs : list of (str, str)
            Methods ``a`` and ``b``; the difference is a − b.
        score : str, default="balanced_accuracy"
            One of `eegfmri.metrics.SCORES`.
        seed : int, default=0
            Of bootstrap and test.

        Returns
        -------
        pandas.DataFrame
            ``a``, ``b``, ``difference``, ``low``, ``high``, ``n``, ``p``, ``p_holm``.
        """
        return metrics.compare_pairs(self.per_subject(score), pairs, seed)

    def confusion(self, method: str) -> pd.DataFrame:
        """Count true (rows) against predicted (columns) classes of a method over all test windows."""
        own = self.predictions[self.predictions["method"] == method]
        counts = metrics.confusion(own["true"], own["predicted"], len(self.classes))
        return pd.DataFrame(counts, index=list(self.classes), columns=list(self.classes))


def evaluate(
    methods: Mapping[str, object],
    windows: Windows,
    protocol: Protocol,
    *,
    n_jobs: int = 1,
    folder: str | Path | None = None,
) -> Evaluation:
    """Fit and test every method in every fold; finished folds are on disk and are not done again.

    Parameters
    ----------
    methods : mapping of str to estimator
        scikit-learn estimators that take `Windows`; each is cloned for each fold.
    windows : Windows
        All windows, training and test.
    protocol : LeaveOneSubjectOut, BlockedWithinSubject or ShuffledWithinSubject
        The splits.
    n_jobs : int, default=1
        Folds run in this many processes.
    folder : str, pathlib.Path or None
        Where finished folds are kept; None: the project's cache. Each lies under a key of method, parameters, code, windows,
        protocol and library versions, so an interrupted or repeated run computes what is unfinished only.

    Returns
    -------
    Evaluation
        Predictions and fitted-state hashes of all folds.
    """
    import joblib

    folds = list(protocol.split(windows))
    if not folds:
        raise RequestError(
            f"The protocol {protocol.name!r} leaves no fold with training and test windows: use fewer blocks or a smaller gap."
        )
    folder = Path(folder) if folder is not None else project.cache_dir() / "folds"
    common = cache.digest(
        windows.digest,
        asdict(protocol),
        type(protocol).__name__,
        cache.versions("numpy", "scipy", "scikit-learn"),
    )
    tasks = []
    for method, estimator in methods.items():
        key = cache.digest(
            common, method, parameter_text(estimator), cache.code_digest(__name__, *modules_of(estimator))
        )
        tasks += [
            (method, estimator, fold, folder / f"{protocol.name}-{method}-{key}" / f"{fold.name}.json")
            for fold in folds
        ]
    unfinished = [task for task in tasks if not task[3].is_file()]
    done = {task[3] for task in tasks} - {task[3] for task in unfinished}
    joblib.Parallel(n_jobs=min(n_jobs, max(1, len(unfinished))), backend="loky")(
        joblib.delayed(_run_fold)(estimator, windows, fold, path) for _, estimator, fold, path in unfinished
    )
    predictions, summaries, extras, learned = [], [], {}, {}
    for method, _, fold, path in tasks:
        written = cache.read_json(path)
        predictions.append(
            pd.DataFrame(
                {
                    "method": method,
                    "fold": fold.name,
                    "subject": windows.groups[fold.test],
                    "window": fold.test,
                    "true": windows.y[fold.test],
                    "predicted": written["predicted"],
                }
            )
        )
        facts = {name: written[name] for name in ("state", "seconds", "n_train", "n_test", "fallback")}
        extras[method, fold.name], learned[method, fold.name] = written["extras"], written["learned"]
        summaries.append({"method": method, "fold": fold.name, **facts, "cached": path in done})
    return Evaluation(
        protocol.name,
        protocol.leaks,
        windows.classes,
        pd.concat(predictions, ignore_index=True),
        pd.DataFrame(summaries),
        extras,
        learned,
    )


def _run_fold(estimator, windows: Windows, fold: Fold, path: Path) -> None:
    """Fit on the training windows, predict the test windows, write the fold whole."""
    from sklearn.base import clone
    from sklearn.dummy import DummyClassifier
    from threadpoolctl import threadpool_limits

    started = time.perf_counter()
    train, test = windows[fold.train], windows[fold.test]
    # One thread: sums come out in the same order whatever the number of workers, so results repeat to the last bit.
    with threadpool_limits(1):
        fallback = len(np.unique(train.y)) < 2
        fitted = DummyClassifier(strategy="most_frequent") if fallback else clone(estimator)
        try:
            fitted.fit(train, train.y)
            predicted = fitted.predict(test)
            extras = fitted.extras(test) if hasattr(fitted, "extras") else {}
            learned = fitted.learned(test) if hasattr(fitted, "learned") else {}
        except Exception as error:
            raise EegFmriError(
                f"Fold {fold.name} of {path.parent.name} failed: {type(error).__name__}: {error}"
            ) from error
    cache.write_json(
        path,
        {
            "predicted": np.asarray(predicted).astype(int).tolist(),
            "state": fitted_digest(fitted),
            "seconds": time.perf_counter() - started,
            "n_train": len(train),
            "n_test": len(test),
            "fallback": bool(fallback),
            "extras": extras,
            "learned": learned,
        },
    )


def parameter_text(estimator) -> str:
    """Write an estimator's class and all its parameters, nested ones included, as text for a cache key."""
    parameters = {
        name: value if isinstance(value, (int, float, str, bool, type(None), list, tuple)) else _described(value)
        for name, value in sorted(estimator.get_params(deep=True).items())
    }
    return f"{type(estimator).__qualname__}:{json.dumps(parameters, sort_keys=True, default=_described)}"


def modules_of(estimator) -> set[str]:
    """Return the modules that define an estimator and whatever its parameters hold."""
    return {
        getattr(value, "__module__", type(value).__module__) for value in (estimator, *estimator.get_params().values())
    }


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return cache.digest(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "get_params"):
        return type(value).__qualname__
    return str(value)


def fitted_digest(estimator) -> str:
    """Hash everything an estimator has learned.

    Parameters
    ----------
    estimator : estimator
        Fitted. Attributes that end in an underscore count, at any depth, as do the weights of torch modules; times do not.

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
            if "time" not in str(key):  # how long fitting took is no part of what was learned
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
