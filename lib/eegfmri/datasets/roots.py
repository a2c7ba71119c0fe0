"""Which dataset lies in a folder: recognised by content, whatever the folder is called."""

from pathlib import Path

from eegfmri.errors import RequestError
from eegfmri.recordings import DATASETS


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
        If there is no such dataset.
    """
    if dataset not in DATASETS:
        raise RequestError(f"There is no dataset {dataset!r}: choose one of {', '.join(DATASETS)}.")
    # Named as imports, so that a chapter's key depends on the readers' code.
    from eegfmri.datasets import oddball, rest, sleep

    return {"sleep": sleep, "oddball": oddball, "rest": rest}[dataset]


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
    found = [(name, folder) for name in DATASETS if reader(name).is_root(folder)]
    if found or not folder.is_dir():
        return found
    return [
        (name, inner)
        for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        for name in DATASETS
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
            f"No dataset was recognised in {folder}: expected the layout of ds003768 (sourcedata/sub-XX-sleep-stage.tsv), of the "
            "legacy ds000116 (sub001/EEG/task001_run001/*.mat) or of OSF 94c5t (EEG1/32/export/*.vhdr, fMRI/32/*.nii.gz)."
        )
    return roots
