"""Redaction: the texts without personal data, how many items were removed, and which texts are in doubt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import phonenumbers
import polars as pl

from rerankops.errors import SettingsError
from rerankops.privacy import addresses, birth, contacts, identifiers, names, network, numbers, secrets
from rerankops.privacy.folding import Folded, fold
from rerankops.privacy.kinds import NUMBER, PLACEHOLDER, WITHHELD, placeholder
from rerankops.privacy.rules import Rule, Span, run

Recogniser = Callable[[list[str]], "list[list[tuple[int, int, str]]]"]
"""From texts to the finds in each: first character, the one after the last, kind."""
_BATCH = 2_000_000
"""Maximum number of characters that are searched at a time."""
_PASSES = 3
_UUID = Rule(NUMBER, r"(?i)\b([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b")
_PLACEHOLDER = re.compile(PLACEHOLDER)
TOO_MANY = "more than 400 of what may be personal data"
UNSETTLED = "a long number that may be a person's"
UNSTABLE = "what is left reads as personal data again and again"


def redact(texts: pl.Series, *, region: str, names: str | Recogniser = "rules") -> pl.DataFrame:
    """Redacts texts. Returns the columns text (the original but for placeholders), redactions (how many) and doubt, one
    row a text in the same order.

    doubt: null, or why a text must be set aside and not be used: it holds possible personal data that cannot be
    decided. What is in doubt is masked in `text` all the same.

    region: for telephone numbers without a country code, as in ISO 3166 (`CN`). names: how to recognise names and
    addresses: off, rules, or the rules and a recogniser. Raises SettingsError when the region does not exist.
    """
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise SettingsError(f"setting queries.phone_region is {region!r}, expected a region of ISO 3166 such as CN")
    rows = texts.cast(pl.String).to_list()
    counts = [0] * len(rows)
    doubts: list[str | None] = [None] * len(rows)
    pending = [n for n, text in enumerate(rows) if text]
    for turn in range(_PASSES + 1):
        again = []
        for batch in _batches(pending, rows):
            for row, spans, doubt in _search([rows[n] for n in batch], region, names if turn == 0 else _rules(names)):
                n = batch[row]
                if turn == _PASSES:
                    doubt = doubt or UNSTABLE
                rows[n] = placeholder(WITHHELD) if doubt in (TOO_MANY, UNSTABLE) else _replaced(rows[n], spans)
                counts[n] += len(spans) or 1
                doubts[n] = doubts[n] or doubt
                if doubt not in (TOO_MANY, UNSTABLE):
                    again.append(n)
        pending = again
        if not pending:
            break
    return pl.DataFrame(
        {
            "text": pl.Series(rows, dtype=pl.String),
            "redactions": pl.Series(counts, dtype=pl.Int32),
            "doubt": pl.Series(doubts, dtype=pl.String),
        }
    )


def _rules(names: str | Recogniser) -> str:
    """The recogniser for later passes: a model was not trained on texts with placeholders."""
    return names if isinstance(names, str) else "rules"


def _batches(pending: list[int], rows: list[str]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for n in pending:
        if batch and size + len(rows[n]) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(n)
        size += len(rows[n]) + 1
    if batch:
        yield batch


def _search(
    texts: list[str], region: str, recogniser: str | Recogniser
) -> Iterator[tuple[int, list[Span], str | None]]:
    """The rows with finds: the spans of each in its own characters, and a reason to set it aside."""
    lengths = np.array([len(text) + 1 for text in texts])
    starts = np.cumsum(lengths) - lengths
    joined = "\n".join(texts) + "\n"
    folded = fold(joined, starts + lengths - 1)
    crowded: set[int] = set()
    spans = _find(folded, region, recogniser, crowded)
    by_row: dict[int, list[Span]] = {}
    places = [(*folded.original(s.start, s.stop), s.kind) for s in spans]  # a row with too many is withheld below
    if callable(recogniser):
        places += [
            (int(starts[row]) + start, int(starts[row]) + stop, kind)
            for row, found in enumerate(recogniser(texts))
            for start, stop, kind in found
            if not _PLACEHOLDER.search(texts[row], max(0, start - 1), stop + 1)
        ]
    rows = np.searchsorted(starts, [start for start, _, _ in places], side="right") - 1
    for (start, stop, kind), row in zip(places, rows.tolist(), strict=True):
        at = int(starts[row])
        by_row.setdefault(row, []).append(Span(start - at, min(stop - at, len(texts[row])), kind))
    full = {int(np.searchsorted(starts, folded.origin[place], side="right")) - 1 for place in crowded}
    for row in sorted(by_row.keys() | full):
        found = _merged(by_row.get(row, []))
        doubt = TOO_MANY if row in full else UNSETTLED if any(s.kind == NUMBER for s in found) else None
        yield row, found, doubt


def _find(folded: Folded, region: str, recogniser: str | Recogniser, crowded: set[int]) -> list[Span]:
    """Runs the expressions in order of reliability; later ones do not see what earlier ones took."""
    found: list[Span] = []
    skipped: set[int] = set()

    def take(more: list[Span]) -> None:
        found.extend(more)
        folded.take([(s.start, s.stop) for s in more] + [folded.row(place) for place in crowded - skipped])
        skipped.update(crowded)

    take(run(secrets.RULES, folded, crowded))
    take(run((*contacts.RULES, *network.RULES), folded, crowded))
    take(run((*identifiers.RULES, *birth.RULES), folded, crowded))
    machine = run((_UUID,), folded, crowded)
    folded.take([(s.start, s.stop) for s in machine])  # none of its digits is a person's number
    take(numbers.find(folded, region, crowded))
    if recogniser != "off":
        take(run(addresses.RULES, folded, crowded))
        take(names.find(folded, crowded))
    take(numbers.unsettled(folded, crowded))
    return found


def _merged(spans: list[Span]) -> list[Span]:
    """Merges overlapping spans into one, of the kind that was found first."""
    order = {id(s): n for n, s in enumerate(spans)}
    merged: list[tuple[Span, int]] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.stop)):
        if merged and span.start < merged[-1][0].stop:
            last, rank = merged[-1]
            first = min(rank, order[id(span)])
            kind = last.kind if first == rank else span.kind
            merged[-1] = (Span(last.start, max(last.stop, span.stop), kind), first)
        else:
            merged.append((span, order[id(span)]))
    return [span for span, _ in merged]


def _replaced(text: str, spans: list[Span]) -> str:
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], placeholder(span.kind)]
        at = span.stop
    return "".join((*pieces, text[at:]))
