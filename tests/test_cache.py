"""Caches: keys that follow what they are made of, and files that are whole or absent."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

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


SOURCE = """
def area(radius):
    return 3 * radius**2
"""


@pytest.mark.parametrize(
    ("changed", "equal"),
    [
        ('"""What it is for."""\n' + SOURCE, True),
        (SOURCE.replace("return", '"""Area in m²."""\n    return'), True),
        (SOURCE.replace("radius**2", "radius ** 2  # rounded"), True),
        (SOURCE.replace("3", "3.1"), False),
        (SOURCE.replace("return", "'not a docstring' and 1\n    return"), False),
        (SOURCE + "AREA = area(1)\n", False),
    ],
)
def test_code_counts_as_its_syntax_tree(changed, equal):
    assert (cache.syntax(changed) == cache.syntax(SOURCE)) is equal


@pytest.mark.parametrize(
    ("added", "equal"),
    [("\n# A comment.\n", True), ('\n\ndef _new():\n    """Do nothing."""\n', False)],
)
def test_the_digest_of_a_module_follows_the_code_of_what_it_imports(tmp_path, monkeypatch, added, equal):
    before = cache.code_digest("eegfmri.simulation.simulate")
    original = cache._modules()
    for name in ("eegfmri.simulation.oddball", "eegfmri.simulation.sources", "eegfmri.datasets.montages"):
        path = tmp_path / f"{name}.py"
        path.write_text(original[name].read_text(encoding="utf-8") + added, encoding="utf-8")
        monkeypatch.setattr(cache, "_modules", lambda name=name, path=path: {**original, name: path})
        found = cache.code_digest("eegfmri.simulation.simulate")
        assert (found == before) is equal, name


def test_an_array_that_two_need_at_once_is_made_once(tmp_path):
    path, made, both = tmp_path / "a" / "x.npy", [], threading.Barrier(2)

    def make():
        made.append(threading.get_ident())
        time.sleep(0.2)  # long enough for the other to come by
        return np.arange(5)

    def ask(_):
        both.wait()
        return cache.load_array(cache.kept_array(path, make)).tolist()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(2))) == [[0, 1, 2, 3, 4]] * 2
    assert len(made) == 1
    cache.kept_array(path, make)
    assert len(made) == 1


def test_whoever_waits_for_one_who_fails_makes_it_himself(tmp_path):
    path = tmp_path / "x.npy"

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.kept_array(path, fail)
    assert not path.exists()
    assert cache.load_array(cache.kept_array(path, lambda: np.ones(3))).tolist() == [1, 1, 1]


def test_what_was_made_last_is_handed_out_again_as_long_as_it_fits():
    recent, made = cache.Recent(100), []

    def make(name, n_bytes):
        def make():
            made.append(name)
            return np.zeros(n_bytes, dtype=np.uint8)

        return recent.get(name, make)

    first = make("a", 60)
    assert make("a", 60) is first
    make("b", 30)
    make("a", 60)
    make("c", 30)  # b was asked for longest ago
    make("a", 60)
    assert made == ["a", "b", "c"]
    make("b", 30)
    make("large", 101)  # kept by nobody, and pushes nothing out
    make("large", 101)
    make("b", 30)
    assert made == ["a", "b", "c", "b", "large", "large"]
