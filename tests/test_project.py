"""The project's own promises: one list of dependencies in three files, no leftovers, no required test skipped."""

import ast
import functools
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

#: Names that differ between PyPI and conda-forge.
CONDA_NAMES = {
    "dask": ["dask-core"],
    "matplotlib": ["matplotlib-base"],
    "mne": ["mne-base"],
    "seaborn": ["seaborn-base"],
    "torch": ["pytorch"],
    "torch-geometric": ["pytorch-geometric"],
}

#: Required by whoever asked for the project; stays declared while the chapter that uses it is being written.
FIXED = {"jupyter-book", "jupytext", "papermill", "torch", "torch-geometric", "mne", "nilearn", "nibabel", "seaborn"}

#: Used without an import: the file, and the words in it that use the distribution.
USED_BY_NAME = {
    "ipykernel": ("book/intro.md", "name: python3"),
    "myst-nb": ("book/_config.yml", "nb_merge_streams"),
    "sphinx-book-theme": ("book/_config.yml", "html_theme_options"),
    "sphinx-exercise": ("book/_config.yml", "sphinx_exercise"),
    "sphinx-proof": ("book/_config.yml", "sphinx_proof"),
    "sphinxcontrib-bibtex": ("book/_config.yml", "bibtex_bibfiles"),
    "sphinx-mathjax-offline": ("book/_ext/eegfmri_book.py", "sphinx-mathjax-offline"),
    "pytest-xdist": ("Makefile", "pytest -n"),
    "ruff": ("Makefile", "ruff check"),
    "numpydoc": ("Makefile", "numpydoc.hooks"),
}


def declared() -> dict[str, Requirement]:
    """Return the requirements of pyproject.toml, the extra ``test`` included, by canonical name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    requirements = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    assert len(requirements) == len(lines), "a dependency is declared twice"
    return requirements


def locked() -> dict[str, str]:
    """Return name and version of every line of requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!]+)", line) for line in lines if not line.startswith("#")]
    assert all(pins), "a line of requirements.lock is not NAME==VERSION"
    return {canonicalize_name(pin[1]): pin[2] for pin in pins}


def conda() -> dict[str, Requirement]:
    """Return the requirements of environment.yml, those of its pip section included."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    names = [entry for entry in entries if isinstance(entry, str)]
    names += [line for entry in entries if isinstance(entry, dict) for line in entry["pip"] if line != "-e ."]
    # conda writes an exact pin with one equals sign
    requirements = [Requirement(re.sub(r"(?<![=<>!~])=(?!=)", "==", name)) for name in names]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def python_sources() -> Iterator[tuple[Path, str]]:
    """Yield file and source of the library, the tests, the book's extensions and the chapters' code cells."""
    for folder in ("lib", "tests", "book/_ext"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "book").rglob("*.md")):
        if "_build" not in path.parts:
            cells = re.findall(r"^```\{code-cell\}.*?\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
            for cell in cells:
                lines = [line for line in cell.splitlines() if not line.startswith((":", "%", "!", "---"))]
                yield path, "\n".join(lines)


@functools.cache
def third_party_imports() -> dict[str, set[str]]:
    """Return, for each distribution that is imported, the files that import it."""
    providers = importlib.metadata.packages_distributions()
    own = {"eegfmri", *(path.stem for folder in ("tests", "book/_ext") for path in (ROOT / folder).glob("*.py"))}
    found: dict[str, set[str]] = {}
    for path, source in python_sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            else:
                continue
            for module in {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - own:
                for name in providers.get(module, [module]):
                    found.setdefault(canonicalize_name(name), set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_environment_yml_repeats_pyproject():
    wanted, environment = declared(), conda()
    expected = {canonicalize_name(other): name for name in wanted for other in CONDA_NAMES.get(name, [name])}
    assert set(environment) - {"python", "pip", "setuptools"} == set(expected)
    for other, name in expected.items():
        assert environment[other].specifier == wanted[name].specifier, other


def test_the_lock_satisfies_pyproject_and_environment_yml():
    pins = locked()
    for name, requirement in declared().items():
        assert requirement.specifier.contains(pins[name]), f"{requirement} is locked at {pins[name]}"


def test_the_lock_is_closed_and_holds_nothing_else():
    pins, pending, reached = locked(), list(declared().values()), set()
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in reached:
            continue
        reached.add((name, frozenset(requirement.extras)))
        if name not in pins and name.startswith(("nvidia-", "cuda-", "triton")):
            continue  # parts of the CUDA build of torch, which a CPU build does without
        assert name in pins, f"{name} is needed and not in requirements.lock"
        for line in importlib.metadata.requires(name) or []:
            inner = Requirement(line)
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append(inner)
    assert {name for name, _ in reached} | {"setuptools", "wheel"} == set(pins)


def test_everything_imported_is_declared():
    undeclared = {name: sorted(files) for name, files in third_party_imports().items() if name not in declared()}
    assert not undeclared


def test_everything_declared_is_used():
    unused = set(declared()) - set(third_party_imports()) - FIXED
    for name in sorted(unused & set(USED_BY_NAME)):
        file, words = USED_BY_NAME[name]
        if (ROOT / file).is_file() and words in (ROOT / file).read_text(encoding="utf-8"):
            unused.discard(name)
    assert not unused


def test_no_registry_host_or_machine_path_is_written_down():
    files = ["Makefile", ".ci/run", "environment.yml", "pyproject.toml", "requirements.lock"]
    for file in files:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links|/(home|root|opt|work|Users)/", text), file


@pytest.mark.parametrize("required", [False, True])
def test_required_real_data_turns_a_skip_into_a_failure(tmp_path, required, monkeypatch):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = real_data: real files\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n\n@pytest.mark.real_data\ndef test_real(real_data):\n    pass\n\n\n"
        "def test_other():\n    pytest.skip('no browser')\n",
        encoding="utf-8",
    )
    monkeypatch.delenv("EEGFMRI_REAL_DATA", raising=False)
    monkeypatch.setenv("EEGFMRI_REQUIRE_REAL_DATA", "1" if required else "0")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # none is needed, and to import them takes seconds
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if required else 0), done.stdout
    assert ("1 skipped" if required else "2 skipped") in done.stdout
    assert ("test_real needs the real files" in done.stdout) is required
