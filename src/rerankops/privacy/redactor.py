"""Redaction with the settings of queries."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from rerankops.config.settings import QuerySettings
from rerankops.privacy.kinds import VERSION
from rerankops.privacy.redaction import Recogniser, redact


class Redactor:
    """Removes personal data from texts; the same settings remove the same data."""

    def __init__(self, settings: QuerySettings) -> None:
        self._region = settings.phone_region
        self._names: str | Recogniser = settings.names.recogniser
        if settings.names.recogniser == "model":
            from rerankops.privacy.model import ModelRecogniser

            self._names = ModelRecogniser(settings.names)
        self.identity: dict[str, object] = {
            "rules": VERSION,
            "region": settings.phone_region,
            "names": settings.names.identity(),
        }
        """What decides the result: part of the address of all that is made from it."""

    def redact(self, texts: pl.Series) -> pl.DataFrame:
        """See rerankops.privacy.redact."""
        return redact(texts, region=self._region, names=self._names)

    def column(self, values: pl.Series) -> pl.Series:
        """Redacts a column with few distinct values, such as the name of a log; null stays null."""
        distinct = values.unique().drop_nulls()
        return values.replace_strict(distinct, self.redact(distinct)["text"], return_dtype=pl.String, default=None)

    def texts(self, texts: Sequence[str]) -> list[str]:
        return self.redact(pl.Series(texts, dtype=pl.String))["text"].to_list()

    def text(self, text: str) -> str:
        return self.texts([text])[0]
