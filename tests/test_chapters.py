"""Chapters: their parameters are strict, their keys know what they depend on, a build survives failure and kill -9."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from book_project import FIXTURES, REPOSITORY, eegfmri, environment, make_project
from eegfmri import cache, results
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.runner import build, chapters, execution
from page_checks import problems


@pytest.fixture
def first():
    return chapters.read_chapter("fixtures/first", FIXTURES / "fixtures" / "first.md")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give a small project that this process works in, too."""
    folder = make_project(tmp_path / "project")
    monkeypatch.setenv("EEGFMRI_ROOT", str(folder))
    return folder


# --- reading ---------------------------------------------------------------------------------------------------------


SOURCES = [
    path
    for folder in (FIXTURES, REPOSITORY / "book")
    for path in sorted(folder.rglob("*.md"))
    if "_build" not in path.parts and "jupytext:" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_the_quick_reader_sees_the_code_cells_that_jupytext_sees(path):
    text = path.read_text(encoding="utf-8")
    import jupytext

    notebook = jupytext.reads(text, fmt="md:myst")
    expected = [
        (cell.source.strip(), tuple(cell.metadata.get("tags", ())))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    chapter = chapters.read_chapter("x", path)
    assert [(cell.source.strip(), cell.tags) for cell in chapter.cells] == expected
    lines = text.split("\n")
    for cell in chapter.cells:
        assert lines[cell.line - 1] == cell.source.split("\n")[0]


def test_code_inside_a_longer_fence_is_not_executed(tmp_path):
    path = tmp_path / "x.md"
    path.write_text("---\njupytext: {}\n---\n\n````markdown\n```{code-cell}\nraise SystemExit\n```\n````\n")
    assert chapters.read_chapter("x", path).cells == ()


def test_parameters_have_types_defaults_and_help(first):
    assert {name: (p.annotation, p.default) for name, p in first.parameters.items()} == {
        "seed": ("int", 0),
        "rate": ("float", 2.0),
        "protocol": ('Literal["loso", "blocked"]', "loso"),
        "n_subjects": ("int | None", None),
        "names": ("list[str]", ["a", "b"]),
    }
    assert first.parameters["seed"].help == "seed of every random choice"


@pytest.mark.parametrize(
    "source",
    [
        "n: int = 'a'",
        "n: int = 1 + x",
        "n: nonsense = 1",
        "n: int",
        "data: str = 'x'",
        "n: Literal['a'] = 'a'",
        "from typing import Literal\nn: Literal['a'] = 'b'",
    ],
)
def test_a_wrong_parameters_cell_is_refused_with_its_line(source):
    with pytest.raises(EegFmriError, match=r"the parameters cell:\d+: "):
        chapters.read_parameters(source)


# --- strict parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("seed=3", 3),
        ("rate=2", 2.0),
        ("rate=1e-3", 1e-3),
        ("protocol=blocked", "blocked"),
        ("protocol='blocked'", "blocked"),
        ("n_subjects=None", None),
        ("n_subjects=4", 4),
        ("names=['x']", ["x"]),
        ("names=('x', 'y')", ["x", "y"]),
    ],
)
def test_well_typed_values_are_taken(first, assignment, value):
    name = assignment.partition("=")[0]
    taken = chapters.resolve_parameters(first, None, [assignment])[name]
    assert taken == value
    assert type(taken) is type(value)


@pytest.mark.parametrize(
    "assignment",
    ["seed=1.5", "seed=abc", "seed=True", "seed='1'", "rate=fast", "rate=True", "protocol=shuffled", "n_subjects=x",
     "names=a", "names=[1]", "seed="],
)  # fmt: skip
def test_ill_typed_values_are_refused_with_the_expected_type(first, assignment):
    name = assignment.partition("=")[0]
    with pytest.raises(RequestError) as caught:
        chapters.resolve_parameters(first, None, [assignment])
    assert first.parameters[name].annotation in str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "near"), [("sede=1", "seed"), ("n_subject=1", "n_subjects"), ("protocl=loso", "protocol")]
)
def test_unknown_names_are_refused_with_the_nearest(first, assignment, near):
    with pytest.raises(RequestError, match=f"did you mean '{near}'"):
        chapters.resolve_parameters(first, None, [assignment])


@pytest.mark.parametrize("assignment", ["seed", "=1", "data=x", "a b=1"])
def test_malformed_assignments_are_refused(first, assignment):
    with pytest.raises(RequestError):
        chapters.resolve_parameters(first, None, [assignment])


def test_text_that_looks_like_a_number_is_text_where_text_is_expected():
    parameter = chapters.Parameter("name", "str", "a")
    assert parameter.parse("1") == "1"
    assert parameter.parse("[1, 2") == "[1, 2"


def test_files_among_parameters_become_absolute_and_must_exist(tmp_path):
    second = chapters.read_chapter("fixtures/second", FIXTURES / "fixtures" / "second.md")
    (tmp_path / "labels").mkdir()
    values = chapters.resolve_parameters(second, None, ["labels_dir=labels"], tmp_path)
    assert values["labels_dir"] == str(tmp_path / "labels")
    with pytest.raises(RequestError, match="there is no folder"):
        chapters.resolve_parameters(second, None, ["labels_dir=elsewhere"], tmp_path)


def test_cell_then_profile_then_assignment(project):
    (project / "book" / "profiles.yml").write_text(
        "full:\n  '*': {rate: 5, scale: full}\n  fixtures/first: {seed: 7}\n"
    )
    chapter = chapters.find("fixtures/first")
    assert chapters.resolve_parameters(chapter)["rate"] == 2.0
    full = chapters.resolve_parameters(chapter, "full", ["seed=9"])
    assert (full["rate"], full["seed"]) == (5.0, 9)
    with pytest.raises(RequestError, match="did you mean 'full'"):
        chapters.resolve_parameters(chapter, "fulll")


def test_a_profile_that_does_not_fit_its_chapter_is_an_error(project):
    chapter = chapters.find("fixtures/first")
    for text in ("full: {fixtures/first: {sed: 7}}", "full: {fixtures/first: {seed: x}}"):
        (project / "book" / "profiles.yml").write_text(text)
        with pytest.raises(EegFmriError):
            chapters.resolve_parameters(chapter, "full")


def test_the_command_of_a_request_gives_the_same_request(project):
    import shlex

    chapter = chapters.find("fixtures/first")
    values = chapters.resolve_parameters(chapter, None, ["names=['it''s', \"a b\"]", "protocol=blocked", "rate=0.25"])
    words = shlex.split(execution.prepare(chapter, values).command)
    assert words[:3] == ["eegfmri", "run", "fixtures/first"]
    assert chapters.resolve_parameters(chapter, None, words[4::2]) == values


# --- keys ------------------------------------------------------------------------------------------------------------


def key(name="fixtures/first", *assignments) -> str:
    chapter = chapters.find(name)
    return execution.prepare(chapter, chapters.resolve_parameters(chapter, None, assignments)).key


def test_a_key_depends_on_code_parameters_and_lock(project):
    before = key()
    assert key() == before
    assert key("fixtures/first", "seed=1") != before
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "\n```{code-cell} python\n1 + 1\n```\n", encoding="utf-8")
    assert key() != before
    path.write_text(text, encoding="utf-8")
    assert key() == before
    (project / "requirements.lock").write_text("nothing==2\n")
    assert key() != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# A first fixture\n", "# A first fixture\n\nMore prose, with {glue:text}`first/none/mean/value:.1f`.\n"),
        ("# seed of every random choice", "# seed of all random choices"),
        ("declare()\n", "declare()  # at the head of the page\n"),
        ("declare()\n", "declare(\n)\n"),
        ("  title: A first fixture", "  title: Another title"),
        ("```{code-cell} python\nimport numpy", "```{code-cell} python\n:tags: [hide-input]\n\nimport numpy"),
    ],
)
def test_prose_comments_and_what_is_merely_shown_leave_the_key(project, old, new):
    before = key()
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert key() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("values.mean(), low", "values.mean() + 0, low"),
        ("float(np.median(values)) < 10", "float(np.median(values)) < 10;"),
        ("```{code-cell} python\nfloat(np", "```{code-cell} python\n'a string may be shown'\n```\n\n```{code-cell} python\nfloat(np"),
        ("```{code-cell} python\nfloat(np", "```{code-cell} python\n:tags: [raises-exception]\n\nfloat(np"),
        ("float(np.median(values)) < 10", "%pwd\nfloat(np.median(values)) < 10"),
    ],
)  # fmt: skip
def test_whatever_can_change_an_output_changes_the_key(project, old, new):
    before = key()
    path = project / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    assert key() != before


def test_a_key_depends_on_the_files_that_parameters_name(project, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.tsv").write_text("1")
    before = key("fixtures/second", f"labels_dir={labels}")
    (labels / "a.tsv").write_text("12")
    assert key("fixtures/second", f"labels_dir={labels}") != before


def test_chapters_depend_on_what_they_import_and_not_on_the_runner(project):
    first, second = chapters.find("fixtures/first"), chapters.find("fixtures/second")
    assert "eegfmri.figures" in first.modules
    assert "eegfmri.figures" not in second.modules
    for chapter in (first, second):
        assert "eegfmri.results" in chapter.modules
        assert (
            not {
                "eegfmri.runner.chapters",
                "eegfmri.runner.render",
                "eegfmri.cli",
                "eegfmri.runner.kernels",
                "eegfmri.runner.build",
            }
            & chapter.modules
        )


def test_a_table_that_a_chapter_reads_is_part_of_its_key(project):
    (project / "data").mkdir()
    table = project / "data" / "numbers.yml"
    table.write_text("a: 1")
    path = project / "book" / "fixtures" / "second.md"
    text = path.read_text(encoding="utf-8")
    for reading in (
        text.replace("time.sleep(pause)", "open('data/numbers.yml')"),
        text.replace("eegfmri:\n", "eegfmri:\n  files: [data/numbers.yml]\n"),
    ):
        path.write_text(text + "\nFrom `numbers.yml`, says the prose.\n", encoding="utf-8")
        unrelated = key("fixtures/second")
        path.write_text(reading, encoding="utf-8")
        before = key("fixtures/second")
        table.write_text(table.read_text() + "\nb: 2")
        assert key("fixtures/second") != before != unrelated


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def needing(project):
    """Give a chapter that needs two datasets."""
    path = project / "book" / "fixtures" / "second.md"
    text = path.read_text(encoding="utf-8").replace("eegfmri:\n", "eegfmri:\n  datasets: [sleep, rest]\n")
    text = text.replace("fail: bool", "simulation_seed: int = 0\nfail: bool")
    path.write_text(text, encoding="utf-8")
    return chapters.find("fixtures/second")


@pytest.fixture
def simulator(monkeypatch, tmp_path):
    """Put a quick simulator and reader in the place of the real ones; return what was simulated."""
    from types import SimpleNamespace

    from eegfmri import opening
    from eegfmri.simulation import simulate

    made = []

    def ensure(dataset, **recipe):
        made.append((dataset, recipe))
        folder = tmp_path / "simulated" / dataset
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    monkeypatch.setattr(simulate, "ensure", ensure)
    monkeypatch.setattr(simulate, "simulation_digest", lambda dataset, **recipe: repr((dataset, recipe)))
    monkeypatch.setattr(
        opening, "open_recordings", lambda root, name: SimpleNamespace(digest=(Path(root) / "state").read_text())
    )
    return made


def test_simulated_recordings_follow_the_chapter_s_own_seed(needing, simulator):
    plan = execution.DataPlan()
    requests = [
        execution.prepare(needing, chapters.resolve_parameters(needing, None, assignments), plan)
        for assignments in ([], ["simulation_seed=1"], ["simulation_seed=1"])
    ]
    assert requests[0].key != requests[1].key == requests[2].key
    assert requests[0].data is None
    execution.ensure_data(requests, plan)
    expected = [("sleep", 0), ("rest", 0), ("sleep", 1), ("rest", 1)]
    assert [(name, recipe["seed"]) for name, recipe in simulator] == expected
    assert all((recipe["scale"], recipe["preset"]) == ("small", "realistic") for _, recipe in simulator)


def test_a_run_refuses_what_a_folder_lacks_and_a_build_simulates_it(needing, simulator, tmp_path):
    root = tmp_path / "mine" / "ds003768"
    root.mkdir(parents=True)
    (root / "state").write_text("1")
    given, roots = str(tmp_path / "mine"), {"sleep": root}
    with pytest.raises(RequestError, match="needs the rest dataset"):
        execution.prepare(needing, needing.defaults, execution.DataPlan(given, roots, simulate_missing=False))
    plan = execution.DataPlan(given, roots, simulate_missing=True)
    request = execution.prepare(needing, needing.defaults, plan)
    assert request.simulated == ("rest",)
    execution.ensure_data([request], plan)
    assert (Path(request.data) / "sleep").resolve() == root
    assert (Path(request.data) / "rest").resolve() == tmp_path / "simulated" / "rest"
    execution.ensure_data([request], plan)
    (root / "state").write_text("2")
    assert execution.prepare(needing, needing.defaults, plan).key != request.key


def executed(chapter, number) -> list[Path]:
    """Make so many executed folders of a chapter, each used a second before the one before it."""
    folder = execution.build_dir() / "executed" / chapter.name
    for age in range(number):
        (folder / f"key{age:02}").mkdir(parents=True)
        os.utime(folder / f"key{age:02}", (1e9 - age, 1e9 - age))
    return [folder / f"key{age:02}" for age in range(number)]


def test_what_an_interruption_left_and_the_oldest_executions_are_removed(project):
    chapter = chapters.find("fixtures/first")
    made = executed(chapter, execution.KEPT + 3)
    folder = made[0].parent
    (folder / ".part-x").mkdir()
    used = execution.prepare(chapter, chapter.defaults)
    used.folder.mkdir()
    os.utime(used.folder, (1, 1))
    execution.prune([chapter], [used])
    assert set(folder.iterdir()) == {used.folder, *made[: execution.KEPT - 1]}


def test_what_a_sweep_executed_stays_as_long_as_its_folder_does(project, tmp_path):
    chapter = chapters.find("fixtures/first")
    requests = [execution.prepare(chapter, {**chapter.defaults, "seed": seed}) for seed in range(execution.KEPT + 3)]
    for request in requests:
        request.folder.mkdir(parents=True)
        os.utime(request.folder, (1, 1))
    (tmp_path / "swept").mkdir()
    execution.keep(tmp_path / "swept", requests)
    others = executed(chapter, execution.KEPT + 1)
    execution.prune([chapter], [])
    assert all(request.folder.is_dir() for request in requests)
    assert [path.is_dir() for path in others] == [True] * execution.KEPT + [False]
    (tmp_path / "swept").rmdir()
    execution.prune([chapter], [])
    assert not any(request.folder.is_dir() for request in requests)
    assert all(path.is_dir() for path in others[:-1])


def test_an_execution_that_is_used_again_is_not_an_old_one(project):
    chapter = chapters.find("fixtures/first")
    request = execution.prepare(chapter, chapter.defaults)
    made = executed(chapter, execution.KEPT)
    data = {"dataset": "", "simulated": False, "digest": ""}
    document = {"schema": 1, "chapter": chapter.name, "data": data, "seconds": 1.0, "results": []}
    cache.write_json(request.folder / "results.json", document)
    cache.write_json(request.folder / "notebook.ipynb", {"cells": []})
    cache.seal_folder(request.folder)
    os.utime(request.folder, (1, 1))
    [outcome] = execution.execute_all([request], 1, 1)
    assert outcome.status == "cached"
    execution.prune([chapter], [])
    assert request.folder.is_dir()
    assert not made[-1].is_dir()


@pytest.mark.parametrize("alive", [True, False])
def test_what_another_process_is_writing_is_left_alone_until_that_is_dead(project, alive):
    chapter = chapters.find("fixtures/first")
    [old] = executed(chapter, 1)
    part = old.parent / ".part-abc-1234"
    part.mkdir()
    code = (
        "import sys; from eegfmri.runner import execution\n"
        "with execution._lock('fixtures/first', 'abc'):\n    print('held', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(project), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout.readline() == "held\n"
        if not alive:
            writer.kill()
            writer.wait()
        execution.prune([chapter], [])
        assert part.is_dir() is alive
    finally:
        writer.kill()
        writer.communicate()


def test_a_simulated_build_leaves_the_results_of_real_recordings(project):
    chapter = chapters.find("fixtures/first")

    def finish(rate, simulated):
        request = execution.prepare(chapter, {**chapter.defaults, "rate": rate})
        data = {"dataset": "sleep", "simulated": simulated, "digest": "a"}
        document = {"schema": 1, "chapter": chapter.name, "parameters": request.parameters, "data": data, "results": []}
        cache.write_json(request.folder / "results.json", document)
        build._publish_results([execution.Outcome(request, "executed", 1.0)], {chapter.name: chapter})

    finish(5.0, simulated=False)
    finish(2.0, simulated=True)
    assert [document["data"]["simulated"] for document in results.latest()] == [False, True]
    [published] = (project / "book" / "_build" / "results").rglob("*.json")
    assert cache.read_json(published)["data"]["simulated"], "the last build's results are those of the last build"


def test_a_folder_that_is_not_there_is_a_wrong_request(tmp_path):
    with pytest.raises(RequestError, match="no folder"):
        execution.DataPlan.of(tmp_path / "nowhere", simulate_missing=True)


# --- building --------------------------------------------------------------------------------------------------------


def statuses(project: Path) -> dict[str, str]:
    document = json.loads((project / "b.json").read_text(encoding="utf-8"))
    assert document["schema"] == 1
    return {row["chapter"]: row["status"] for row in document["chapters"]} | {"rendered": document["rendered"]}


def built_results(project: Path) -> bytes:
    """Return the results of all chapters as written, without what may differ between runs."""
    documents = [
        json.loads(path.read_text(encoding="utf-8"))["results"]
        for path in sorted((project / "book" / "_build" / "results").rglob("*.json"))
    ]
    return json.dumps(documents).encode()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the small book once, with a copy of the library whose modules may be edited."""
    folder = make_project(tmp_path_factory.mktemp("built") / "project")
    shutil.copytree(REPOSITORY / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    done = edited(folder, "build", "--json", "b.json")
    assert done.returncode == 0, done.stderr
    assert statuses(folder) == {"fixtures/first": "executed", "fixtures/second": "executed", "rendered": True}
    return folder


def edited(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run the command line with the project's own copy of the library."""
    variables = environment(folder) | {"PYTHONPATH": str(folder / "lib")}
    command = [sys.executable, "-m", "eegfmri", *words]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_every_page_of_the_small_book_is_well(built):
    html = built / "book" / "_build" / "html"
    pages = [path for path in html.rglob("*.html") if "_static" not in path.relative_to(html).parts]
    assert len(pages) >= 5
    for path in pages:
        assert problems(path.read_text(encoding="utf-8"), path) == [], path
    text = (html / "fixtures" / "first.html").read_text(encoding="utf-8")
    assert "injected" not in text
    recorded = json.loads((built / "book" / "_build" / "results" / "fixtures" / "first.json").read_text())["results"]
    assert f"{recorded[0]['value']:.3f}" in text
    assert (html / "_static" / "notebooks" / "fixtures" / "first.ipynb").is_file()
    assert (html / "_static" / "plotly.min.js").is_file()


@pytest.mark.slow
def test_nothing_is_done_twice_and_an_edit_executes_its_importers_only(built):
    assert edited(built, "build", "--json", "b.json").returncode == 0
    assert statuses(built) == {"fixtures/first": "cached", "fixtures/second": "cached", "rendered": False}
    for module, expected in (
        ("figures/__init__.py", {"fixtures/first": "executed", "fixtures/second": "cached"}),
        ("results.py", {"fixtures/first": "executed", "fixtures/second": "executed"}),
        ("cli.py", {"fixtures/first": "cached", "fixtures/second": "cached"}),
    ):
        path = built / "lib" / "eegfmri" / module
        path.write_text(path.read_text(encoding="utf-8") + "\n# A comment.\n", encoding="utf-8")
        assert edited(built, "build", "--json", "b.json").returncode == 0
        assert statuses(built) == {"fixtures/first": "cached", "fixtures/second": "cached", "rendered": False}, module
        path.write_text(path.read_text(encoding="utf-8") + "\n_AN_EDIT = 1\n", encoding="utf-8")
        assert edited(built, "build", "--json", "b.json").returncode == 0
        found = statuses(built)
        assert {name: found[name] for name in expected} == expected, module


@pytest.mark.slow
def test_prose_is_rendered_again_around_the_outputs_that_are_there(built):
    assert edited(built, "build").returncode == 0
    path = built / "book" / "fixtures" / "first.md"
    text = path.read_text(encoding="utf-8")
    new = text.replace(
        "The mean is {glue:text}`first/none/mean/value:.3f` V", "Its average: {glue:text}`first/none/mean/value:.5f`"
    )
    new = new.replace("declare()\n", "declare()  # said at once\n").replace("title: A first fixture", "title: Retold")
    try:
        path.write_text(new, encoding="utf-8")
        done = edited(built, "build", "--json", "b.json")
        assert done.returncode == 0, done.stderr
        assert statuses(built) == {"fixtures/first": "cached", "fixtures/second": "cached", "rendered": True}
        page = (built / "book" / "_build" / "html" / "fixtures" / "first.html").read_text(encoding="utf-8")
        recorded = json.loads((built / "book" / "_build" / "results" / "fixtures" / "first.json").read_text())[
            "results"
        ]
        words = BeautifulSoup(page, "html.parser").get_text()
        assert f"Its average: {recorded[0]['value']:.5f}" in words
        assert "said at once" in words
        assert "The mean is" not in words
        assert problems(page, built / "book" / "_build" / "html" / "fixtures" / "first.html") == []
        assert edited(built, "run", "fixtures/first", "--out", "retold").returncode == 0
        notebook = json.loads((built / "retold" / "fixtures-first.ipynb").read_text(encoding="utf-8"))
        sources = ["".join(cell["source"]) for cell in notebook["cells"]]
        assert any(source.startswith("Its average:") for source in sources)
        assert notebook["metadata"]["eegfmri"]["title"] == "Retold"
    finally:
        path.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_a_second_build_waits_for_the_first(built):
    from filelock import FileLock

    with FileLock(built / "book" / "_build" / ".lock"):
        variables = environment(built) | {"PYTHONPATH": str(built / "lib")}
        command = [sys.executable, "-m", "eegfmri", "build"]
        second = subprocess.Popen(command, cwd=built, env=variables, stdout=subprocess.PIPE, text=True)
        assert second.stdout.readline() == "waiting for another build to finish\n"
        assert second.poll() is None
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert "book" in said


@pytest.mark.slow
def test_a_failing_chapter_is_named_while_the_others_finish_and_the_book_stands(built):
    html = built / "book" / "_build" / "html" / "index.html"
    path = built / "book" / "fixtures" / "second.md"
    text = path.read_text(encoding="utf-8")
    other = built / "book" / "fixtures" / "first.md"
    untouched = other.read_text(encoding="utf-8")
    stamp = html.stat().st_mtime_ns
    try:
        path.write_text(text.replace("fail: bool = False", "fail: bool = True"), encoding="utf-8")
        other.write_text(untouched.replace("seed: int = 0 ", "seed: int = 5 "), encoding="utf-8")
        done = edited(built, "build", "--json", "b.json")
    finally:
        path.write_text(text, encoding="utf-8")
        other.write_text(untouched, encoding="utf-8")
    assert done.returncode == 1
    for word in (
        "fixtures/second",
        "code cell 3",
        "# A cell that can fail.",
        "ValueError: the planted failure",
        "stands",
    ):
        assert word in done.stderr, word
    assert "Traceback" not in done.stderr
    assert statuses(built) == {"fixtures/first": "executed", "fixtures/second": "failed", "rendered": False}
    assert html.stat().st_mtime_ns == stamp
    assert not (built / "book" / "_build" / "results" / "fixtures" / "second.json").exists()


@pytest.mark.slow
def test_a_warning_fails_the_build_and_the_previous_book_stands(built):
    page = built / "book" / "intro.md"
    text = page.read_text(encoding="utf-8")
    assert edited(built, "build").returncode == 0
    before = (built / "book" / "_build" / "html" / "intro.html").read_bytes()
    try:
        page.write_text(text + "\n{nosuchrole}`x`\n", encoding="utf-8")
        done = edited(built, "build", "--json", "b.json")
    finally:
        page.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert "nosuchrole" in done.stderr
    assert "previous book stands" in done.stderr
    assert statuses(built)["rendered"] is False
    assert (built / "book" / "_build" / "html" / "intro.html").read_bytes() == before


def alive(pids: list[int]) -> list[int]:
    """Return those processes that run still (a zombie does not)."""
    running = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.append(pid)
        except OSError:
            continue
    return running


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, in all its threads."""
    return [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_kill_in_the_middle_of_a_build_loses_only_what_was_unfinished(tmp_path):
    project = make_project(tmp_path / "project")
    slow = project / "book" / "fixtures" / "second.md"
    slow.write_text(
        slow.read_text(encoding="utf-8").replace("pause: float = 0.0", "pause: float = 8.0"), encoding="utf-8"
    )
    command = [sys.executable, "-m", "eegfmri", "build", "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    executed = project / "book" / "_build" / "executed" / "fixtures"
    deadline = time.monotonic() + 60
    while not list(executed.glob("first/[!.]*/results.json")):  # under its final name, no longer as a part
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    kernels = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not list(executed.glob("second/[!.]*/results.json"))
    assert kernels
    deadline = time.monotonic() + 15
    while alive(kernels):
        assert time.monotonic() < deadline, "a kernel outlived the killed runner"
        time.sleep(0.1)
    assert eegfmri(project, "build", "--json", "b.json").returncode == 0
    assert statuses(project) == {"fixtures/first": "cached", "fixtures/second": "executed", "rendered": True}
    interrupted = built_results(project)
    assert not list(executed.rglob(".part-*"))
    undisturbed = make_project(tmp_path / "undisturbed")
    assert eegfmri(undisturbed, "build").returncode == 0
    assert built_results(undisturbed) == interrupted


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
def test_an_interrupted_build_leaves_at_once_with_one_sentence(tmp_path):
    project = make_project(tmp_path / "project")
    slow = project / "book" / "fixtures" / "second.md"
    text = slow.read_text(encoding="utf-8")
    slow.write_text(text.replace("pause: float = 0.0", "pause: float = 60.0"), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "eegfmri", "build", "--jobs", "2"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    executed = project / "book" / "_build" / "executed" / "fixtures"
    deadline = time.monotonic() + 60
    while not list(executed.glob("first/[!.]*/results.json")):  # under its final name, no longer as a part
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    kernels = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.startswith("Interrupted") and len(said.strip().split("\n")) == 1
    deadline = time.monotonic() + 15
    while alive(kernels):
        assert time.monotonic() < deadline, "a kernel outlived the interrupted runner"
        time.sleep(0.1)


@pytest.mark.slow
def test_pages_about_results_come_last_and_follow_them(tmp_path):
    project = make_project(tmp_path / "project", chapters=("fixtures/about", "fixtures/second"))
    (project / "book" / "intro.md").write_text("# A small book\n", encoding="utf-8")
    head = (FIXTURES / "fixtures" / "second.md").read_text(encoding="utf-8").partition("\n# ")[0]
    (project / "book" / "fixtures" / "about.md").write_text(
        head.replace("eegfmri:\n", "eegfmri:\n  reads_results: true\n")
        + "\n# About\n\n```{code-cell} python\nfrom eegfmri.results import latest, record\n\n"
        "record('about/n/n/count', len(latest()))\n```\n\n{glue:text}`about/n/n/count`\n",
        encoding="utf-8",
    )
    assert eegfmri(project, "build", "--json", "b.json").returncode == 0
    about = project / "book" / "_build" / "results" / "fixtures" / "about.json"
    assert json.loads(about.read_text())["results"][0]["value"] == 1
    assert eegfmri(project, "build", "--json", "b.json").returncode == 0
    assert set(statuses(project).values()) == {"cached", False}
    path = project / "book" / "fixtures" / "second.md"
    path.write_text(path.read_text(encoding="utf-8").replace('nothing/one", 1)', 'nothing/one", 2)'), encoding="utf-8")
    assert eegfmri(project, "build", "--json", "b.json").returncode == 0
    assert statuses(project) == {"fixtures/about": "executed", "fixtures/second": "executed", "rendered": True}


def test_a_chapter_of_several_datasets_needs_only_the_one_that_is_asked_for(tmp_path):
    text = "---\neegfmri:\n  datasets: [sleep, oddball]\n---\n# Title\n"
    chapter = chapters.read_chapter("some/chapter", tmp_path / "chapter.md", text)
    assert chapter.needs({"seed": 0}) == ("sleep", "oddball")
    assert chapter.needs({"dataset": "oddball"}) == ("oddball",)
    assert chapter.needs({"dataset": "something else"}) == ("sleep", "oddball")
