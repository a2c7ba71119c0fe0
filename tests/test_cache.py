"""Caches: keys that follow what they are made of, and files that are whole or absent."""

import numpy as np
import pytest

from eegfmri import cache


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "a" / "x.json"
    cache.write_json(path, {"a": 1})

    def fail():
        with cache.written_whole(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert cache.read_json(path) == {"a": 1}
    assert list(path.parent.iterdir()) == [path]


def test_arrays_come_back_memory_mapped_and_read_only(tmp_path):
    path = cache.save_array(tmp_path / "x.npy", np.arange(6.0).reshape(2, 3))
    array = cache.load_array(path)
    assert isinstance(array, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_objects_are_refused_not_pickled(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        cache.save_array(tmp_path / "x.npy", np.array([{}], dtype=object))
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="cache key"):
        cache.digest(object())


def test_keys_depend_on_values_types_and_order_only_where_it_matters(tmp_path):
    assert cache.digest({"a": 1, "b": 2}) == cache.digest({"b": 2, "a": 1})
    assert cache.digest({"x", "y"}) == cache.digest({"y", "x"})
    assert cache.digest([1, 2]) != cache.digest([2, 1])
    assert cache.digest(np.zeros(4)) != cache.digest(np.zeros((2, 2)))
    assert cache.digest(np.zeros(4)) != cache.digest(np.zeros(4, dtype=np.float32))
    assert cache.digest(np.float64(0.5)) == cache.digest(np.float64(0.5))
