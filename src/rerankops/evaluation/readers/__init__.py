"""What answers a gold question from a system's first passages: rules, an extractive model, or a language model.

Whoever measures a ranker by answers must hold the reader still: the same question over the same passages in the same
order gets the same reply, whatever else is asked in the batch, and no reader is ever shown an accepted answer.
"""

from __future__ import annotations

from typing import Any

from rerankops.config import LlmSettings, ReaderSettings
from rerankops.errors import SettingsError
from rerankops.evaluation.readers import answerability
from rerankops.evaluation.readers.asking import TRANSIENT, Asked, Passages, Problems, Reader, Remembered, Reply
from rerankops.evaluation.readers.extractive import RULES_VERSION, ExtractiveReader
from rerankops.evaluation.readers.generative import PROMPT_VERSION, LlmReader
from rerankops.evaluation.readers.spans import SpanReader
from rerankops.llm import Client

__all__ = [
    "TRANSIENT",
    "Asked",
    "ExtractiveReader",
    "LlmReader",
    "Passages",
    "Problems",
    "Reader",
    "Remembered",
    "Reply",
    "SpanReader",
    "configured",
    "identity",
    "may_refuse",
]


def configured(settings: ReaderSettings, client: Client | None = None) -> Reader:
    """The reader that the settings name. client: for kind llm.

    Raises SettingsError when the kind needs a model or client that is not there, ModelUnavailable when the model cannot
    be loaded or does not answer questions.
    """
    if settings.kind == "extractive":
        return ExtractiveReader(settings.max_answer_characters, settings.rank_decay, settings.refuse_below)
    if settings.kind == "model":
        return SpanReader(settings)
    if client is None:
        raise SettingsError(
            "setting reader.kind is llm, but no language model is configured; set llm.url and llm.model"
        )
    return LlmReader(client, settings)


def may_refuse(settings: ReaderSettings) -> bool:
    """What `can_refuse` of the configured reader is, without loading it."""
    return {
        "extractive": settings.refuse_below is not None,
        "model": settings.model.null_threshold is not None,
        "llm": LlmReader.can_refuse,
    }[settings.kind]


def identity(settings: ReaderSettings, llm: LlmSettings) -> dict[str, Any]:
    """What changes a reply, for an address: two readers of one identity say the same."""
    shared = {"kind": settings.kind, "max_answer_characters": settings.max_answer_characters}
    if settings.kind == "extractive":
        rules = {"rules": RULES_VERSION, "answerability": answerability.VERSION}
        return {**shared, **settings.model_dump(include={"rank_decay", "refuse_below"}), **rules}
    if settings.kind == "model":
        return {**shared, "rank_decay": settings.rank_decay, "model": settings.model.identity()}
    asked = settings.model_dump(include={"language", "votes", "max_passage_characters", "max_tokens"})
    return {**shared, **asked, "llm": llm.identity(), "prompt": PROMPT_VERSION}
