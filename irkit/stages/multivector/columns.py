"""Columns: arrays with a row for every token, in ``.npy`` files, written shard by shard and read by plain reads or mapped.

A page of a mapped file counts as a process's memory once it was touched. So what walks over a whole column (building,
encoding an index) reads it by :meth:`Column.read`, and only what picks rows uses the map.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from irkit.core.rankings import offsets_of

_COPY = 1 << 22
"""Bytes that are copied at a time."""


class Column:
    """A column on disk. Opening it reads the header of the file and nothing else.

    Attributes:
        shape: rows, and what a row holds.
        dtype: of its numbers.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ValueError: when it is no array of numbers in C order.
        """
        self._path = path
        with path.open("rb") as file:
            self.shape, self.dtype = _header(file)
            self._start = file.tell()
        self._width = int(np.prod(self.shape[1:], dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    @cached_property
    def mapped(self) -> NDArray[Any]:
        """The column as a mapped array."""
        mapped: NDArray[Any] = np.load(self._path, mmap_mode="r", allow_pickle=False)
        return mapped.view(np.ndarray)  # without np.memmap's bookkeeping at every access

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the rows ``start:stop``, in memory."""
        skip = self._start + start * self._width * self.dtype.itemsize
        flat = np.fromfile(self._path, self.dtype, (stop - start) * self._width, offset=skip)
        rows: NDArray[Any] = flat.reshape(stop - start, *self.shape[1:])
        return rows

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows, in memory: of an array of numbers or a slice, as numpy does. Nothing is mapped."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self.read(start, max(start, stop))
            rows = np.arange(start, stop, step)
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        row_bytes = self._width * self.dtype.itemsize
        with self._path.open("rb") as file:
            for at, row in enumerate(rows.tolist()):
                file.seek(self._start + row * row_bytes)
                out[at] = np.frombuffer(file.read(row_bytes), self.dtype).reshape(self.shape[1:])
        return out


Rows: TypeAlias = NDArray[Any] | Column
"""Rows in memory or on disk, for what reads some of them at a time."""


def write_header(file: BinaryIO, dtype: Any, shape: tuple[int, ...]) -> None:
    """Write the header of a ``.npy`` file; the numbers follow it in C order.

    Args:
        file: at its beginning.
        dtype: of the numbers.
        shape: of the whole array, which need not be in memory.
    """
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape},
    )


def write(path: Path, blocks: Iterable[NDArray[Any]], dtype: Any, row: tuple[int, ...]) -> Column:
    """Write blocks of rows one after the other, of which one at a time is in memory, and return the column."""
    total = 0
    with path.open("wb") as file:
        write_header(file, dtype, (0, *row))
        for block in blocks:
            np.ascontiguousarray(block, dtype).tofile(file)
            total += len(block)
        file.seek(0)
        write_header(file, dtype, (total, *row))  # as long as before: numpy leaves room for a longer number
    return Column(path)


def concatenate(files: Sequence[Path], out: Path, dtype: Any, row: tuple[int, ...] = ()) -> int:
    """Write the rows of some ``.npy`` files one after the other into a new one and return their number.

    Args:
        files: columns of this type whose rows have this shape.
        out: where to write.
        dtype: of the result, for there may be no file.
        row: the shape of a row.

    Raises:
        ValueError: when a file has another type or other rows.
    """
    wanted, total = np.dtype(dtype), 0
    for path in files:
        column = Column(path)
        if (column.dtype, column.shape[1:]) != (wanted, row):
            raise ValueError(f"{path}: {column.dtype}{column.shape}, not rows {wanted}{row}")
        total += len(column)
    with out.open("wb") as written:
        write_header(written, wanted, (total, *row))
        for path in files:
            with path.open("rb") as file:
                _header(file)
                shutil.copyfileobj(file, written, _COPY)
    return total


def concatenate_offsets(files: Sequence[Path], out: Path) -> NDArray[np.int64]:
    """Join the ``offsets.npy`` of some shards, write those of the whole, and return them, ``int64[N + 1]``."""
    lengths = [np.diff(np.load(path, allow_pickle=False)) for path in files]
    offsets = offsets_of(np.concatenate([np.zeros(0, np.int64), *lengths]))
    np.save(out, offsets, allow_pickle=False)
    return offsets


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if (fortran and len(shape) > 1) or dtype.hasobject:
        raise ValueError(f"{file.name}: not an array of numbers in C order")
    return shape, dtype
