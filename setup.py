"""Puts the tables that chapters read into a wheel; everything else about the package stands in pyproject.toml.

They are tracked under ``data/`` and ``book/``, where readers of the project look for them, and not inside the package. A wheel has them as
``eegfmri/tables``, see ``eegfmri.project.table``; an editable installation reads them where they are.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: What goes into ``eegfmri/tables``: the folder below which its path counts, and the files.
TABLES = (("data", ("*.yml", "*.json", "*.csv", "manifests/*.tsv")), ("book", ("references.bib",)))


class BuildWithTables(build_py):
    """Copies the tables beside the modules."""

    def run(self):
        """Build the package."""
        super().run()
        if self.editable_mode:
            return
        top = Path(__file__).resolve().parent
        for folder, patterns in TABLES:
            for path in sorted(path for pattern in patterns for path in (top / folder).glob(pattern)):
                target = Path(self.build_lib) / "eegfmri" / "tables" / path.relative_to(top / folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithTables})
