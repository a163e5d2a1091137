"""Names and addresses found by a token classifier of the user's choice (queries.names.model)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from rerankops.config.settings import NameSettings
from rerankops.errors import SettingsError

_OVERLAP = 32
"""Tokens that two windows of a long text share."""


@functools.cache
def _pipeline(name: str, device: str | None) -> Any:
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True)
        model = AutoModelForTokenClassification.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise SettingsError(f"setting queries.names.model is {name!r}: {' '.join(str(error).split())[:300]}") from error
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
    tokenizer.model_max_length = limit
    overlap = min(_OVERLAP, limit // 4)
    return pipeline(
        "token-classification",
        model=model,
        tokenizer=tokenizer,
        aggregation_strategy="simple",
        stride=overlap,
        device=device if device is not None else -1 if not _has_cuda() else 0,
    )


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


class ModelRecogniser:
    """What a model finds in each text: first character, the one after the last, kind."""

    def __init__(self, settings: NameSettings) -> None:
        self._settings = settings

    def __call__(self, texts: list[str]) -> list[list[tuple[int, int, str]]]:
        """For each text, the list of what the model finds. Raises SettingsError when the model does not exist, or when
        none of its labels is in queries.names.labels."""
        settings = self._settings
        classify = _pipeline(str(settings.model), settings.device)
        given = {label.split("-")[-1] for label in classify.model.config.id2label.values()}
        if not given & set(settings.labels):
            raise SettingsError(
                f"queries.names.labels has none of the labels of {settings.model}: {', '.join(sorted(given))}"
            )
        return [[self._span(one) for one in found if self._counts(one)] for found in classify(texts)] if texts else []

    def _counts(self, found: Mapping[str, Any]) -> bool:
        return found["entity_group"] in self._settings.labels and found["score"] >= self._settings.min_score

    def _span(self, found: Mapping[str, Any]) -> tuple[int, int, str]:
        return int(found["start"]), int(found["end"]), self._settings.labels[found["entity_group"]]
