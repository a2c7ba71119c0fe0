"""Simultaneous EEG and fMRI: fusion, synthesis, and an honest evaluation of both.

The package is imported in milliseconds: heavy libraries are imported by the modules that use them.
"""

__version__ = "0.1.0"
