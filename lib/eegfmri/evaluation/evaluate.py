"""The evaluation of classifiers over the folds of a protocol (`eegfmri.evaluation.folds`).

Everything that is fitted is fitted inside a fold, on its training windows only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.base import clone

from eegfmri import metrics
from eegfmri.errors import RequestError
from eegfmri.evaluation.folds import Task, run_folds
from eegfmri.evaluation.splits import NoInnerSplit, Protocol, folds_of, shares_signal
from eegfmri.windows import Windows

#: How a score is taken over subjects: all windows together, or the mean of the subjects' scores.
Averaging = Literal["pooled", "per_subject"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What every method predicted for every test window, and the scores that follow.

    Attributes
    ----------
    protocol : str
        Name of the protocol.
    leaks : bool
        Whether training and test windows of a fold share signal (`eegfmri.evaluation.splits.shares_signal`).
    classes : tuple of str
        Class names.
    predictions : pandas.DataFrame
        One row per method and test window: ``method``, ``fold``, ``subject``, ``window``, ``true``, ``predicted``.
    folds : pandas.DataFrame
        One row per method and fold: ``state`` (hash of everything fitted), ``seconds``, ``n_train``, ``n_test``, ``cached``
        and ``fallback`` (the most frequent class was predicted, since the training windows held a single one or allowed no
        inner validation that keeps its gap).
    extras : mapping of (str, str) to mapping
        By method and fold: what the estimator's ``extras`` returned for the test windows.
    facts : mapping of (str, str) to mapping
        By method and fold: what the estimator's ``learned`` returned of its fitted state.
    seeds : mapping of str to tuple of str
        Of methods that were fitted with several seeds: under which names each of them stands in ``predictions``, itself first. Their
        scores are means over seeds; everything else (confusion, extras, facts) is of the first.
    """

    protocol: str
    leaks: bool
    classes: tuple[str, ...]
    predictions: pd.DataFrame
    folds: pd.DataFrame
    extras: Mapping[tuple[str, str], Mapping[str, list]] = field(default_factory=dict)
    facts: Mapping[tuple[str, str], Mapping[str, list]] = field(default_factory=dict)
    seeds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def extra(self, method: str, name: str) -> np.ndarray:
        """Return an extra output of a method, one row per test window, in the order of `predictions`.

        Parameters
        ----------
        method : str
            A method whose estimator has ``extras``.
        name : str
            Name of the output (``probabilities``, ``gate``).

        Returns
        -------
        numpy.ndarray
            NaN for folds without it, which fell back to the most frequent class.
        """
        folds = self.predictions[self.predictions["method"] == method].groupby("fold", sort=False).size()
        rows = [np.asarray(self.extras[method, fold].get(name, ()), dtype=float) for fold in folds.index]
        shape = next((row.shape[1:] for row in rows if len(row)), ())
        return np.concatenate(
            [row if len(row) else np.full((count, *shape), np.nan) for row, count in zip(rows, folds, strict=True)]
        )

    def learned(self, method: str, name: str) -> np.ndarray:
        """Return a part of a method's fitted state in each fold, shape (n_folds, …).

        Parameters
        ----------
        method : str
            A method whose estimator has ``learned``.
        name : str
            Name of the part (``scalp_adjacency``, ``edge_use``).

        Returns
        -------
        numpy.ndarray
            In the order of folds; those that fell back to the most frequent class are left out.
        """
        of_method = [facts for (owner, _), facts in self.facts.items() if owner == method]
        return np.array([facts[name] for facts in of_method if name in facts])

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order given, each once, with however many seeds."""
        further = {name for names in self.seeds.values() for name in names[1:]}
        return tuple(name for name in dict.fromkeys(self.predictions["method"]) if name not in further)

    def members(self, method: str) -> tuple[str, ...]:
        """Return the names under which a method's seeds stand; of one that has a single seed, its own."""
        return self.seeds.get(method, (method,))

    def constant_folds(self, method: str) -> int:
        """Count folds, over all seeds, in which a method gave one class to all test windows although they hold several."""
        own = self.predictions[self.predictions["method"].isin(self.members(method))].groupby(["method", "fold"])
        levels = own[["true", "predicted"]].nunique()
        return int(((levels["predicted"] == 1) & (levels["true"] > 1)).sum())

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
            seeds={**self.seeds, **other.seeds},
        )

    def add_method_from_extra(self, name: str, method: str, extra: str) -> "Evaluation":
        """Return the evaluation with one more method, whose classes are an extra output of another.

        Parameters
        ----------
        name : str
            Of the new method.
        method, extra : str
            The other method and its output (``fusion``, ``without_eeg``). A fold without it keeps its prediction.

        Returns
        -------
        Evaluation
            Folds and extras are as before.
        """
        added, members = [], self.members(method)
        names = tuple(_of_seed(name, number) for number in range(len(members)))
        for member, new in zip(members, names, strict=True):
            own = self.predictions[self.predictions["method"] == member]
            predicted = self.extra(member, extra)
            predicted = np.where(np.isnan(predicted), own["predicted"], predicted).astype(int)
            added.append(own.assign(method=new, predicted=predicted))
        return replace(
            self,
            predictions=pd.concat([self.predictions, *added], ignore_index=True),
            seeds={**self.seeds, name: names} if len(names) > 1 else self.seeds,
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
        """Score a method, or the difference to another one, with its 95 % interval over subjects (and over seeds, if there are several).

        Subjects are drawn with replacement, and for each drawing seeds are, of each method by itself: so the interval speaks of other
        subjects and of other weights to begin with.

        Parameters
        ----------
        method : str
            Which method.
        score : str, default="balanced_accuracy"
            One of `eegfmri.metrics.scores.SCORES`.
        less : str or None
            A method whose score is subtracted; subjects are drawn for both alike.
        averaging : {"pooled", "per_subject"}
            Score all windows together, or average the subjects' scores.
        seed : int, default=0
            Of the bootstrap.

        Returns
        -------
        eegfmri.metrics.intervals.Interval
            Estimate and limits.
        """
        if averaging == "per_subject":
            table = self.per_subject(score)
            return metrics.bootstrap_mean(table[method] - (table[less] if less else 0.0), seed)
        subjects = list(dict.fromkeys(self.predictions["subject"]))
        counts = [self._counts(name, subjects) for name in ((method, less) if less else (method,))]
        function, rng = metrics.SCORES[score], np.random.default_rng(seed)

        def of_one(of_seeds: np.ndarray, drawn: np.ndarray) -> np.ndarray:
            scores = np.stack([function(of_seed[drawn].sum(axis=-3)) for of_seed in of_seeds], axis=-1)
            if drawn.ndim == 1 or len(of_seeds) == 1:  # the estimate itself
                return scores.mean(axis=-1)
            return np.take_along_axis(scores, rng.integers(len(of_seeds), size=scores.shape), axis=-1).mean(axis=-1)

        def statistic(drawn: np.ndarray) -> np.ndarray:
            first, *second = (of_one(of_seeds, drawn) for of_seeds in counts)
            return first - second[0] if second else first

        return metrics.bootstrap(statistic, len(subjects), seed)

    def _counts(self, method: str, subjects: list[str]) -> np.ndarray:
        """Count true against predicted classes, shape (n_seeds, n_subjects, n_classes, n_classes)."""
        counts = []
        for name in self.members(method):
            parts = dict(iter(self.predictions[self.predictions["method"] == name].groupby("subject")))
            counts.append(
                [metrics.confusion(parts[s]["true"], parts[s]["predicted"], len(self.classes)) for s in subjects]
            )
        return np.array(counts)

    def by_seed(self, method: str, score: str = "balanced_accuracy", *, averaging: Averaging = "pooled") -> np.ndarray:
        """Return the score of each of a method's seeds, shape (n_seeds,)."""
        if averaging == "per_subject":
            return self._of_subjects(score)[list(self.members(method))].mean().to_numpy()
        subjects = list(dict.fromkeys(self.predictions["subject"]))
        return metrics.SCORES[score](self._counts(method, subjects).sum(axis=1))

    def per_subject(self, score: str = "balanced_accuracy") -> pd.DataFrame:
        """Return one score per subject (rows) and method (columns): folds of a subject taken together, the mean over seeds."""
        table = self._of_subjects(score)
        return pd.DataFrame({method: table[list(self.members(method))].mean(axis=1) for method in self.methods})

    def _of_subjects(self, score: str) -> pd.DataFrame:
        """Return one score per subject (rows) and name in ``predictions`` (columns)."""
        function = metrics.SCORES[score]
        values = {
            (method, subject): float(function(metrics.confusion(rows["true"], rows["predicted"])))
            for (method, subject), rows in self.predictions.groupby(["method", "subject"], sort=False)
        }
        table = pd.Series(values).unstack(level=0)
        subjects = dict.fromkeys(self.predictions["subject"])
        return table.loc[list(subjects)]

    def summary(self, score: str = "balanced_accuracy", seed: int = 0) -> pd.DataFrame:
        """Summarise each method: mean over subjects and pooled score, each with its 95 % interval over subjects.

        Parameters
        ----------
        score : str, default="balanced_accuracy"
            One of `eegfmri.metrics.scores.SCORES`.
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
            pooled = self.interval(method, score, seed=seed)
            rows[method] = asdict(mean) | {"pooled": pooled.value, "pooled_low": pooled.low, "pooled_high": pooled.high}
        return pd.DataFrame.from_dict(rows, orient="index")

    def compare(self, pairs: list[tuple[str, str]], score: str = "balanced_accuracy", seed: int = 0) -> pd.DataFrame:
        """Compare methods subject by subject: difference, interval, sign-flip p-value, Holm over the pairs.

        Parameters
        ----------
        pairs : list of (str, str)
            Methods ``a`` and ``b``; the difference is a − b.
        score : str, default="balanced_accuracy"
            One of `eegfmri.metrics.scores.SCORES`.
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
    seeds: Mapping[str, int] | None = None,
    folder: str | Path | None = None,
) -> Evaluation:
    """Fit and test every method in every fold; finished folds are on disk and are not done again.

    Parameters
    ----------
    methods : mapping of str to estimator
        scikit-learn estimators that take `Windows`; each is cloned for each fold.
    windows : Windows
        All windows, training and test.
    protocol : Protocol
        The splits.
    n_jobs : int, default=1
        Folds run in this many processes.
    seeds : mapping of str to int or None
        Methods that are fitted with several seeds, and with how many: the estimator's own and those that follow it.
    folder : str, pathlib.Path or None
        Where finished folds are kept; None: the project's cache. Each lies under a key of method, parameters, code, windows,
        protocol and library versions, so an interrupted or repeated run computes what is unfinished only.

    Returns
    -------
    Evaluation
        Predictions and fitted-state hashes of all folds.
    """
    folds = folds_of(protocol, windows)
    groups = {name: tuple(_of_seed(name, number) for number in range(n)) for name, n in (seeds or {}).items() if n > 1}
    if missing := [name for name in seeds or {} if name not in methods]:
        raise RequestError(f"Seeds are asked for {', '.join(missing)}, which is none of the methods.")
    methods = dict(methods) | {
        member: clone(methods[name]).set_params(seed=methods[name].seed + number)
        for name, members in groups.items()
        for number, member in enumerate(members)
        if number
    }
    done = run_folds(
        methods,
        [(windows, fold) for fold in folds],
        _measure,
        name=protocol.name,
        code=__name__,
        n_jobs=n_jobs,
        folder=folder,
    )
    predictions, summaries, extras, learned = [], [], {}, {}
    for task, cached in done:
        method, fold, written = task.method, task.fold, task.read()
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
        summaries.append({"method": method, "fold": fold.name, **facts, "cached": cached})
    return Evaluation(
        protocol.name,
        any(shares_signal(windows, fold) for fold in folds),
        windows.classes,
        pd.concat(predictions, ignore_index=True),
        pd.DataFrame(summaries),
        extras,
        learned,
        groups,
    )


def _of_seed(method: str, number: int) -> str:
    """Name a method's seed in `Evaluation.predictions`; the first has the method's own name."""
    return f"{method} (seed {number + 1})" if number else method


def _measure(task: Task, estimator, train: Windows, test: Windows) -> tuple[object, dict]:
    """Predict the test windows; by the most frequent class where the training windows do not allow to learn more."""
    from sklearn.dummy import DummyClassifier

    fallback = len(np.unique(train.y)) < 2
    try:
        fitted = estimator if fallback else estimator.fit(train, train.y)
    except NoInnerSplit:
        fallback = True
    if fallback:
        fitted = DummyClassifier(strategy="most_frequent").fit(train, train.y)
    return fitted, {
        "predicted": np.asarray(fitted.predict(test)).astype(int).tolist(),
        "fallback": bool(fallback),
        "extras": fitted.extras(test) if hasattr(fitted, "extras") else {},
        "learned": fitted.learned(test) if hasattr(fitted, "learned") else {},
    }
