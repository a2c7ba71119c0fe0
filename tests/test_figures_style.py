"""One table of names and colours."""

import doctest

import pytest

from eegfmri.figures import style


@pytest.mark.parametrize(
    ("method", "name", "colour"),
    [
        ("lda_eeg", "LDA, EEG", style.PALETTE[0]),
        ("ridge_bold", "ridge, BOLD", style.PALETTE[1]),
        ("ridge", "ridge on band power", style.PALETTE[2]),
        ("best_classical_bold", "best classical, BOLD", style.PALETTE[1]),
        ("eeg_gcn", "EEG graph network", style.PALETTE[0]),
        ("time_in_run", "time in run", style.UNKNOWN_COLOUR),
        ("something_new", "something new", style.UNKNOWN_COLOUR),
    ],
)
def test_methods_are_named_and_coloured_by_what_they_see(method, name, colour):
    assert style.label(method) == name
    assert style.colour(method) == colour


def test_endings_of_a_method_are_told():
    assert style.label("convolutional_all_other_time") == "convolutional, all electrodes, EEG of another time"
    assert style.label("transformer_power_slices_hidden") == "transformer, band power, no slices fed"
    assert style.label("transformer_teacher_forced").endswith("(oracle)")
    assert style.colour("previous_volume") == style.colour("transformer_teacher_forced") != style.colour("transformer")
    assert style.colour("siamese_other_time") == style.colour("siamese")


def test_tables_that_meet_in_one_figure_share_no_colour():
    assert not set(style.BAND_COLOURS.values()) & set(style.MODALITY_COLOURS.values()) - {
        style.MODALITY_COLOURS["both"]
    }
    for table in (style.STAGE_COLOURS, style.BAND_COLOURS, style.DATASET_COLOURS, style.VERDICT_COLOURS):
        assert len(set(table.values())) == len(table)


def test_no_other_module_of_figures_has_a_table_of_names_or_colours_of_methods():
    from pathlib import Path

    for path in Path(style.__file__).parent.glob("*.py"):
        if path.name != "style.py":
            text = path.read_text(encoding="utf-8")
            assert "METHOD_LABELS" not in text, path
            assert "def label(" not in text, path
            assert "def colour(" not in text, path


def test_numbers_are_short_and_what_is_missing_stays_missing():
    assert style.short([1.23456, float("nan")]) == [1.235, None]


def test_the_examples_are_true():
    assert doctest.testmod(style).failed == 0
