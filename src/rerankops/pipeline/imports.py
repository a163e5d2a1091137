"""Steps that take existing labels in: read, redacted, matched with the corpus, merged into `judgments`.

Texts that the corpus does not have come along as an artefact of their own, which training reads beside the corpus.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from rerankops.annotation.imports import Labels, grade, merge_labels, read_labels
from rerankops.annotation.imports.readers import Format, Rejected
from rerankops.errors import InputError
from rerankops.files import as_json_lines, write_whole
from rerankops.pipeline.context import Context, step
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.pipeline.gold_sets import checked_name
from rerankops.pipeline.judgments import take_in
from rerankops.pipeline.queries import gold_texts
from rerankops.pipeline.set_aside import keep
from rerankops.privacy import Redactor
from rerankops.reading import Aside, Place, Unusable
from rerankops.records import ImportedLabel, Judgment, Passage
from rerankops.workspace import Address, Workspace, table_hash

MATCHED = "match_passages"
"""The step whose passages training reads beside the corpus."""
_NAMED = 3
_MARK = "imported"
"""Metadata of a matched passage: its id among the passages as imported."""


@dataclass(frozen=True)
class Imported:
    """What an import came to. labels, own: addresses of what was read and of the judgments of this set; judgments: of
    all sources together. rule: how scores became grades. counts: see merge_labels and match_passages. bad: rejected
    rows. bad_file: where they are."""

    name: str
    labels: Address
    own: Address
    judgments: Address
    rule: str
    counts: dict[str, float]
    bad: int
    bad_file: Path | None


@step
def import_labels(
    context: Context,
    path: str | Path,
    *,
    form: Format,
    name: str,
    split: str | None = None,
    grades: str = "auto",
    confidence: float | None = None,
    bad_file: Path | None = None,
) -> Imported:
    """Reads a labelled set and makes it the source `imported-NAME` of `judgments`; again changes nothing, another
    content under the same name replaces the one before.

    bad_file: rows that are no label go there, as JSON lines; without it, and without reading.skip_bad, one such row is
    refused. They are kept as `set-aside/import-NAME`, and more than quality.max_unusable_share fail. confidence:
    instead of imports.confidence and imports.negative_confidence. Raises InputError and SettingsError as the readers
    do, and ArtefactMissing without gold questions, which no imported query may come near.
    """
    workspace, settings = context.workspace, context.settings
    checked_name(name, of="imported set")
    gold = workspace.require(GOLD, "run refresh_corpus_index first; it freezes the gold questions")
    read = read_labels(form, Path(path), settings.reading, split=split)
    if read.rejected and bad_file is None and not settings.reading.skip_bad:
        raise InputError(_words(read.rejected))
    _keep(context, f"import-{name}", read)
    labels, rule = _stored(context, read, form=form, name=name, split=split, rule=grades, confidence=confidence)
    if read.rejected and bad_file is not None:
        _set_aside(bad_file, read.rejected)
    passages = workspace.manifest(labels).inputs[0]
    matched = _matched(context, passages)
    unmatched = settings.imports.unmatched

    def make() -> tuple[pa.Table, dict[str, float]]:
        found = workspace.read(matched, Passage)
        as_imported = pc.map_lookup(found["metadata"].combine_chunks(), _MARK, "first")
        final = pl.DataFrame({"passage_id": as_imported.to_pylist(), "final": found["passage_id"].to_pylist()})
        told = pl.DataFrame(pl.from_arrow(workspace.read(labels, ImportedLabel)))
        own = told.join(final, on="passage_id").with_columns(passage_id="final").drop("final")
        own = own.filter(~pl.col("passage_id").str.starts_with(_OUTSIDE)) if unmatched == "drop" else own
        judgments, counts = merge_labels(own, gold_texts(context, gold), settings.queries)
        grade_counts = dict(judgments.group_by("grade").len().sort("grade").iter_rows())
        counts |= {"judgments": judgments.height, "labels_dropped_unmatched": told.height - own.height}
        return judgments.to_arrow(), counts | {f"grade_{key}": number for key, number in grade_counts.items()}

    own = context.table(
        Judgment,
        make,
        step="import_judgments",
        inputs=[labels, matched, gold],
        settings={
            "unmatched": unmatched,
            "queries": settings.queries.likeness()
            | settings.queries.model_dump(mode="json", include={"min_characters", "max_characters", "strata"}),
        },
    )
    counts = {**read.notes, **workspace.manifest(labels).counts, **workspace.manifest(matched).counts}
    return Imported(
        name,
        labels,
        own,
        take_in(context, f"imported-{name}", own),
        rule,
        counts | workspace.manifest(own).counts,
        len(read.rejected),
        bad_file if read.rejected else None,
    )


def outside_passages(workspace: Workspace, judgments: Address, corpus: pa.Table) -> pa.Table:
    """records.Passage of imported, judged passages that the corpus does not have. corpus: records.Passage."""
    behind = [address for address, found in workspace.lineage(judgments).items() if found.step == MATCHED]
    if not behind:
        return Passage.empty()
    found = pa.concat_tables([workspace.read(address, Passage) for address in sorted(behind)])
    judged = workspace.read(judgments, Judgment)["passage_id"]
    wanted = pc.and_not(
        pc.is_in(found["passage_id"], judged.combine_chunks()),
        pc.is_in(found["passage_id"], corpus["passage_id"].combine_chunks()),
    )
    kept = found.filter(wanted)
    first = pl.Series(kept["passage_id"].to_pylist(), dtype=pl.String).is_first_distinct()
    return kept.filter(pa.array(first.to_list(), pa.bool_()))


_OUTSIDE = "imported-"
"""What the id of a passage begins with that the corpus does not have."""


def _stored(
    context: Context,
    read: Labels,
    *,
    form: str,
    name: str,
    split: str | None,
    rule: str,
    confidence: float | None,
) -> tuple[Address, str]:
    """records.ImportedLabel, queries without personal data, made from the set's passages; and the rule of grades."""
    workspace, settings = context.workspace, context.settings
    rows = read.rows
    if read.graded:
        grades, rule = rows["score"].cast(pl.Int8).alias("grade"), "of the format"
    else:
        grades, rule = grade(rows, rule)
    texts = rows.select("title", "text").unique("text", keep="first", maintain_order=True)
    texts = texts.with_columns(passage_id=_identities(texts["text"]))
    distinct = texts.unique("passage_id", keep="first", maintain_order=True).sort("passage_id")
    passages = workspace.publish(
        Passage,
        distinct.select("passage_id", "title", "text")
        .to_arrow()
        .append_column("metadata", pa.array([[]] * distinct.height, Passage.schema.field("metadata").type)),
        step="import_passages",
        counts={"passages": distinct.height},
    )
    queries = rows.select("query").unique(maintain_order=True)
    redactor = Redactor(settings.queries)
    redacted = redactor.redact(queries["query"])
    doubtful = redacted["doubt"].count()
    queries = queries.with_columns(query_text=redacted["text"]).filter(redacted["doubt"].is_null())
    rows = rows.with_columns(grades).filter(pl.col("query").is_in(queries["query"].implode()))  # none in doubt
    sure, unsure = (
        (confidence, confidence)
        if confidence is not None
        else (settings.imports.confidence, settings.imports.negative_confidence)
    )
    labels = (
        rows.with_columns(confidence=pl.when("weak").then(unsure).otherwise(sure).cast(pl.Float64), mined="weak")
        .join(queries, on="query", maintain_order="left")
        .join(texts.select("text", "passage_id"), on="text", maintain_order="left")
        .select(ImportedLabel.columns)
    )
    identity: dict[str, Any] = {"name": name, "format": form, "split": split, "grades": rule}
    identity["redaction"] = redactor.identity
    identity["sha256"] = table_hash(labels.to_arrow())
    address = workspace.publish(
        ImportedLabel,
        labels.to_arrow(),
        step="import_labels",
        inputs=[passages],
        settings=identity,
        counts={"redactions": int(redacted["redactions"].sum() or 0), "rejected": len(read.rejected)}
        | ({"in_doubt": doubtful} if doubtful else {}),
    )
    return address, rule


def _matched(context: Context, passages: Address) -> Address:
    """The imported passages under the corpus's ids where it has the same text, else under ids of their own."""
    workspace = context.workspace
    corpus = workspace.ref(CORPUS)

    def make() -> tuple[pa.Table, Mapping[str, float]]:
        table = pl.DataFrame(pl.from_arrow(workspace.read(passages, Passage)))
        known = pl.DataFrame(schema={"corpus_id": pl.String, "identity": pl.String})
        if corpus:
            found = pl.DataFrame(pl.from_arrow(workspace.read(corpus, Passage).select(["passage_id", "text"])))
            known = found.select(corpus_id="passage_id").with_columns(identity=_identities(found["text"]))
            known = known.sort("corpus_id").unique("identity", keep="first", maintain_order=True)
        joined = table.join(known, left_on="passage_id", right_on="identity", how="left", maintain_order="left")
        ids = joined.select(pl.coalesce("corpus_id", pl.lit(_OUTSIDE) + pl.col("passage_id"))).to_series().to_list()
        metadata = [[(_MARK, identity)] for identity in joined["passage_id"].to_list()]
        kind = Passage.schema.field("metadata").type
        made = pa.table(
            {
                "passage_id": ids,
                "title": joined["title"].to_arrow(),
                "text": joined["text"].to_arrow(),
                "metadata": pa.array(metadata, kind),
            }
        )
        matched = joined.height - joined["corpus_id"].null_count()
        return Passage.conform(made), {"matched": matched, "unmatched": joined.height - matched}

    return context.table(Passage, make, step=MATCHED, inputs=[passages, *([corpus] if corpus else [])])


def _identities(texts: pl.Series) -> pl.Series:
    """What two spellings of one passage share: a digest of the text in NFC without differences of white space."""
    plain = texts.str.replace_all(r"\s+", " ").str.strip_chars()
    digests = [
        hashlib.blake2b(unicodedata.normalize("NFC", text).encode(), digest_size=12).hexdigest()
        for text in plain.to_list()
    ]
    return pl.Series(digests, dtype=pl.String)


def _words(rejected: tuple[Rejected, ...]) -> str:
    first = "; ".join(f"{row.place}: {row.words}" for row in rejected[:_NAMED])
    more = f"; and {len(rejected) - _NAMED} more" if len(rejected) > _NAMED else ""
    return f"{len(rejected)} row(s) are no labels: {first}{more}. Mend them, or set them aside with --skip-bad"


def _keep(context: Context, source: str, read: Labels) -> None:
    """Stores what was rejected, and raises InputError when that is too much."""
    aside = Aside(read=read.rows.height + len(read.rejected), files=1)
    for row in read.rejected:
        kind = re.split(r"[(:;]", row.words)[0].strip()
        aside.put(Unusable(Place("", item=row.place), kind, row.words, row.content))
    keep(context, source, aside)
    share = context.settings.quality.max_unusable_share
    aside.check(share, what=source, setting="quality.max_unusable_share")


def _set_aside(path: Path, rejected: tuple[Rejected, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"place": row.place, "reason": row.words, "content": row.content} for row in rejected)
    write_whole(path, as_json_lines(rows))
