"""The built book on paper: every page as a PDF under ``book/_build/pdf``, printed by Chromium with the book's style for print.

``make pdf`` runs it, or ``python -m eegfmri.runner.pdf`` after a build, with the names of pages if only some are wanted.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from eegfmri import cache
from eegfmri.errors import EegFmriError, RequestError
from eegfmri.runner.browser import browsing
from eegfmri.runner.execution import build_dir
from eegfmri.runner.render import html_dir

#: Pages that are of no use on paper.
_SCREEN_ONLY = frozenset({"index", "search", "genindex"})

#: Everything that a page draws late is there: figures, formulae, fonts.
_DRAWN = (
    "Promise.all([window.eegfmri.drawAll(), window.MathJax?.startup?.promise, document.fonts.ready]).then(() => true)"
)


def pages() -> list[str]:
    """Return the names of the built book's pages, without ending, as they lie in its folder.

    Returns
    -------
    list of str
        In alphabetical order.

    Raises
    ------
    RequestError
        If there is no built book.
    """
    folder = html_dir()
    if not (folder / "index.html").is_file():
        raise RequestError("There is no built book to print: run `make book` first.")
    found = (path.relative_to(folder) for path in folder.rglob("*.html") if folder / "_static" not in path.parents)
    return sorted({path.with_suffix("").as_posix() for path in found} - _SCREEN_ONLY)


def print_book(names: Iterable[str] = ()) -> list[Path]:
    """Print pages of the built book.

    Parameters
    ----------
    names : iterable of str
        Which; all if there are none.

    Returns
    -------
    list of pathlib.Path
        The PDF files.

    Raises
    ------
    RequestError
        If a page is not there.
    EegFmriError
        If there is no Chromium, or it fails.
    """
    known = pages()
    wanted = list(names) or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise RequestError(f"The book has no page {unknown[0]}: it has {', '.join(known)}.")
    written = []
    with browsing(width=700) as page:
        page.prefer("light", "print")
        for name in wanted:
            target = build_dir() / "pdf" / f"{name}.pdf"
            page.open((html_dir() / f"{name}.html").resolve().as_uri())
            page.evaluate(_DRAWN)
            with cache.written_whole(target) as temporary:
                temporary.write_bytes(page.pdf())
            written.append(target)
    return written


def main() -> int:
    """Print the pages named on the command line, or all, and say where they are.

    Returns
    -------
    int
        Exit code: 0 done, 1 it failed, 2 the request was wrong.
    """
    try:
        written = print_book(sys.argv[1:])
    except EegFmriError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    print(f"{len(written)} pages in {build_dir() / 'pdf'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
