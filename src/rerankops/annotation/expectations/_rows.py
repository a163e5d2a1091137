"""The lines of a delivery with what can be read in them, and what each line must hold."""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa

from rerankops.annotation.channel import FIELDS, OPTIONAL, Delivery
from rerankops.records import Annotation

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No annotation is older; seconds read as milliseconds, and zeros, land before it."""
CLOCK_SLACK = timedelta(days=1)
"""How far the clock of an annotator's machine, or its time zone, may be off."""
TEXTS = ("query_text", "passage_title", "passage_text")
"""What a line may echo of its task."""


def asked_tasks(tasks: pa.Table, batch_id: str, near_gold: Set[str]) -> pl.DataFrame:
    """The batch's tasks; `task` numbers them, gold_text is the query where it is a gold question or nearly one."""
    gold = pl.Series(sorted(near_gold), dtype=pl.String)
    columns = ["task_id", "query_id", "query_text", "passage_title", "passage_text", "stratum", "control_grade"]
    return (
        pl.DataFrame(pl.from_arrow(tasks.select(["batch_id", *columns])))
        .filter(pl.col("batch_id") == batch_id)
        .with_columns(gold_text=pl.when(pl.col("query_id").is_in(gold.implode())).then(pl.col("query_text")))
        .with_row_index("task")
    )


def read_rows(delivery: Delivery, asked: pl.DataFrame) -> pl.DataFrame:
    """The readable lines: RAW with empty text as null; place, how people find the line; grade_value, annotated_at_value
    and seconds, null where they cannot be read; of their task (null: unknown) its number, control grade, gold_text, and
    whether an echoed text is another; annotator, a number."""
    given = [name for name in (*FIELDS, *OPTIONAL) if name in delivery.fields]
    text = pl.col(given).str.strip_chars()
    plain = pl.col("grade").str.normalize("NFKC")  # full-width digits are digits
    whole = plain.str.replace(r"\.0+$", "")
    seconds = pl.col("lead_seconds").str.normalize("NFKC").cast(pl.Float64, strict=False)
    about = asked.select("task_id", "task", "control_grade", "gold_text")
    rows = (
        pl.DataFrame(pl.from_arrow(delivery.rows.select(["line", *given])))
        .with_columns(pl.when(text != "").then(text))
        .with_columns(pl.lit(None, pl.String).alias(name) for name in (*FIELDS, *OPTIONAL) if name not in given)
        .with_columns(
            grade_value=pl.when(whole.str.contains(r"^[+-]?[0-9]{1,9}$")).then(whole.cast(pl.Int64, strict=False)),
            seconds=pl.when(seconds.is_between(0, 1e9)).then(seconds),
            annotator=pl.col("annotator_id").cast(pl.Categorical).to_physical(),
            place=places(pl.col("line"), delivery),
        )
        .join(about, on="task_id", how="left", maintain_order="left")
    )
    echoed = {f"changed_{name}": _changed(rows, asked, name) for name in TEXTS if name in delivery.fields}
    return rows.with_columns(annotated_at_value=timestamps(rows["annotated_at"]), **echoed)


def places(line: pl.Expr, delivery: Delivery) -> pl.Expr:
    """'line 59 (spreadsheet row 3)'."""
    shown = pl.format("line {}", line)
    if not delivery.spreadsheet:
        return shown
    row = line.replace_strict(dict(delivery.spreadsheet), default=None, return_dtype=pl.Int64)
    return pl.when(row.is_null()).then(shown).otherwise(pl.format("line {} (spreadsheet row {})", line, row))


def timestamps(text: pl.Series) -> pl.Series:
    """ISO 8601, with a 'T' or a space; without an offset it is UTC. Null when it is anything else."""
    plain = text.str.strip_suffix("Z")
    frame = pl.DataFrame({"text": plain}).select(
        read=pl.when(pl.col("text").str.contains(r"T.*[+-]\d{2}:?\d{2}$").not_())
        .then(pl.col("text") + "+00:00")
        .otherwise(pl.col("text"))
    )
    read = _parsed(frame["read"])
    odd = read.is_null() & text.is_not_null()
    if not odd.any():
        return read
    spelt_out = text.filter(odd).str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T").str.replace(r"(?i)z$", "+00:00")
    zoned = pl.DataFrame({"text": spelt_out}).select(
        pl.when(pl.col("text").str.contains(r"T.*[+-]\d{2}:?\d{2}$"))
        .then(pl.col("text"))
        .otherwise(pl.col("text") + "+00:00")
    )
    again = _parsed(zoned.to_series())
    return read.scatter(odd.arg_true(), again)


def _parsed(text: pl.Series) -> pl.Series:
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)


def _changed(rows: pl.DataFrame, asked: pl.DataFrame, name: str) -> pl.Series:
    """Whether a line echoes another text than its task's; white space does not count. Long texts are compared by their
    hashes first, so that they are not copied to each line."""
    hashes = asked.select("task", hashed=pl.col(name).str.strip_chars().hash())
    compared = (
        rows.select("task", name)
        .with_row_index("row")
        .filter(pl.col("task").is_not_null(), pl.col(name).is_not_null())
        .join(hashes, on="task", how="left", maintain_order="left")
        .filter(pl.col(name).hash() != pl.col("hashed"))
        .join(asked.select("task", sent=pl.col(name)), on="task", how="left", maintain_order="left")
        .filter(_plain(pl.col(name)) != _plain(pl.col("sent")))
    )
    changed = pl.zeros(rows.height, dtype=pl.Boolean, eager=True)
    return changed.scatter(compared["row"], True) if compared.height else changed


def _plain(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFC").str.replace_all(r"\s+", " ").str.strip_chars()


def sound_rows(rows: pl.DataFrame, sound: pl.Series) -> pl.DataFrame:
    """What the rest needs to know of the rows that break no rule, in numbers; `named` gives the names back."""
    return rows.select(
        "line",
        "task",
        "annotator",
        pl.col("grade_value").cast(pl.Int8),
        "annotated_at_value",
        "seconds",
        "control_grade",
    ).filter(sound)


def annotators_of(rows: pl.DataFrame) -> pl.DataFrame:
    """annotator (a number) and annotator_id."""
    return rows.select("annotator", "annotator_id").unique().drop_nulls()


def named(sound: pl.DataFrame, asked: pl.DataFrame, annotators: pl.DataFrame) -> pl.DataFrame:
    """Sound rows with task_id and annotator_id."""
    return sound.with_columns(task_id=asked["task_id"].gather(sound["task"])).join(
        annotators, on="annotator", how="left", maintain_order="left"
    )


def annotations_of(sound: pl.DataFrame, batch_id: str, asked: pl.DataFrame, annotators: pl.DataFrame) -> pa.Table:
    """records.Annotation of sound rows."""
    table = named(sound, asked, annotators).select(
        "task_id",
        "annotator_id",
        batch_id=pl.lit(batch_id),
        grade="grade_value",
        annotated_at="annotated_at_value",
        lead_seconds="seconds",
    )
    return Annotation.conform(table.to_arrow())


def doubles(rows: pl.DataFrame, sound: pl.Series) -> pl.DataFrame:
    """Columns `contradicts` and `repeats`: for a sound row whose annotator graded its task in another sound row too,
    the line that says otherwise, or (but for the first) the first line that says the same; else null."""
    nothing = pl.DataFrame({name: pl.repeat(None, rows.height, dtype=pl.Int64, eager=True) for name in _DOUBLES})
    kept = rows.with_row_index("row").filter(sound)
    pair = kept.select(pl.col("task").cast(pl.UInt64) * 2**32 + pl.col("annotator").cast(pl.UInt64)).to_series()
    again = pair.is_duplicated()
    if not again.any():
        return nothing
    grade, line = pl.col("grade_value"), pl.col("line")
    first = grade.sort_by("line").first().over("task", "annotator")
    double = (
        kept.filter(again)
        .select("row", "line", "task", "annotator", "grade_value")
        .with_columns(first_grade=first, first_line=line.min().over("task", "annotator"))
        .with_columns(other_line=line.filter(grade != pl.col("first_grade")).min().over("task", "annotator"))
        .with_columns(
            contradicts=pl.when(pl.col("other_line").is_not_null()).then(
                pl.when(grade == pl.col("first_grade")).then(pl.col("other_line")).otherwise(pl.col("first_line"))
            ),
            repeats=pl.when(pl.col("other_line").is_null() & (line != pl.col("first_line"))).then(pl.col("first_line")),
        )
    )
    return nothing.with_columns(nothing[name].scatter(double["row"], double[name]) for name in _DOUBLES)


_DOUBLES = ("contradicts", "repeats")
