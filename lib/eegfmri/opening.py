"""Recordings by name: those of a folder where one is given, simulated ones otherwise.

It stands above the readers and the simulator, so that neither knows of the other.
"""

from functools import partial
from pathlib import Path

from eegfmri.datasets.roots import reader, resolve
from eegfmri.errors import RequestError
from eegfmri.recordings import RecordingSet
from eegfmri.simulation import simulate


def open_recordings(
    data: str | Path | None = None,
    dataset: str = "sleep",
    *,
    preset: str = "realistic",
    scale: str = "small",
    simulation_seed: int = 0,
    source: str | None = None,
    electrodes: str | None = None,
) -> RecordingSet:
    """Open one dataset: yours where it is given, simulated recordings otherwise.

    Parameters
    ----------
    data : str, pathlib.Path or None
        A dataset's top folder, or a folder of them. None: simulated recordings, made on first use.
    dataset : str, default="sleep"
        Which dataset is wanted.
    preset, scale, simulation_seed
        Which simulated recordings, see `eegfmri.simulation.simulate.ensure`.
    source : str or None
        Which of a dataset's two forms of EEG: ``reref`` or ``noGA`` of oddball, ``export`` or ``raw`` of rest; None the first.
    electrodes : str or None
        Of rest, whose subjects have one of two montages: ``common`` or ``own``, see `eegfmri.datasets.rest.read`; None the first.

    Returns
    -------
    RecordingSet
        Headers read, signals not.

    Raises
    ------
    RequestError
        If ``data`` lacks the dataset, or the dataset such a source.
    """
    module = reader(dataset)
    if source is not None and not hasattr(module, "SOURCES"):
        raise RequestError(f"The {dataset} dataset has one form of EEG only: leave out source={source!r}.")
    if electrodes is not None and not hasattr(module, "ELECTRODES"):
        raise RequestError(f"The {dataset} dataset has one montage only: leave out electrodes={electrodes!r}.")
    chosen = {name: value for name, value in (("source", source), ("electrodes", electrodes)) if value is not None}
    read = partial(module.read, **chosen)
    if data is None:
        return read(simulate.ensure(dataset, scale=scale, preset=preset, seed=simulation_seed))
    roots = resolve(data)
    if dataset not in roots:
        raise RequestError(
            f"{data} holds {', '.join(roots)} but not the {dataset} dataset that is needed: add it, or omit --data."
        )
    return read(roots[dataset])
