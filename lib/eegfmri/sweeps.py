"""What ``eegfmri sweep`` does: a chapter executed once for every combination of some parameters' values, and what became of its results.

Every finished combination is kept in the sweep's folder, so an interrupted sweep goes on where it was. Of several seeds the
spread of each result is what chance alone does to it; a difference smaller than that is none.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from eegfmri import cache, project
from eegfmri.chapters import Chapter, discover, find, resolve_parameters
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.execution import DataPlan, Listener, cores, default_jobs, ensure_data, execute_all, prepare, silent

#: More combinations than this are refused: somebody mistyped.
MOST = 1000


def combinations(assignments: Iterable[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Take apart ``key=a,b,c``: values are separated by commas outside brackets and quotation marks.

    Parameters
    ----------
    assignments : iterable of str
        ``key=value`` or ``key=value,value,…`` each.

    Returns
    -------
    swept : list of str
        Names of the parameters that have more than one value.
    combined : list of tuple of str
        Every combination as assignments of single values, the last parameter changing fastest.

    Raises
    ------
    RequestError
        If an assignment has no value, a parameter is given twice, or there are too many combinations.
    """
    choices: dict[str, list[str]] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        name = name.strip()
        values = _values(text)
        if not separator or not name or not all(values):
            raise RequestError(f"Parameter {assignment!r} is not of the form key=value or key=value,value.")
        if name in choices:
            raise RequestError(f"Parameter {name} is given twice: give all its values at once, {name}=a,b.")
        choices[name] = list(dict.fromkeys(values))
    combined = [
        tuple(f"{name}={value}" for name, value in zip(choices, chosen, strict=True))
        for chosen in itertools.product(*choices.values())
    ]
    if len(combined) > MOST:
        raise RequestError(f"These are {len(combined)} combinations, more than {MOST}: sweep fewer values at once.")
    return [name for name, values in choices.items() if len(values) > 1], combined


def _values(text: str) -> list[str]:
    """Split at commas outside brackets and quotation marks."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    return [part.strip() for part in parts]


def sweep(
    name: str,
    assignments: Iterable[str],
    *,
    profile: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    workers: int | None = None,
    listen: Listener = silent,
) -> tuple[Path, dict]:
    """Execute a chapter for every combination, and write table, spread and plot.

    Parameters
    ----------
    name : str
        Name of the chapter.
    assignments : iterable of str
        See `combinations`.
    profile : str or None
        Profile that the assignments are laid over.
    data : str, pathlib.Path or None
        Folder of real recordings; simulated ones if None.
    out : str, pathlib.Path or None
        Folder to write into; ``runs/sweep-<chapter>-<key>/`` if None.
    workers : int or None
        Combinations executed at once, each in a process of its own; as many as cores if None.
    listen : callable
        Told what happens.

    Returns
    -------
    folder : pathlib.Path
        With ``sweep.json``, ``sweep.csv`` (one row per combination), ``spread.csv`` (one row per result) and ``sweep.png``.
    document : dict
        What ``sweep.json`` holds: ``schema``, ``chapter``, ``swept``, ``rows`` (``parameters``, ``status``, ``error``, ``results``) and
        ``spread``.

    Raises
    ------
    RequestError
        If the request is wrong; nothing has run then.
    EegFmriError
        If no combination could be executed.
    """
    if workers is not None and workers < 1:
        raise RequestError(f"--workers must be 1 or more, not {workers}.")
    chapters = discover()
    chapter = find(name, chapters)
    swept, combined = combinations(assignments)
    settings = [resolve_parameters(chapter, profile, chosen) for chosen in combined]
    plan = DataPlan.of(data, simulate_missing=False)
    requests = [prepare(chapter, parameters, plan) for parameters in settings]
    stem = chapter.name.replace("/", "-")
    key = cache.digest([request.key for request in requests])
    folder = Path(out).expanduser().resolve() if out is not None else project.root() / "runs" / f"sweep-{stem}-{key}"
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"--out: {folder} is not a folder.")
    kept = {request.key: folder / "rows" / f"{request.key}.json" for request in requests}
    todo = [request for request in requests if not kept[request.key].is_file()]
    ensure_data([request for request in todo if not request.cached], plan, listen)
    jobs = default_jobs(requests) if workers is None else workers
    # the same thread count as in a build, for the order of floating-point sums depends on it
    threads = max(1, cores() // default_jobs(chapters.values()))

    def keep(event: str, **about) -> None:
        if event == "end" and about["outcome"].status != "failed":
            done = about["outcome"].request
            cache.write_json(kept[done.key], done.results)
        listen(event, **about)

    failed = {o.request.key: o.error for o in execute_all(todo, jobs, threads, False, keep) if o.status == "failed"}
    rows = []
    for request, parameters in zip(requests, settings, strict=True):
        error = failed.get(request.key)
        document = cache.read_json(kept[request.key]) if error is None else {"results": [], "data": None}
        rows.append(
            {
                "parameters": {parameter: parameters[parameter] for parameter in swept},
                "status": "failed" if error else "done",
                "error": error,
                "data": document["data"],
                "results": document["results"],
            }
        )
    if len(failed) == len({request.key for request in requests}):
        raise EegFmriError(next(iter(failed.values())))
    document = {"schema": 1, "chapter": chapter.name, "swept": swept, "rows": rows, "spread": spread(rows)}
    cache.write_json(folder / "sweep.json", document)
    _write_tables(folder, document)
    _write_plot(folder / "sweep.png", chapter, document)
    return folder, document


def spread(rows: Iterable[Mapping], over: str = "seed") -> list[dict]:
    """Describe how each result varies over the combinations that differ in one parameter alone.

    Parameters
    ----------
    rows : iterable of mapping
        ``parameters`` and ``results`` of each combination.
    over : str, default="seed"
        The parameter; if it was not swept, over all combinations.

    Returns
    -------
    list of dict
        ``setting`` (the other swept parameters), ``key``, ``n``, ``mean``, ``sd`` (None for a single value), ``lowest``, ``highest`` and
        ``half_width`` (mean half width of the results' own intervals, None where they have none). In order of appearance; results without a
        value are left out.
    """
    rows = [row for row in rows if row["results"]]
    grouped: dict[tuple, dict] = {}
    for row in rows:
        chosen = {name: value for name, value in row["parameters"].items() if name != over}
        chosen = chosen if over in row["parameters"] else {}
        for result in row["results"]:
            if result["value"] is not None:
                place = (cache.digest(chosen), result["key"])
                grouped.setdefault(place, {"setting": chosen, "results": []})["results"].append(result)
    table = []
    for (_, key), group in grouped.items():
        values = [float(result["value"]) for result in group["results"]]
        mean = sum(values) / len(values)
        squares = sum((value - mean) ** 2 for value in values)
        widths = [
            (result["high"] - result["low"]) / 2
            for result in group["results"]
            if result["low"] is not None and result["high"] is not None
        ]
        table.append(
            {
                "setting": group["setting"],
                "key": key,
                "n": len(values),
                "mean": mean,
                "sd": (squares / (len(values) - 1)) ** 0.5 if len(values) > 1 else None,
                "lowest": min(values),
                "highest": max(values),
                "half_width": sum(widths) / len(widths) if widths else None,
            }
        )
    return table


def headline(chapter: Chapter, table: Iterable[Mapping]) -> list[dict]:
    """Pick the rows of a spread that claims of the ledger are compared with; without such, those that have an interval.

    Parameters
    ----------
    chapter : Chapter
        Whose results.
    table : iterable of mapping
        From `spread`.

    Returns
    -------
    list of dict
        In the order of the table; all rows if none has an interval either.
    """
    from eegfmri import claims

    table = list(table)
    named = set()
    for claim in claims.load() if (project.data_dir() / "claims.yml").is_file() else ():
        if claim.chapter == chapter.name and claim.result_key:
            named |= {claim.result_key, *claim.readings}
    return (
        [row for row in table if row["key"] in named]
        or [row for row in table if row["half_width"] is not None]
        or table
    )


def _write_tables(folder: Path, document: Mapping) -> None:
    import pandas as pd

    wide = [
        {**row["parameters"], "status": row["status"], **{r["key"]: r["value"] for r in row["results"]}}
        for row in document["rows"]
    ]
    long = [{**row["setting"], **{k: v for k, v in row.items() if k != "setting"}} for row in document["spread"]]
    for name, rows in (("sweep", wide), ("spread", long)):
        with cache.written_whole(folder / f"{name}.csv") as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)


def _write_plot(path: Path, chapter: Chapter, document: Mapping) -> None:
    """Plot each headline result against the first swept parameter, in small panels."""
    import warnings

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from eegfmri.figures import PALETTE, use_theme

    use_theme()
    keys = list(dict.fromkeys(row["key"] for row in headline(chapter, document["spread"])))[:24]
    first = document["swept"][0] if document["swept"] else None
    n_columns = min(3, max(1, len(keys)))
    n_rows = max(1, -(-len(keys) // n_columns))
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(4 * n_columns, 2.4 * n_rows), squeeze=False)
    for axis in axes.ravel()[len(keys) :]:
        axis.set_axis_off()
    for axis, key in zip(axes.ravel(), keys, strict=False):
        for row in document["rows"]:
            for result in row["results"]:
                if result["key"] != key or result["value"] is None:
                    continue
                x = "" if first is None else str(row["parameters"][first])
                if result["low"] is not None and result["high"] is not None:
                    axis.plot([x, x], [result["low"], result["high"]], color=PALETTE[-1], alpha=0.5, linewidth=1.5)
                axis.plot([x], [result["value"]], "o", color=PALETTE[0], markersize=5)
        axis.set_title("/".join(key.split("/")[1:]), fontsize=8)
        axis.tick_params(labelsize=8)
        axis.set_xlabel(first or "", fontsize=8)
    if any((row["data"] or {}).get("simulated") for row in document["rows"]):
        figure.suptitle(f"{chapter.name}: simulated recordings", fontsize=10, x=0.01, ha="left")
    with cache.written_whole(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure.savefig(temporary, dpi=150)
    plt.close(figure)
