"""What the command line says when something ends that no step explained: one line, and the trace in a file.

Libraries raise errors of their own on data and servers that are not as they should be; a user gets their meaning and
their words. Anything else is a defect of ours, and said to be one.
"""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rerankops.files import private_folder, write_private
from rerankops.plain import one_line

ACT, DEFECT = 2, 1
"""Exit status: somebody has to act; a defect of ours."""
_TRACES_KEPT = 20
_LONGEST = 300
_MEANINGS: tuple[tuple[type[BaseException], str], ...] = (
    (RecursionError, "something that was read is nested too deeply"),
    (MemoryError, "there is not enough memory for this"),
    (UnicodeError, "a text is not in the encoding that it was read as"),
)
_OF_LIBRARIES: Mapping[str, str] = {
    "json": "a file or an answer is not valid JSON",
    "yaml": "a file is not valid YAML",
    "zipfile": "a file is no whole archive",
    "gzip": "a compressed file is damaged",
    "zlib": "a compressed file is damaged",
    "lzma": "a compressed file is damaged",
    "pyarrow": "a table cannot be read or written",
    "polars": "a table cannot be read or worked on",
    "pandas": "a table cannot be read or worked on",
    "great_expectations": "a table could not be checked",
    "safetensors": "the weights of a model cannot be read",
    "tokenizers": "the tokenizer of a model cannot be read",
    "transformers": "a model cannot be loaded or run",
    "sentence_transformers": "a model cannot be loaded or run",
    "torch": "a model cannot be loaded or run",
    "usearch": "a vector index cannot be read or searched",
    "bm25s": "a BM25 index cannot be read or searched",
    "jinja2": "a page could not be made",
    "sqlalchemy": "a database did not do as it was asked",
    "sqlite3": "a database did not do as it was asked",
    "psycopg": "a database did not do as it was asked",
    "alembic": "a database is not of the version that it should be",
    "mlflow": "MLflow did not do as it was asked",
    "elastic_transport": "Elasticsearch did not do as it was asked",
    "elasticsearch": "Elasticsearch did not do as it was asked",
    "httpx": "a server did not answer as it should",
    "httpcore": "a server did not answer as it should",
    "requests": "a server did not answer as it should",
    "urllib3": "a server did not answer as it should",
    "aiohttp": "a server did not answer as it should",
    "huggingface_hub": "the model hub did not answer as it should",
    "botocore": "the object store did not do as it was asked",
    "s3fs": "the object store did not do as it was asked",
    "fsspec": "a file cannot be reached",
    "filelock": "a lock cannot be had",
    "subprocess": "a program that was started failed",
}
"""What an error means that a library raises: by the package in which it, or what it is derived from, is defined."""


@dataclass(frozen=True)
class Failure:
    """words: one line for people. status: of the process."""

    words: str
    status: int


def explain(error: BaseException) -> Failure:
    """What to say of an error that is none of ours, once its trace is kept."""
    trace = _keep(error)
    where = f"; the trace is in {trace}" if trace else ""
    told = one_line(" ".join(str(error).split()))[:_LONGEST]
    said = f"{type(error).__name__}{f': {told}' if told else ''}"
    if meaning := _meaning(error):
        return Failure(f"{meaning} ({said}){where}", ACT)
    return Failure(f"a defect of rerankops, please report it: {said}{where}", DEFECT)


def _meaning(error: BaseException) -> str | None:
    for kind, words in _MEANINGS:
        if isinstance(error, kind):
            return words
    packages = (kind.__module__.partition(".")[0] for kind in type(error).__mro__)
    return next((_OF_LIBRARIES[package] for package in packages if package in _OF_LIBRARIES), None)


def _keep(error: BaseException) -> Path | None:
    """Where the trace went; None when there is no place for it. Only its owner may read it: it may quote data."""
    text = "".join(traceback.format_exception(error))
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder = private_folder(Path(state, "rerankops", "traces"))
        write_private(folder / name, text)
        for old in sorted(folder.glob("*.log"))[:-_TRACES_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        try:
            folder = Path(tempfile.mkdtemp(prefix="rerankops-trace-"))
            write_private(folder / name, text)
        except OSError:
            return None
    return folder / name
