"""Band by band gives what scipy gives as a whole."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hsisr_core.errors import HsisrError
from hsisr_core.scenes.mat5 import check_whole, v5_bands

RNG = np.random.default_rng(12)


def bands(path: Path, name: str) -> np.ndarray:
    return np.stack(list(v5_bands(path, name)), axis=2)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
)
def test_every_type_is_read_as_scipy_does(tmp_path: Path, dtype: str, compressed: bool) -> None:
    array = (RNG.random((7, 5, 3)) * 120).astype(dtype)
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"x": array, "a_name_of_many_letters": array[:, :, :2]}, do_compression=compressed)
    found = bands(path, "x")
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert np.array_equal(bands(path, "a_name_of_many_letters"), array[:, :, :2])


def test_a_large_array_crosses_the_blocks_of_zlib(tmp_path: Path) -> None:
    array = RNG.random((200, 300, 12))
    array[:, :, 3:7] = 0  # a long run: much output from few bytes
    scipy.io.savemat(tmp_path / "a.mat", {"x": array}, do_compression=True)
    assert np.array_equal(bands(tmp_path / "a.mat", "x"), array)


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    """As MATLAB on a SPARC wrote them: made by hand, for scipy writes none."""

    def element(kind: int, data: bytes) -> bytes:
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    array = RNG.integers(0, 65536, (4, 5, 2), dtype=np.uint16)
    matrix = element(6, bytes([0, 0, 0, 11]) + bytes(4))
    matrix += element(5, b"".join(side.to_bytes(4, "big") for side in array.shape))
    matrix += (1).to_bytes(2, "big") + (1).to_bytes(2, "big") + b"x\0\0\0"  # the small format, length first
    matrix += element(4, array.astype(">u2").tobytes(order="F"))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
    path = tmp_path / "a.mat"
    for data in (element(14, matrix), element(15, zlib.compress(element(14, matrix)))):
        path.write_bytes(header + data)
        assert np.array_equal(scipy.io.loadmat(path)["x"], array)
        check_whole(path)
        assert np.array_equal(bands(path, "x"), array)


def test_a_damaged_stream_is_noticed_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"x": RNG.random((20, 20, 3))}, do_compression=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the checksum of zlib
    path.write_bytes(data)
    with pytest.raises(zlib.error):
        bands(path, "x")


def test_a_complex_or_missing_array(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"z": RNG.random((4, 4, 3)) * 1j})
    with pytest.raises(HsisrError, match="z is complex; expected real numbers"):
        bands(path, "z")
    with pytest.raises(ValueError, match="no array x"):
        bands(path, "x")
