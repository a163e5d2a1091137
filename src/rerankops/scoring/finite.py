"""Raises an error for a score that is NaN or infinite; sorting would give it an arbitrary rank without notice.

Numbers are checked where they arise: where logits leave the cross-encoder, where signals are made, where signals and
label weights enter a blend, where a blend is fitted or loaded, and where a training step has its loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from rerankops.errors import NotFinite

_SHOWN = 60
"""Characters of a text that a message shows."""


def refuse(values: ArrayLike, what: str, queries: Sequence[str], passages: Sequence[str], advice: str) -> None:
    """Raises NotFinite, naming the first (query, passage) whose value is nan or infinite.

    values: (n,). queries, passages: (n,), ids or texts. what: the values are. advice: what to do about it.
    """
    numbers = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        first = int(bad[0])
        raise NotFinite(
            f"{what} is {numbers[first]} for query {short(queries[first])} and passage {short(passages[first])} "
            f"({len(bad)} of {len(numbers)} pairs); {advice}"
        )


@contextmanager
def of(system: str) -> Iterator[None]:
    """Names the system in a NotFinite that is raised within."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{system}: {error}") from error


def short(text: str) -> str:
    """A text's first characters, in quotes."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")
