"""Matrices share one scale."""

import numpy as np

from eegfmri.figures.matrices import matrices


def test_matrices_share_one_symmetric_scale_and_one_bar():
    figure = matrices({"a": np.eye(3), "b": -np.eye(3)}, 1.0, "r", names=("x", "y", "z"))
    assert {(heat.zmin, heat.zmax) for heat in figure.data} == {(-1.0, 1.0)}
    assert [bool(heat.showscale) for heat in figure.data] == [True, False]
    assert figure.data[1].z[0][0] == -1
    assert list(figure.data[0].x) == ["x", "y", "z"]
    assert [note.text for note in figure.layout.annotations] == ["a", "b"]


def test_what_is_not_centred_starts_at_zero_and_small_numbers_keep_their_digits():
    small = 1e-4 * np.arange(6.0).reshape(2, 3)
    figure = matrices({"a": small}, centre=False)
    assert figure.data[0].zmin == 0
    np.testing.assert_allclose(np.array(figure.data[0].z), small, atol=1e-6)


def test_many_matrices_go_on_in_the_next_row():
    figure = matrices({name: np.eye(2) for name in "abcde"}, 1.0)
    assert {figure.layout[axis].scaleanchor for axis in ("yaxis", "yaxis5")} == {"x", "x5"}
