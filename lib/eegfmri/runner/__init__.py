"""Chapters found, executed under keys, rendered, swept and compared."""
