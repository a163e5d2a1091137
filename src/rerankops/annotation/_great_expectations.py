"""Running Great Expectations as a library: suites given as data, results read back, Data Docs in one given folder.

The context lives in memory. Nothing is written outside the Data Docs folder, nothing is sent anywhere, no progress
bar is drawn. Importing Great Expectations takes seconds, so it is imported when a suite runs.
"""

from __future__ import annotations

import functools
import html
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from rerankops.annotation._offline_pages import make_offline

_SHOWN = 200
"""Characters of a text value that Data Docs show."""
_LOADED = re.compile(r"(ge_load_time</span>(?:(?!</tr>).)*?)\d{8}T\d{6}\.\d{6}Z", re.DOTALL)
"""When the library was handed a table, in its pages."""
_UNIQUE = re.compile(r"(?<=-collapse-body-)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What it appends to the names of parts that fold."""


@dataclass(frozen=True)
class Expectation:
    """One expectation: its class in great_expectations.expectations, its arguments, what it means in words.

    name: unique in its suite. severity: critical, warning or info.
    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    about: str
    severity: str


@dataclass(frozen=True)
class Suite:
    """A table and what is expected of it."""

    name: str
    table: pl.DataFrame
    expectations: Sequence[Expectation]


@dataclass(frozen=True)
class Result:
    """kind: Great Expectations' own name, such as expect_column_values_to_be_null. error: why it could not run.
    unexpected: rows that do not meet it; None where it is about the whole column."""

    kind: str
    success: bool
    error: str | None
    unexpected: int | None = None


def run(
    suites: Sequence[Suite], *, data_docs: Path | None, run_name: str, run_time: datetime
) -> dict[tuple[str, str], Result]:
    """Results by (suite, expectation), and Data Docs of these suites alone: `data_docs`/index.html.

    Running again into the same folder replaces its pages. data_docs None: the same results, no pages.
    """
    if data_docs is None:
        return _results((suite.name, _validated(suite)) for suite in suites)
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier

    for pages in ("expectations", "validations"):
        shutil.rmtree(data_docs / pages, ignore_errors=True)
    context = _context(data_docs.absolute())
    source = context.data_sources.add_pandas("delivery")
    validated = []
    for suite in suites:
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(
                name=suite.name,
                data=source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all"),
                suite=context.suites.add(_suite(suite)),
            )
        )
        result = definition.run(
            batch_parameters={"dataframe": _narrow(_shown(suite.table)).to_pandas()},
            run_id=RunIdentifier(run_name=run_name, run_time=run_time),
            result_format="SUMMARY",
        )
        validated.append((suite.name, result))
    context.build_data_docs()
    make_offline(data_docs)
    _settle(data_docs)
    return _results(validated)


def _settle(data_docs: Path) -> None:
    """Takes out of the pages what differs each time: pages of the same results are the same bytes."""
    for page in data_docs.rglob("*.html"):
        text = _LOADED.sub(r"\1–", page.read_text(encoding="utf-8"))
        for number, name in enumerate(dict.fromkeys(_UNIQUE.findall(text))):
            text = text.replace(f"-collapse-body-{name}", f"-collapse-body-{number}")
        page.write_text(text, encoding="utf-8")


def _validated(suite: Suite) -> Any:
    """One suite on the asset that all runs of this process share; it keeps nothing of them."""
    whole, engine = _shared()
    try:
        batch = whole.get_batch({"dataframe": _narrow(suite.table).to_pandas()})
        return batch.validate(_suite(suite), result_format="BASIC")
    finally:
        engine.batch_manager.reset_batch_cache()


def _results(validated: Iterable[tuple[str, Any]]) -> dict[tuple[str, str], Result]:
    return {
        (suite, one.expectation_config.meta["name"]): Result(
            one.expectation_config.type,
            bool(one.success),
            _error(one),
            one.result.get("unexpected_count") if one.result else None,
        )
        for suite, run in validated
        for one in run.results
    }


@functools.cache
def _shared() -> tuple[Any, Any]:
    """A batch definition over whatever table it is given, and the engine behind it."""
    source = _context(None).data_sources.add_pandas("delivery")
    whole = source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("all")
    return whole, source.get_execution_engine()


def _context(data_docs: Path | None) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    site = data_docs and {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(data_docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={"data_docs": site} if site else {},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _suite(suite: Suite) -> Any:
    import great_expectations as gx
    from great_expectations import expectations

    built = [
        getattr(expectations, one.kind)(
            **one.arguments, description=html.escape(one.about), severity=one.severity, meta={"name": one.name}
        )
        for one in suite.expectations
    ]
    return gx.ExpectationSuite(name=suite.name, expectations=built)


def _error(result: Any) -> str | None:
    information = result.exception_info or {}
    details = [information] if "raised_exception" in information else list(information.values())
    raised = [detail["exception_message"] for detail in details if detail["raised_exception"]]
    return " ".join(str(raised[0]).split()) if raised else None


def _narrow(table: pl.DataFrame) -> pl.DataFrame:
    """Texts of which there is none as numbers: what is null stays null, and pandas hashes no text for each row."""
    texts = table.select(pl.col(pl.String)).iter_columns()
    return table.cast({text.name: pl.Float32 for text in texts if text.null_count() == text.len()})


def _shown(table: pl.DataFrame) -> pl.DataFrame:
    """Text as Data Docs may show it: cut, and escaped, because their pages print values as they are. Values that
    differ stay different."""
    changed = []
    for column in table.select(pl.col(pl.String)).iter_columns():
        text = pl.col(column.name)
        if (column.str.len_chars() > _SHOWN).any():
            cut = text.str.slice(0, _SHOWN) + pl.lit("… #") + text.hash().cast(pl.String)
            text = pl.when(text.str.len_chars() > _SHOWN).then(cut).otherwise(text)
        if column.str.contains("[&<>]").any():
            text = text.str.replace_many({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
        changed.append(text)
    return table.with_columns(changed)
