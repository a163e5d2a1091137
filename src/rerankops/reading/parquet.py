"""Rows of Parquet files, read in a separate process: a damaged file ends that process, not ours."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rerankops.reading.parquet_worker import NUMBER
from rerankops.reading.places import Place, Refused, Row, Unfit, Unusable, unusable

_BATCH = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORKER = Path(__file__).with_name("parquet_worker.py")


class Window(NamedTuple):
    """The requested rows: since <= column < until; None: no limit. Rows whose time is text or missing are always
    included."""

    column: str
    since: datetime | None
    until: datetime | None


class ParquetRows:
    """A file's columns and rows. wanted: the columns to read, a.b being b in the struct a; None: all. utc: times
    without a zone are in UTC; otherwise such times are returned unchanged, regardless of the window."""

    def __init__(
        self, path: Path, file: str, *, wanted: Sequence[str] | None, window: Window | None, megabytes: float, utc: bool
    ) -> None:
        self._file = file
        self._asked = {
            "path": str(path),
            "columns": None if wanted is None else list(wanted),
            "window": window and [window.column, _micros(window.since), _micros(window.until)],
            "size": _BATCH,
            "megabytes": megabytes,
            "utc": utc,
        }
        self.columns: tuple[str, ...] = ()

    @contextmanager
    def opened(self) -> Iterator[Iterator[Row | Unusable]]:
        """The rows of the open file. Raises Refused when the file cannot be opened; the rows raise later errors."""
        with _process() as process:
            answer = process.ask(self._asked)
            if "error" in answer:
                raise _damaged(answer["error"])
            if answer["twice"]:
                raise Refused("a column twice", f"has the column {answer['twice'][0]!r} twice; rename one of them")
            self.columns = tuple(dict.fromkeys([*answer["columns"], *answer["found"]]))
            yield self._rows(process)

    def _rows(self, process: _Process) -> Iterator[Row | Unusable]:
        while True:
            answer = process.said()
            if "error" in answer:
                raise _damaged(answer["error"])
            if "end" in answer:
                return
            content = process.take(answer["bytes"])
            yield from self._batch(pa.ipc.open_stream(content).read_all())

    def _batch(self, table: pa.Table) -> Iterator[Row | Unusable]:
        names = table.column_names[:-1]
        numbers = table.column(NUMBER).to_pylist()
        try:
            columns = [table.column(name).to_pylist() for name in names]
        except (ValueError, OverflowError):  # a time that Python cannot hold: read row by row to keep the other rows
            for at, number in enumerate(numbers):
                place = Place(self._file, row=number)
                try:
                    yield Row(place, {name: _plain(table.column(name)[at].as_py()) for name in names})
                except (ValueError, OverflowError) as error:
                    yield unusable(place, Unfit("a value out of range", f"holds a value out of range ({error})"))
            return
        for number, *cells in zip(numbers, *columns, strict=True):
            values = {name: _plain(cell) for name, cell in zip(names, cells, strict=True)}
            yield Row(Place(self._file, row=number), values)


def _plain(cell: Any) -> Any:
    """Decodes text that a writer stored as bytes."""
    if isinstance(cell, bytes):
        try:
            return cell.decode()
        except UnicodeDecodeError:
            return cell
    return cell


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else round((moment - _EPOCH).total_seconds() * 1e6)


def _damaged(words: str) -> Refused:
    return Refused("a damaged Parquet file", f"cannot be read: {words[:300]}; is it complete?")


class _Process:
    """The other process. Its input ends when we end, and so does the process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._ended = True

    @property
    def idle(self) -> bool:
        """The process is alive and has sent everything that was requested."""
        return self._ended and self._process.poll() is None

    def ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            self._input.write(json.dumps(asked).encode() + b"\n")
            self._input.flush()
        except OSError:
            raise self._died() from None
        return self.said()

    def said(self) -> dict[str, Any]:
        line = self._output.readline()
        if not line.endswith(b"\n"):
            raise self._died()
        said: dict[str, Any] = json.loads(line)
        self._ended = "end" in said
        return said

    def take(self, count: int) -> bytes:
        content: bytes = self._output.read(count)
        if len(content) < count:
            raise self._died()
        return content

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    @property
    def _input(self) -> Any:
        return self._process.stdin

    @property
    def _output(self) -> Any:
        return self._process.stdout

    def _died(self) -> Refused:
        return _damaged(f"the process that read it ended with status {self._process.wait()}")


_idle: list[_Process] = []


@contextmanager
def _process() -> Iterator[_Process]:
    """The process. It is kept for the next file when it has answered to the end."""
    process = _idle.pop() if _idle else _Process()
    if not process.idle:
        process.end()
        process = _Process()
    try:
        yield process
    finally:
        if process.idle and not _idle:
            _idle.append(process)
        else:
            process.end()


@atexit.register
def _end_idle() -> None:
    while _idle:
        _idle.pop().end()
