"""Two controls beside every score: recordings in which there is everything to find, and recordings in which there is nothing.

A method that learns nothing from noise-free, strongly coupled recordings (preset ``strong``) says nothing where it fails on others; what a
method scores where nothing of the brain reaches the BOLD (preset ``uncoupled``) did not come from the brain. Both are recorded runs
of a chapter (`eegfmri.recorded`), set beside the run that made the page.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eegfmri import recorded
from eegfmri.errors import RequestError
from eegfmri.prose import enumerate_names

if TYPE_CHECKING:
    import pandas as pd

#: Presets in the order of their rows, from everything to nothing.
PRESETS = ("strong", "realistic", "weak", "uncoupled")

#: Profiles whose recorded runs are shown, in this order.
PROFILES = ("standard", "quick")

#: What the row of the page's own run is called.
THIS_RUN = "this run"


@dataclass(frozen=True)
class Controls:
    """Scores of a chapter's methods on this page's recordings and on those of its recorded runs.

    Attributes
    ----------
    chapter : str
        Name of the chapter.
    scores : mapping of str to mapping
        By run (`THIS_RUN`, then ``preset, profile (date)``): by method, anything with ``value``, ``low`` and ``high``.
    presets : mapping of str to str
        Preset of each run but the page's own.
    """

    chapter: str
    scores: Mapping[str, Mapping[str, object]]
    presets: Mapping[str, str]

    def table(self) -> "pd.DataFrame":
        """Return one row per run, one column per method, each cell a score with its interval."""
        import pandas as pd

        methods = list(self.scores[THIS_RUN])
        rows = {
            run: [_written(row[method]) if method in row else "–" for method in methods]
            for run, row in self.scores.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=methods)

    def lacking(self) -> list[str]:
        """Return which of the two controls no run was recorded for."""
        return [preset for preset in ("strong", "uncoupled") if preset not in self.presets.values()]

    def above(self, preset: str, bar: float) -> list[str] | None:
        """Say which methods exceed a bar on a preset.

        Parameters
        ----------
        preset : str
            One of `PRESETS`.
        bar : float
            What a score must exceed with its whole interval.

        Returns
        -------
        list of str or None
            Methods by the page's own order, judged by the first run of the preset; None where none is recorded.
        """
        runs = [run for run, found in self.presets.items() if found == preset]
        if not runs:
            return None
        return [method for method, score in self.scores[runs[0]].items() if score.low is not None and score.low > bar]

    def sentences(self, bar: float, score: str, coupled: Collection[str] = ()) -> list[str]:
        """Say in words what the controls show.

        Parameters
        ----------
        bar : float
            What a score must exceed with its whole interval to be more than nothing.
        score : str
            What is scored, as in "a skill".
        coupled : collection of str
            Methods that have something to find even in uncoupled recordings, such as EEG where stages are scored; they are not judged
            there.

        Returns
        -------
        list of str
            One or two sentences on each control, and which are not recorded yet.
        """
        said = []
        strong, nothing = self.above("strong", bar), self.above("uncoupled", bar)
        judged = [method for method in self.scores[THIS_RUN] if method not in coupled]
        if nothing is not None:
            nothing = [method for method in nothing if method in judged]
        if strong is not None:
            failed = [method for method in self.scores[THIS_RUN] if method not in strong]
            said.append(
                f"Where everything is there to be found (*strong*), {enumerate_names(strong)} "
                f"{'has' if len(strong) == 1 else 'have'} {score} above {bar:.3g} with the whole interval."
                if strong
                else f"Where everything is there to be found (*strong*), no method has {score} above {bar:.3g} with its whole interval."
            )
            if failed and strong:
                said.append(
                    f"{enumerate_names(failed)} {'has' if len(failed) == 1 else 'have'} not: what this page says of "
                    f"{'it' if len(failed) == 1 else 'them'} elsewhere is about training as short as this, not about the method."
                )
        if nothing is not None:
            nobody = (
                f"{enumerate_names(judged)} {'has' if len(judged) == 1 else 'have'} not" if coupled else "no method has"
            )
            said.append(
                f"Where nothing of the brain reaches the BOLD (*uncoupled*), {enumerate_names(nothing)} "
                f"still {'does' if len(nothing) == 1 else 'do'}: by body, scanner or time, not by the brain."
                if nothing
                else f"Where nothing of the brain reaches the BOLD (*uncoupled*), {nobody} {score} above {bar:.3g} "
                "with the whole interval, as it should be."
            )
        lacking = self.lacking()
        if lacking:
            said.append(
                f"Not recorded yet: {enumerate_names(lacking)}. To see it, re-execute the page: "
                f"`eegfmri run {self.chapter} -p preset={lacking[0]}`."
            )
        return said


def beside(chapter: str, current: Mapping[str, object], keys: Mapping[str, str]) -> Controls:
    """Set the scores of a page beside those of the chapter's recorded runs.

    Parameters
    ----------
    chapter : str
        Name of the chapter, which the page's front matter lists under ``recorded``.
    current : mapping of str to object
        By method as it is called on the page: its score in this run, with ``value``, ``low`` and ``high``.
    keys : mapping of str to str
        By method: key of that result.

    Returns
    -------
    Controls
        Runs in the order of `PRESETS` and `PROFILES`; a method that a recorded run did not have is left out of its row.

    Raises
    ------
    RequestError
        If methods and keys are not the same.
    """
    if current.keys() != keys.keys():
        raise RequestError(
            f"Scores and keys must be of the same methods: {enumerate_names(sorted(current.keys() ^ keys.keys()))} "
            "is in one of them only."
        )
    scores: dict[str, Mapping[str, object]] = {THIS_RUN: dict(current)}
    presets = {}
    for preset in PRESETS:
        for profile in PROFILES:
            run = recorded.latest(chapter, profile=profile, preset=preset)
            if run is not None:
                title = f"{preset}, {profile} ({run.date})"
                scores[title] = {method: run.results[key] for method, key in keys.items() if key in run.results}
                presets[title] = preset
    return Controls(chapter, scores, presets)


def _written(score: object) -> str:
    if score.value is None:
        return "–"
    ends = "" if score.low is None or score.high is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.value:.3f}{ends}"
