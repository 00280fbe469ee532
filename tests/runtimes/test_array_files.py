"""Inputs from a .npz: types are changed only where every number survives, and each change is told."""

from pathlib import Path

import numpy as np
import pytest

from edgestep.artifact import BadInput, TensorSpec
from edgestep.runtimes.array_files import feeds_from_arrays, read_arrays, write_arrays


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([1.5, -2.25]), "float32"),
        (np.array([0.1, np.nan, np.inf]), "float32"),
        (np.array([3, -4]), "int32"),
        (np.array([3, 40000]), "float32"),
        (np.array([1.5, 2.0], np.float32), "float16"),
        (np.array([0, 255]), "uint8"),
    ],
)
def test_what_survives_is_changed_and_told(value, dtype):
    feeds, told = feeds_from_arrays({"x": value}, [TensorSpec("x", dtype, value.shape)])
    assert feeds["x"].dtype == dtype
    np.testing.assert_array_equal(feeds["x"], value.astype(dtype))
    assert told == (f"x: {value.dtype} -> {dtype}",)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.array([1e300]), "float32"),
        (np.array([2**40]), "int32"),
        (np.array([2**24 + 1]), "float32"),
        (np.array([1.5]), "int32"),
        (np.array([-1]), "uint8"),
        (np.array([70000.0], np.float32), "float16"),
        (np.array([1]), "bool"),
        (np.array(["a"]), "float32"),
        (np.array([1.0]), "tensor(string)"),
    ],
)
def test_what_does_not_survive_is_refused_with_what_is_expected(value, dtype):
    with pytest.raises(BadInput, match=r"expected x .*does not fit"):
        feeds_from_arrays({"x": value}, [TensorSpec("x", dtype, value.shape)])


@pytest.mark.parametrize("given", [{}, {"y": (2,)}, {"x": (3,)}, {"x": (2,), "y": (2,)}])
def test_other_names_and_shapes_are_refused(given):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in given.items()}
    with pytest.raises(BadInput, match=r"expected x float32 \[2\]"):
        feeds_from_arrays(arrays, [TensorSpec("x", "float32", (2,))])


def test_a_file_holds_what_was_written(tmp_path: Path):
    arrays = {"file": np.arange(6.0).reshape(2, 3), "a b": np.float16([1, np.inf]), "label": np.array("owl")}
    write_arrays(tmp_path / "new" / "out.npz", arrays)
    with np.load(tmp_path / "new" / "out.npz", allow_pickle=False) as loaded:
        assert set(loaded.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.npz"]
    assert read_arrays(tmp_path / "new" / "out.npz").keys() == arrays.keys()


@pytest.mark.parametrize("what", ["missing", "text", "npy", "objects", "cut"])
def test_what_is_no_npz_is_one_line(tmp_path: Path, what: str):
    path = tmp_path / "in.npz"
    if what == "text":
        path.write_text("{}")
    elif what == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif what == "objects":
        np.savez(path, x=np.array([{}], dtype=object))
    elif what == "cut":
        np.savez(path, x=np.zeros(3000))
        path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadInput, match=r"got .*expected a \.npz") as caught:
        read_arrays(path)
    assert "\n" not in str(caught.value)
