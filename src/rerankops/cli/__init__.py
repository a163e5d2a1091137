"""`rerankops …`: every step by hand, the demo, a trial on a labelled set. The same functions that the DAGs call.

Exit status: 0 done, 2 something a person has to act on (one line says what), 1 a defect of ours (one line, and its
trace in a file), 128 and the signal's number when it was stopped.
"""

from __future__ import annotations

import errno
import io
import logging
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from rerankops.cli import (
    annotators,
    feedback,
    forget,
    gate,
    gold,
    imports,
    judge,
    loop,
    models,
    quarantine,
    search,
    set_aside,
    showing,
    teacher,
)
from rerankops.cli.failures import ACT, explain
from rerankops.errors import RerankopsError
from rerankops.plain import LineFormatter, one_line

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for part in (
    loop,
    annotators,
    feedback,
    forget,
    gate,
    quarantine,
    set_aside,
    search,
    showing,
    teacher,
    gold,
    imports,
    judge,
    models,
):
    app.add_typer(part.app)


def main() -> None:
    """Entry point: turns whatever goes wrong into one line, and signals into an orderly end."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character gets its number
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    before = {number: signal.getsignal(number) for number in _STOPPING}
    for number in _STOPPING:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        app()
    except Stopped as stopped:
        print(f"rerankops: stopped by {stopped.name}; everything it had started has ended", file=sys.stderr)
        raise
    except RerankopsError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno in _OF_THE_MACHINE and error.filename is not None:
            _refuse(f"{error.filename}: {error.strerror}")
        _fail(error)
    except Exception as error:  # noqa: BLE001 - nothing raw reaches a user; the trace is kept
        _fail(error)
    finally:
        for number, handling in before.items():
            signal.signal(number, handling)


class Stopped(SystemExit):
    """A signal asked for the end: what was started is ended on the way out, as by every exception."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_THE_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}
"""What the file system refuses whatever we do: no right, no room, a file where a folder is wanted."""


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _fail(error: BaseException) -> NoReturn:
    failure = explain(error)
    _refuse(failure.words, failure.status)


def _refuse(words: str, status: int = ACT) -> NoReturn:
    print(f"rerankops: {one_line(' '.join(words.split()))}", file=sys.stderr)
    sys.exit(status)
