"""`rerankops …`: every step by hand, the demo, a trial on a labelled set. The same functions that the DAGs call.

Exit status: 0 done, 2 something a person has to act on (one line says what), 1 a defect of ours (with its traceback).
"""

from __future__ import annotations

import errno
import logging
import sys
from typing import NoReturn

import typer

from rerankops.cli import (
    annotators,
    feedback,
    gate,
    gold,
    imports,
    judge,
    loop,
    models,
    quarantine,
    search,
    showing,
    teacher,
)
from rerankops.errors import RerankopsError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for part in (loop, annotators, feedback, gate, quarantine, search, showing, teacher, gold, imports, judge, models):
    app.add_typer(part.app)


def main() -> None:
    """Entry point: turns errors that a person can act on into one line and status 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except RerankopsError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE or error.filename is None:
            raise
        _refuse(f"{error.filename}: {error.strerror}")


_OF_THE_MACHINE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}
"""What the file system refuses whatever we do: no right, no room, a file where a folder is wanted."""


def _refuse(words: str) -> NoReturn:
    print(f"rerankops: {' '.join(words.split())}", file=sys.stderr)
    sys.exit(2)
