"""The datasets: readers of their real layouts, one module each, and the simulator that writes the same layouts."""

import importlib
from pathlib import Path

from eegfmri.errors import RequestError
from eegfmri.recordings import DATASETS, RecordingSet

#: Modules that read a dataset: each has ``is_root(folder)`` and ``read(root)``.
READERS = {name: f"eegfmri.datasets.{name}" for name in ("sleep", "oddball")}


def reader(dataset: str):
    """Return the module that reads a dataset.

    Parameters
    ----------
    dataset : str
        ``sleep``, ``oddball`` or ``rest``.

    Returns
    -------
    module
        With ``is_root(folder)`` and ``read(root)``.

    Raises
    ------
    RequestError
        If there is no such dataset, or no reader for it.
    """
    if dataset not in DATASETS:
        raise RequestError(f"There is no dataset {dataset!r}: choose one of {', '.join(DATASETS)}.")
    if dataset not in READERS:
        raise RequestError(f"The dataset {dataset!r} cannot be read yet: readers exist for {', '.join(READERS)}.")
    return importlib.import_module(READERS[dataset])


def recognise(folder: str | Path) -> list[tuple[str, Path]]:
    """Find datasets by their content, in a folder itself or in the folders directly inside it.

    Parameters
    ----------
    folder : str or pathlib.Path
        One dataset's top folder, or a folder of them.

    Returns
    -------
    list of (str, pathlib.Path)
        Name and top folder of each dataset found.
    """
    folder = Path(folder)
    found = [(name, folder) for name in READERS if reader(name).is_root(folder)]
    if found or not folder.is_dir():
        return found
    return [
        (name, inner)
        for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        for name in READERS
        if reader(name).is_root(inner)
    ]


def resolve(data: str | Path | None) -> dict[str, Path]:
    """Map dataset names to their top folders, for ``--data DIR``.

    Parameters
    ----------
    data : str, pathlib.Path or None
        One dataset's top folder, or a folder of them; None finds nothing.

    Returns
    -------
    dict of str to pathlib.Path
        One entry per dataset found.

    Raises
    ------
    RequestError
        If the folder does not exist, holds no dataset, or two of one kind.
    """
    if data is None:
        return {}
    folder = Path(data)
    if not folder.is_dir():
        raise RequestError(
            f"There is no folder {folder}: give --data the top folder of a dataset, or a folder of them."
        )
    roots: dict[str, Path] = {}
    for name, root in recognise(folder):
        if name in roots:
            raise RequestError(
                f"{folder} holds two {name} datasets ({roots[name].name} and {root.name}): name one of them."
            )
        roots[name] = root.resolve()
    if not roots:
        raise RequestError(
            f"No dataset was recognised in {folder}: expected the layout of ds003768 (sourcedata/sub-XX-sleep-stage.tsv)."
        )
    return roots


def open_recordings(
    data: str | Path | None = None,
    dataset: str = "sleep",
    *,
    preset: str = "realistic",
    scale: str = "small",
    simulation_seed: int = 0,
) -> RecordingSet:
    """Open one dataset: yours where it is given, simulated recordings otherwise.

    Parameters
    ----------
    data : str, pathlib.Path or None
        A dataset's top folder, or a folder of them. None: simulated recordings, made on first use.
    dataset : str, default="sleep"
        Which dataset is wanted.
    preset, scale, simulation_seed
        Which simulated recordings, see `eegfmri.datasets.simulate.ensure`.

    Returns
    -------
    RecordingSet
        Headers read, signals not.

    Raises
    ------
    RequestError
        If ``data`` lacks the dataset.
    """
    read = reader(dataset).read
    if data is None:
        from eegfmri.datasets import simulate

        return read(simulate.ensure(dataset, scale=scale, preset=preset, seed=simulation_seed))
    roots = resolve(data)
    if dataset not in roots:
        raise RequestError(
            f"{data} holds {', '.join(roots)} but not the {dataset} dataset that is needed: add it, or omit --data."
        )
    return read(roots[dataset])
