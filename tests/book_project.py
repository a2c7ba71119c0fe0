"""A small project tree for the runner's tests: the real configuration, two or three chapters, no dataset."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FIXTURES = Path(__file__).resolve().parent / "fixture_book"


def make_project(folder: Path, chapters=("fixtures/first", "fixtures/second")) -> Path:
    """Write a project with the book's real configuration and the fixture chapters; return its folder."""
    book = folder / "book"
    shutil.copytree(FIXTURES, book)
    for name in ("_static", "_ext"):
        shutil.copytree(REPOSITORY / "book" / name, book / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "book" / "_config.yml", book / "_config.yml")
    shutil.copytree(REPOSITORY / "book" / "appendix", book / "appendix", dirs_exist_ok=True)
    (book / "references.bib").write_text("@misc{nobody, author = {Nobody, N.}, title = {Nothing}, year = {2000}}\n")
    listed = "".join(f"  - file: {name}\n" for name in (*chapters, "appendix/runs"))
    (book / "_toc.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n{listed}", encoding="utf-8")
    (folder / "requirements.lock").write_text("nothing==1\n")
    return folder


def environment(project: Path) -> dict[str, str]:
    """Return the environment of a command that works in the small project with this library."""
    return {
        **os.environ,
        "EEGFMRI_ROOT": str(project),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY / "lib"), os.environ.get("PYTHONPATH")))),
    }


def eegfmri(project: Path, *words: str, **options) -> subprocess.CompletedProcess:
    """Run the command line in the small project."""
    return subprocess.run(
        [sys.executable, "-m", "eegfmri", *words],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=1800,
        **options,
    )
