"""What the notebooks of the book showed when somebody last looked at them: slim references, and headline numbers with tolerances.

A reference holds, cell by cell, what a notebook puts out: kinds of output, the keys of recorded results, and words, with every number
struck out. Numbers are compared elsewhere: a few of each chapter, with the tolerances below, through ``results.json``.

After a change that is meant, build the book, then run ``python tests/notebook_references.py`` and read the difference that git shows.
"""

import json
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output
from pytest_notebook.diffing import diff_notebooks, diff_to_string, filter_diff
from pytest_notebook.notebook import regex_replace_nb

from eegfmri import cache, project
from eegfmri.ledger import claims

REFERENCES = Path(__file__).resolve().parent / "references"
NUMBERS = REFERENCES / "results.json"

#: Longer outputs are cut: the beginning of a table names its columns and first rows.
LENGTH = 240

#: What differs between runs that are equal: numbers, digests, the places of objects in memory, how columns and lines are broken, and
#: which side or band is the strongest, which another machine's last digits may decide otherwise.
SCRUBBED = (
    ("/cells/*/outputs", r"(?<![.\w])(0x[0-9a-f]{6,}|[0-9a-f]{16}|[0-9a-f]{12})\b", "ADDRESS"),
    ("/cells/*/outputs", r"(?<![A-Za-z_])[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?|\b(nan|NaN|inf)\b", "#"),
    ("/cells/*/outputs", r"\s+", " "),
    ("/cells/*/outputs", r"\[ ", "["),
    ("/cells/*/outputs", r"\b[LR] #", "REGION"),
    ("/cells/*/outputs", r"\b(delta|theta|alpha|beta|gamma)\b", "BAND"),
)

#: Absolute tolerances. A count is exact. What is computed in closed form, or by a convex fit, follows the arithmetic of the machine in its
#: last digits; a score made of windows moves by steps of one window of one subject, so a hundredth is a few windows.
EXACT, CLOSED_FORM, SCORE = 0.0, 1e-4, 0.01

#: Numbers by which one would notice that a chapter does something else than before, beside those that the ledger asks for. These come
#: from trained networks, and a network trained with another order of sums takes another path: they may move by half of what
#: their interval spans, or by a tenth where they have none and are no count.
HEADLINES = {
    "recordings/recording": {"recording/run/eeg/lead_in": CLOSED_FORM, "recording/canonical/bold/peak": CLOSED_FORM},
    "recordings/evaluation": {
        "evaluation/windows/all/count": EXACT,
        "evaluation/loso/majority/balanced_accuracy": CLOSED_FORM,
        "evaluation/loso/lda_eeg/balanced_accuracy": SCORE,
    },
    "recordings/simulator": {
        "simulator/recovery/spectrum/alpha/correlation": SCORE,
        "simulator/recovery/delay/truth/correlation": SCORE,
    },
    "recordings/preprocessing_eeg": {"preprocessing_eeg/planted/pulse/beats": EXACT},
    "recordings/preprocessing_fmri": {
        "preprocessing_fmri/slice_time/half": CLOSED_FORM,
        "preprocessing_fmri/registration/affine/dice": SCORE,
    },
    "verification/what_the_numbers_can_tell": {
        "numbers/labels/report/epochs": EXACT,
        "numbers/loso/fusion-eeg_gcn/half_width/closed_form": CLOSED_FORM,
        "numbers/coverage/percentile/differences/8": SCORE,
        "numbers/inflation/scaled_over_all/honest": SCORE,
        "numbers/inflation/true_past/gain": SCORE,
        "numbers/readings/leave_one_subject_out/score": SCORE,
        "numbers/chance/cka/expected/64": CLOSED_FORM,
    },
    "verification/claims": {"claims/ledger/all/n": EXACT, "claims/ledger/all/consistent": EXACT},
}


def built() -> dict[str, Path]:
    """Return the folder of each chapter's execution that the rendered book shows; none if no book has been built."""
    build = project.book_dir() / "_build"
    stamp = build / "rendered.json"
    chapters = (cache.kept_json(stamp) or {"chapters": {}})["chapters"]
    return {name: build / "executed" / name / key for name, key in chapters.items()}


def slim(notebook):
    """Return what a notebook puts out, without numbers and pictures.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        An executed notebook.

    Returns
    -------
    nbformat.NotebookNode
        Code cells with the first line of their code; of their outputs the kinds, the names of recorded results, and the beginning of
        the words.
    """
    cells, names = [], []
    for cell in notebook.cells:
        if cell.cell_type != "code" or "injected-parameters" in cell.metadata.get("tags", []):
            continue
        recorded, outputs = [], []
        for output in cell.outputs:
            if "scrapbook" in output.get("metadata", {}):
                recorded.append(output.metadata.scrapbook.name)
            elif output.output_type == "stream":
                outputs.append(new_output("stream", name=output.name, text=output.text))
            else:
                kinds = ", ".join(sorted(output.get("data", {})))
                outputs.append(new_output("display_data", {"text/plain": f"{kinds}: {_words(output)}"}))
        # Comments execute nothing, so an executed notebook may hold older ones than the chapter.
        lines = (line.partition("  #")[0] for line in cell.source.split("\n"))
        first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
        cells.append(new_code_cell(first, id=f"cell-{len(cells)}", outputs=outputs))
        names.append(recorded)
    notebook = regex_replace_nb(new_notebook(cells=cells), SCRUBBED)
    for cell, recorded in zip(notebook.cells, names, strict=True):
        # Cut where numbers are single characters, so that a longer number moves nothing.
        for output in cell.outputs:
            holder, key = (output, "text") if output.output_type == "stream" else (output.data, "text/plain")
            holder[key] = holder[key][:LENGTH]
        if recorded:
            cell.outputs.append(new_output("display_data", {"text/plain": "\n".join(["recorded", *recorded])}))
    return notebook


def _words(output) -> str:
    """Return what a reader sees of an output: its page before its plain text."""
    data = output.get("data", {})
    if "text/html" in data:
        page = BeautifulSoup(data["text/html"], "html.parser")
        for element in page(["script", "style"]):
            element.decompose()
        return page.get_text(" ")
    return data.get("text/plain", "")


def difference(reference, notebook) -> str:
    """Return how a slim notebook differs from its reference, for a reader; empty if it does not."""
    found = filter_diff(diff_notebooks(reference, notebook), ["/cells/*/id", "/metadata", "/nbformat_minor"])
    return diff_to_string(reference, found, use_color=False) if found else ""


def path_of(chapter: str) -> Path:
    """Return where the reference of a chapter is kept."""
    return REFERENCES / f"{chapter.replace('/', '-')}.ipynb"


def departures(expected: dict[str, dict], document: dict) -> list[str]:
    """Say which headline numbers of a ``results.json`` lie farther from their references than the tolerance."""
    values = {result["key"]: result["value"] for result in document["results"]}
    found = []
    for key, reference in expected.items():
        value = values.get(key)
        if value is None or abs(value - reference["value"]) > reference["tolerance"]:
            found.append(f"{key} is {value}, and was {reference['value']} ± {reference['tolerance']}")
    return found


def headlines(document: dict) -> dict[str, dict]:
    """Return the headline numbers of a ``results.json`` with their tolerances."""
    results = {result["key"]: result for result in document["results"]}
    wanted = dict(HEADLINES.get(document["chapter"], {}))
    for claim in claims.load():
        result = results.get(claim.result_key)
        if result is not None and result["value"] is not None:
            ends = (result["low"], result["high"])
            value = result["value"]
            alone = EXACT if value == round(value) else abs(value) / 10
            wanted[claim.result_key] = alone if None in ends else (ends[1] - ends[0]) / 2
    return {key: {"value": results[key]["value"], "tolerance": tolerance} for key, tolerance in wanted.items()}


def refresh() -> None:
    """Write the references of the book that was built last; those of chapters that are gone are removed."""
    folders = built()
    if not folders:
        raise SystemExit("No book has been built: run `make book` first.")
    REFERENCES.mkdir(exist_ok=True)
    for path in REFERENCES.glob("*.ipynb"):
        path.unlink()
    for chapter, folder in folders.items():
        nbformat.write(slim(nbformat.read(folder / "notebook.ipynb", as_version=4)), path_of(chapter))
    numbers = {chapter: headlines(cache.read_json(folder / "results.json")) for chapter, folder in folders.items()}
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    refresh()
