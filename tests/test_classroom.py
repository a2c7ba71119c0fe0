"""A class: notebooks from the chapters' one source, answers that check themselves, and nothing needed but the package."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest

from book_project import REPOSITORY, eegfmri, make_project
from eegfmri.classroom import Checks, handouts
from eegfmri.classroom.checks import sealed
from eegfmri.classroom.exercises import GRADES, Exercise, outline
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.runner import notebooks
from eegfmri.runner.chapters import discover

#: Chapters whose exercises are graded, each of them.
GRADED = (
    *(
        f"recordings/{name}"
        for name in ("recording", "coupling", "datasets", "evaluation", "preprocessing_eeg", "preprocessing_fmri")
    ),
    *("synthesis/synthesis", "synthesis/transformer_cnn"),
)


@cache
def outlined() -> dict[str, list]:
    """Return the outline of every chapter of the book."""
    return {name: outline(jupytext.reads(chapter.source, fmt="md:myst"), name) for name, chapter in discover().items()}


def exercises() -> list:
    """Return a parameter for each exercise of the book."""
    return [
        pytest.param(part, id=part.label)
        for parts in outlined().values()
        for part in parts
        if isinstance(part, Exercise)
    ]


def python(code: str) -> ast.Module:
    """Parse the code of a cell without its magics."""
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.split("\n")))


def names(code: str, context: type) -> set[str]:
    """Return the names that a piece of code reads or binds."""
    found = {n.id for n in ast.walk(python(code)) if isinstance(n, ast.Name) and isinstance(n.ctx, context)}
    if context is ast.Store:
        for node in ast.walk(python(code)):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
    return found


# --- what the chapters say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", exercises())
def test_every_line_of_the_starter_code_stands_in_the_solution_but_for_its_dots(exercise):
    lines = [line.strip() for line in exercise.solution_code.split("\n") if line.strip()]
    for line in filter(None, map(str.strip, exercise.starter.split("\n"))):
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        assert any(re.fullmatch(pattern, other) for other in lines), f"{line!r} is no line of the solution"


@pytest.mark.parametrize("exercise", exercises())
def test_starter_code_is_python_that_leaves_something_to_do(exercise):
    if exercise.starter:
        python(exercise.starter)
        assert "..." in exercise.starter
    if exercise.answer:
        python(exercise.answer["of"])
        judged = names(exercise.answer["of"], ast.Load) - {"list"}
        assert judged <= names(exercise.solution_code, ast.Store), "what is judged is made by the solution"
        if exercise.starter:
            assert judged <= names(exercise.starter, ast.Store), "a student's answer bears the name that is judged"
        if "record" in exercise.answer:
            assert f'"{exercise.answer["record"]}"' in exercise.solution_code
        sealed(exercise.label, exercise.expected({exercise.answer.get("record"): 1.0}))


@pytest.mark.parametrize("chapter", GRADED)
def test_a_chapter_has_five_exercises_from_recall_to_research(chapter):
    found = [part for part in outlined()[chapter] if isinstance(part, Exercise)]
    assert len(found) >= 5
    assert {each.grade for each in found} == set(GRADES)
    for each in found:
        assert each.minutes, each.label
        assert each.solution, each.label
        if each.starter:
            assert len(each.hints) == handouts.MOST_HINTS, each.label


@pytest.mark.parametrize("name", discover())
def test_no_cell_needs_what_only_a_solution_has_or_what_starter_code_overwrites(name):
    bound: set[str] = set()
    of_solutions: dict[str, str] = {}
    overwritten: dict[str, str] = {}
    for part in outlined()[name]:
        if isinstance(part, Exercise):
            of_solutions |= dict.fromkeys(names(part.solution_code, ast.Store) - bound, part.label)
            overwritten |= dict.fromkeys(names(part.starter, ast.Store) & bound, part.label)
        elif not isinstance(part, str):
            read, here = names(part.source, ast.Load), names(part.source, ast.Store)
            lacking = {n: of_solutions[n] for n in read - bound - here if n in of_solutions}
            assert not lacking, f"{part.source[:60]!r} needs {lacking}"
            bound |= here
            for n in here:
                overwritten.pop(n, None)
            changed = {n: overwritten[n] for n in read if n in overwritten}
            assert not changed, f"{part.source[:60]!r} reads what starter code changes: {changed}"


def test_a_chapter_that_cannot_be_understood_is_refused_by_name(tmp_path):
    def outline_of(text):
        return outline(jupytext.reads(text, fmt="md:myst"), "a/b")

    question = "````{exercise} Q\n:label: q\n\n*Apply, 5 minutes.* Why?\n````\n\n"
    for text, said in {
        "```{solution-start} q\n```\n\n```{solution-end}\n```\n": "no exercise of that label",
        question + "```{solution-start} q\n```\n\n% answer: {value: 3}\n\n```{solution-end}\n```\n": "must name `of`",
        question
        + "```{solution-start} q\n```\n\n% answer: {of: x, valeu: 3}\n\n```{solution-end}\n```\n": "besides only",
    }.items():
        with pytest.raises(EegFmriError, match=said):
            outline_of(text)
    [exercise] = outline_of(question)
    assert (exercise.grade, exercise.minutes, exercise.question) == ("apply", 5, "Why?")


# --- answers that check themselves -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "given", "kind", "said"),
    [
        ({"value": 0.0625}, 0.0625, "right", "Right"),
        ({"value": 0.0625}, 0.063, "right", "Right"),
        ({"value": 0.0625}, 0.067, "near", "Near"),
        ({"value": 0.0625}, 0.09, "wrong", "Not yet"),
        ({"value": 0.0625}, -0.0625, "wrong", "the sign"),
        ({"value": 0.0625}, 6.25, "wrong", "percent"),
        ({"value": 0.0625}, 62.5, "wrong", "unit"),
        ({"value": 0.0625, "wrong": [[0.03125, "one side only."]]}, 1 / 32, "wrong", "one side only"),
        ({"value": 0.0625}, "0.0625", "right", "Right"),
        ({"value": 0.0625}, [1, 2], "wrong", "a list of 2"),
        ({"value": 0.0625}, float("nan"), "wrong", "nan"),
        ({"value": 0.0625}, None, "wrong", "None"),
        ({"value": 0.0625}, ..., "open", "three dots"),
        ({"value": 7, "near": 2}, 7, "right", "Right"),
        ({"value": 7, "near": 2}, 8, "near", "Near"),
        ({"value": 7, "near": 2}, 11, "wrong", "Not yet"),
        ({"value": 0.0, "right": 0.001}, 1e-15, "right", "Right"),
        ({"value": 0.0, "right": 0.001}, 1.0, "wrong", "Not yet"),
        ({"value": None}, 3, "open", "neighbour"),
        ({"words": ["none", "nobody"]}, " None. ", "right", "Right"),
        ({"words": ["none", "nobody"]}, "all of them", "wrong", "all of them"),
        ({"words": "yes"}, True, "right", "Right"),
        ({"words": [["W", "N1"]]}, ("n1", "w"), "right", "Right"),
        ({"words": [["W", "N1"]]}, ("n2", "w"), "wrong", "Not yet"),
        ({"has": {"shape": [None], "range": [0, 1], "rising": True}}, [0.1, 0.4], "right", "as far as"),
        ({"has": {"shape": [None], "range": [0, 1], "rising": True}}, [0.4, 0.1], "wrong", "never fall"),
        ({"has": {"shape": [3]}}, [1, 2], "wrong", "the shape is (2,), expected is 3"),
        ({"has": {"range": [0, 1]}}, [0.5, 2.0], "wrong", "2 lies outside 0 to 1"),
        ({"has": {"sum": 1}}, [0.5, 0.25], "wrong", "add up to 1"),
        ({"has": {"falling": True, "whole": True}}, [3.0, 2.5], "wrong", "whole numbers"),
        ({"has": {"shape": []}}, "many", "wrong", "the text 'many'"),
    ],
)
def test_an_answer_is_right_near_or_wrong_with_a_reason(answer, given, kind, said):
    check = Checks(json.dumps({"a-label": sealed("a-label", answer)}))
    verdict = check("a-label", given)
    assert (verdict.kind, bool(verdict)) == (kind, kind == "right")
    assert said in repr(verdict)


@pytest.mark.parametrize("value", [0.0371, 1.0, 3.3, 17, 480.0, -2.5, 1e-6, 300])
@pytest.mark.parametrize("share", [-1.0, -0.5, 0.0, 0.999, 1.5, -1.5])
def test_the_tolerance_is_met_to_within_a_cell_of_the_grid(value, share):
    tolerance = 0.02 * abs(value)
    check = Checks({"x": sealed("x", {"value": value, "right": tolerance, "near": tolerance})})
    assert bool(check("x", value + share * tolerance)) == (abs(share) <= 1)


def test_the_answer_does_not_stand_in_a_notebook():
    seal = json.dumps(sealed("a", {"value": 0.4873, "right": 0.01, "wrong": [[0.2436, "half of it."]]}))
    assert "4873" not in seal
    assert "2436" not in seal
    assert "nobody" not in json.dumps(sealed("a", {"words": "nobody"}))
    assert sealed("a", {"value": 3})["hashes"] != sealed("b", {"value": 3})["hashes"], "salted by the exercise"


def test_an_exercise_that_is_not_there_is_named_with_its_nearest():
    with pytest.raises(RequestError, match="did you mean 'gap-exercise'"):
        Checks({"gap-exercise": {"kind": "open"}})("gap-exercises", 1)
    for answer in ({"value": float("inf")}, {"value": "3"}, {"has": {"colour": "red"}}):
        with pytest.raises(RequestError, match="Exercise x"):
            sealed("x", answer)


# --- plain Markdown --------------------------------------------------------------------------------------------------

MYST = """
(a-target)=
## A heading

The mean is {glue:text}`first/none/mean/value:.2f`, see {cite:p}`nobody` and {cite:t}`nobody`; {term}`epochs <epoch>`
{glue:text}`first/none/mean/gone:.1f`. [There](second.md), [elsewhere](../other/page.md), {ref}`a-target`, {doc}`second`.

$$ x = 1 $$ (eq-one)

By {eq}`eq-one`:

Read
: Begin.

% a comment

:::{margin}
A remark, {cite:p}`nobody`.
:::

```{admonition} A box
:class: tip
Inside.
```

```text
{cite:p}`verbatim`
```

```{reexecute}
```
"""


def test_myst_becomes_markdown_that_every_notebook_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(make_project(tmp_path / "project")))
    prose = notebooks.Prose("fixtures/first", {"first/none/mean/value": 0.123}, frozenset({"fixtures/second"}))
    prose.learn(MYST)
    plain = prose.plain(MYST)
    assert "The mean is 0.12, see (Nobody 2000) and Nobody (2000); epochs\n" in plain
    assert (
        "`first/none/mean/gone`. [There](second.ipynb), elsewhere, *A heading*, [fixtures/second](second.ipynb)."
        in plain
    )
    assert "$$ x = 1 \\tag{1} $$" in plain
    assert "By (1):" in plain
    assert "- **Read**: Begin." in plain
    assert "> *In the margin.* A remark, (Nobody 2000)." in plain
    assert "> **A box**\n>\n> Inside." in plain
    assert "`eegfmri run fixtures/first`" in plain
    assert "{cite:p}`verbatim`" in plain, "code is not touched"
    assert prose.missing == ["first/none/mean/gone"]
    assert prose.references() == "## References\n\n- Nobody (2000). Nothing."
    for gone in ("a-target)=", "% a comment", ":::", "{admonition}"):
        assert gone not in plain


@pytest.mark.parametrize("name", discover())
def test_no_role_or_directive_is_left_in_the_notebooks_of_the_book(name):
    chapter = discover()[name]
    made = notebooks.for_jupyter(jupytext.reads(chapter.source, fmt="md:myst"), chapter, None, discover())
    nbformat.validate(made)
    assert "jupyter lab" in made.cells[0].source
    for cell in made.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\{[a-z:]+\}`|^(`{3,}|:{3,})\{|^% |\\tag\{\?\}", cell.source, re.M), cell.source


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("class") / "project", ("fixtures/first", "fixtures/class"))


@pytest.fixture(scope="module")
def handed_out(project):
    """Write the notebooks of the small book, which has not been built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EEGFMRI_ROOT", str(project))
        return handouts.write(project / "out", ["fixtures/class"], hints=2)


def test_a_folder_for_each_kind_a_readme_and_archives_are_written(handed_out):
    assert sorted(path.name for path in handed_out.iterdir()) == [
        "README.md", "student", "student.zip", "teacher", "teacher.zip",
    ]  # fmt: skip
    for kind in handouts.KINDS:
        with zipfile.ZipFile(handed_out / f"{kind}.zip") as archive:
            assert sorted(archive.namelist()) == [f"{kind}/README.md", f"{kind}/fixtures/class.ipynb"]
    assert "1 recall, 1 apply, 1 not graded" in (handed_out / "README.md").read_text(encoding="utf-8")
    assert "solution" not in (handed_out / "student" / "README.md").read_text(encoding="utf-8")


def read(folder: Path, kind: str):
    return nbformat.read(folder / kind / "fixtures" / "class.ipynb", as_version=4)


def test_students_get_starter_code_and_hints_and_no_solution(handed_out):
    student, teacher = read(handed_out, "student"), read(handed_out, "teacher")
    text = "\n\n".join(cell.source for cell in student.cells)
    assert 'median = float(np.median(...))\n\ncheck("median-exercise", median)' in text
    assert "*(apply, 5 minutes)*" in text
    assert "> *Hint 1.* It stands in the middle." in text
    assert "> *Hint 2.* Numpy has a function" in text
    for solution in ("np.median(values)", "Half of the values", "len(values)", "The mean.\n"):
        assert solution not in text
        assert solution in "\n\n".join(cell.source for cell in teacher.cells) + "\n"
    told = "\n\n".join(cell.source for cell in teacher.cells)
    assert "**Expected:** `count` = 50 (near within 1)." in told
    assert "| A computed one | apply | 5 | itself |" in told
    assert "that is the mean of the distribution" in told


def test_hints_are_given_up_to_the_level_that_is_asked_for(project, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    none, again = (handouts.write(project / name, ["fixtures/class"], hints=0) for name in ("none", "again"))
    assert not any("Hint" in cell.source for cell in read(none, "student").cells)
    assert any("Hint 2" in cell.source for cell in read(none, "teacher").cells)
    for kind in handouts.KINDS:
        assert (again / f"{kind}.zip").read_bytes() == (none / f"{kind}.zip").read_bytes()


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("full", {}, "is not empty"),
        ("full/mine.txt", {}, "is not a folder"),
        ("new", {"hints": 3}, "--hints must be 0, 1 or 2"),
        ("new", {"chapters": ["fixtures/frist"]}, "did you mean 'fixtures/first'?"),
        ("new", {"chapters": []}, "names none"),
    ],
)
def test_a_wrong_request_writes_nothing(project, monkeypatch, out, options, said):
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    (project / "full").mkdir(exist_ok=True)
    (project / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError, match=re.escape(said)):
        handouts.write(project / out, **options)
    assert not (project / "new").exists()
    assert [path.name for path in (project / "full").iterdir()] == ["mine.txt"]


def test_nothing_half_written_is_left(project, monkeypatch):
    monkeypatch.setenv("EEGFMRI_ROOT", str(project))
    monkeypatch.setattr(handouts, "_zip", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        handouts.write(project / "broken", ["fixtures/class"])
    assert not list(project.glob("*broken*"))
    assert not list(project.glob(".broken*"))


def test_the_command_writes_into_an_empty_folder_and_into_no_other(project):
    (project / "empty").mkdir()
    done = eegfmri(project, "classroom", "empty", "--chapters", "fixtures/first,fixtures/class", "--hints", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["empty/README.md", "empty/student.zip", "empty/teacher.zip"]
    again = eegfmri(project, "classroom", "empty")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.strip().endswith("is not empty: name a new folder, or empty this one.")


# --- with the package alone ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """Install the wheel of the library, and nothing else of the project, into a folder."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "cache", "simulated", "_build", "ds*", "noddi")
    for name in ("lib", "data"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=skipped)
    (source / "book").mkdir()
    shutil.copy(REPOSITORY / "book" / "references.bib", source / "book")
    for name in ("setup.py", "MANIFEST.in", "pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(source)]
    subprocess.run(built, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)], check=True
    )
    shutil.rmtree(source)
    return folder / "site"


def alone(site: Path, folder: Path) -> dict[str, str]:
    """Return the environment of somebody who has the package and no clone."""
    hidden = ("EEGFMRI_ROOT", "EEGFMRI_CACHE", "EEGFMRI_RUNNER")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}


def executed(notebook, site: Path, folder: Path):
    """Run a notebook in a folder of its own with the package alone."""
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    code = (
        "import sys, nbformat, eegfmri; from nbclient import NotebookClient; path = sys.argv[1];"
        "assert eegfmri.__file__.startswith(sys.argv[2]), eegfmri.__file__;"
        "book = nbformat.read(path, as_version=4); NotebookClient(book, timeout=3000, kernel_name='python3').execute();"
        "nbformat.write(book, path)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path), str(site)],
        cwd=folder, env=alone(site, folder), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(path, as_version=4)


def shown(cell) -> str:
    return "".join(output.get("text", output.get("data", {}).get("text/plain", "")) for output in cell.outputs)


def first_part(notebook):
    """Return a notebook up to its first cell with something to do, that cell included."""
    stubs = (at for at, cell in enumerate(notebook.cells) if "exercise" in cell.metadata.get("tags", []))
    notebook.cells = notebook.cells[: next(stubs, len(notebook.cells) - 1) + 1]
    return notebook


@pytest.mark.slow
def test_the_package_alone_finds_its_tables_and_a_place_for_recordings(installed, tmp_path):
    code = (
        "from eegfmri import project; from eegfmri.ledger import claims; from eegfmri.results import latest;"
        "from eegfmri.datasets import download; from eegfmri.recovery import reference;"
        "from eegfmri.figures.simulator import source_labels; from eegfmri.simulation.simulate import simulation_digest;"
        "print(project.find_root(), project.simulated_dir(), project.cache_dir(), claims.published('graph_fusion/n_folds'),"
        "latest(), len(download.manifest()) > 100, len(reference.load_reference_statistics()) > 1, source_labels()['gu2023'],"
        "len(simulation_digest('sleep')), sep='|')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env=alone(installed, tmp_path),
        capture_output=True,
        text=True,
    )
    place = tmp_path / "cache" / "eegfmri"
    assert done.stdout.strip() == f"None|{place / 'simulated'}|{place / 'cache'}|23|[]|True|True|Gu et al. 2023|12", (
        done.stderr
    )
    words = [sys.executable, "-W", "ignore", "-m", "eegfmri", "chapters"]
    refused = subprocess.run(words, cwd=tmp_path, env=alone(installed, tmp_path), capture_output=True, text=True)
    assert refused.returncode == 2
    assert "inside a clone" in refused.stderr


@pytest.mark.slow
def test_notebooks_of_the_small_book_run_with_the_package_alone(handed_out, installed, tmp_path):
    student = executed(first_part(read(handed_out, "student")), installed, tmp_path)
    assert student.cells[-1].source.startswith("...") or "check" in student.cells[-1].source
    # The book has not been built: what the solution records is asked for in vain, what is stated is checked.
    teacher = executed(read(handed_out, "teacher"), installed, tmp_path)
    said = {cell.source: shown(cell) for cell in teacher.cells if "check" in cell.metadata.get("tags", [])}
    assert said['check("count-exercise", count)'] == "Right."
    assert "compare with your neighbour" in said['check("median-exercise", median)']


@pytest.mark.slow
def test_numbers_of_a_build_stand_in_the_text_and_behind_the_checks(project, installed, tmp_path):
    done = eegfmri(project, "build", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    html = (project / "book" / "_build" / "html" / "fixtures" / "class.html").read_text(encoding="utf-8")
    assert "% answer" not in html
    assert "Apply, 5 minutes." in html
    offered = project / "book" / "_build" / "html" / "_static" / "notebooks" / "fixtures" / "class.ipynb"
    assert "{glue" not in offered.read_text(encoding="utf-8")
    assert eegfmri(project, "classroom", "built", "--chapters", "fixtures/class").returncode == 0
    document = json.loads((project / "book/_build/results/fixtures/class.json").read_text(encoding="utf-8"))
    value = {result["key"]: result["value"] for result in document["results"]}["class/none/mean/value"]
    student = read(project / "built", "student")
    assert any(f"The mean is {value:.3f} V" in cell.source for cell in student.cells)
    teacher = executed(read(project / "built", "teacher"), installed, tmp_path)
    said = [shown(cell) for cell in teacher.cells if "check" in cell.metadata.get("tags", [])]
    assert said == ["Right.", "Right."]
    for cell in student.cells:
        cell.source = cell.source.replace("np.median(...)", "np.mean(values)").replace("count = ...", "count = 51")
    answered = executed(student, installed, tmp_path)
    said = [shown(cell) for cell in answered.cells if "exercise" in cell.metadata.get("tags", [])]
    assert said[0].startswith("Not yet:")
    assert said[1].startswith("Near:")


@pytest.mark.soak
@pytest.mark.parametrize("kind", handouts.KINDS)
@pytest.mark.parametrize("name", discover())
def test_notebooks_of_the_book_run_with_the_package_alone(name, kind, installed, tmp_path, tmp_path_factory):
    made = handouts.write(tmp_path / "class", [name])
    notebook = nbformat.read(made / kind / f"{name}.ipynb", as_version=4)
    # Recordings that one chapter has simulated serve the others.
    shared = tmp_path_factory.getbasetemp() / "shared-cache"
    shared.mkdir(exist_ok=True)
    (tmp_path / "cache").symlink_to(shared, target_is_directory=True)
    ran = executed(first_part(notebook) if kind == "student" else notebook, installed, tmp_path)
    for cell in ran.cells:
        if "check" in cell.metadata.get("tags", []):
            assert shown(cell).startswith(("Right", "No expected answer")), f"{cell.source}: {shown(cell)}"
