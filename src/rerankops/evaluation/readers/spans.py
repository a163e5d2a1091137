"""A reader that points at a stretch of a passage: any checkpoint trained for extractive question answering.

Every passage is cut into overlapping windows, each read together with the question. A window's best stretch is the one
whose start and end logits sum to most, its end not before its start, of at most `max_answer_tokens`; its null answer is
that sum at [CLS] (Devlin et al., 2019, section 4.3). Compared between windows is a stretch's lead over the null answer
of its own window, the model's log-odds that the window answers at all, plus log(rank_decay) a rank: a prior that the
better-ranked passage is the one to read. It refuses where the lead of what it would say is not above `null_threshold`.
Without a threshold it never refuses, and the bare sums are compared: a model that was trained without unanswerable
questions has no null answer that means anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rerankops.config import ReaderSettings
from rerankops.errors import ModelUnavailable
from rerankops.evaluation.readers.asking import Asked, Reply
from rerankops.evaluation.readers.lengths import within
from rerankops.retrieval import strict
from rerankops.retrieval.encoder import joined
from rerankops.retrieval.models import resolve
from rerankops.retrieval.quiet import quiet

Floats = NDArray[np.float32]
_SETTING = "reader.model.name"


@dataclass(frozen=True)
class Span:
    """The best stretch of a window: tokens first..last (both in it), the sum of their logits, and that of [CLS]."""

    first: int
    last: int
    score: float
    null: float


def best_span(start: Floats, end: Floats, allowed: NDArray[np.bool_], null_at: int, longest: int) -> Span | None:
    """start, end: logits of a window's tokens. allowed: tokens of the passage. longest: tokens of an answer.

    The first of equals: the earlier start, then the earlier end. None when no token is allowed.
    """
    places = np.flatnonzero(allowed)
    null = float(start[null_at]) + float(end[null_at])
    if not places.size:
        return None
    sums = start[places][:, None].astype(np.float64) + end[places][None, :]
    width = places[None, :] - places[:, None]
    sums[(width < 0) | (width >= longest)] = -np.inf
    first, last = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return Span(int(places[first]), int(places[last]), float(sums[first, last]), null)


class SpanReader:
    """Answers with a stretch of one passage, title and text read as one.

    The windows of one question are read together, apart from those of others, so that a reply does not depend on the
    batch it came in. Float32, on any device. Raises SettingsError, ModelUnavailable.
    """

    def __init__(self, settings: ReaderSettings) -> None:
        self.settings, self.model_settings = settings, settings.model
        self.tokenizer, self.model = _load(settings)
        room = _positions(self.model.config)
        self.max_length = min(self.model_settings.max_length, room) if room else self.model_settings.max_length

    @property
    def can_refuse(self) -> bool:
        return self.model_settings.null_threshold is not None

    def answers(self, asked: Sequence[Asked]) -> list[Reply]:
        return [self._reply(one.question, [joined(*passage) for passage in one.passages]) for one in asked]

    # -- private ------------------------------------------------------------------------------------------------

    def _reply(self, question: str, texts: list[str]) -> Reply:
        if not texts:
            return Reply("", refused=self.can_refuse)
        windows, starts, ends = self._read(question, texts)
        threshold, decay = self.model_settings.null_threshold, self.settings.rank_decay
        found: tuple[float, float, str] | None = None
        for number, passage in enumerate(windows["overflow_to_sample_mapping"]):
            allowed = np.array([part == 1 for part in windows.sequence_ids(number)])
            ids = windows["input_ids"][number]
            span = best_span(
                starts[number][: len(ids)],
                ends[number][: len(ids)],
                allowed,
                self._null_place(ids),
                self.model_settings.max_answer_tokens,
            )
            if span is None or (passage and not decay):
                continue
            lead = span.score if threshold is None else span.score - span.null
            score = lead + (passage * math.log(decay) if passage else 0.0)
            if found is None or score > found[0]:  # of equals the better rank, then the earlier window
                offsets = windows["offset_mapping"][number]
                text = texts[passage][offsets[span.first][0] : offsets[span.last][1]]
                found = (score, lead, text.strip())
        if found is None or (threshold is not None and found[1] <= threshold):
            return Reply("", refused=self.can_refuse)
        return Reply(within(found[2], self.settings.max_answer_characters))

    def _read(self, question: str, texts: list[str]) -> tuple[Any, list[Floats], list[Floats]]:
        """The windows of all passages as the tokenizer made them, and each one's start and end logits."""
        import torch

        windows = self._windows(question, texts)
        inputs = {name: windows[name] for name in self.tokenizer.model_input_names if name in windows}
        starts: list[Floats] = []
        ends: list[Floats] = []
        with torch.inference_mode():
            for begin in range(0, len(windows["input_ids"]), self.model_settings.batch_size):
                batch = {name: rows[begin : begin + self.model_settings.batch_size] for name, rows in inputs.items()}
                padded = self.tokenizer.pad(batch, return_tensors="pt").to(self.model.device)
                output = self.model(**padded)
                starts += list(output.start_logits.float().cpu().numpy())
                ends += list(output.end_logits.float().cpu().numpy())
        return windows, starts, ends

    def _windows(self, question: str, texts: list[str]) -> Any:
        """Half of a window is the passage's at least: a longer question loses its end."""
        half = self.max_length // 2
        spans = self.tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(spans) > half:
            question = question[: spans[half - 1][1]]
        taken = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
        room = self.max_length - taken - self.tokenizer.num_special_tokens_to_add(pair=True)
        return self.tokenizer(
            [question] * len(texts),
            texts,
            truncation="only_second",
            max_length=self.max_length,
            stride=min(self.model_settings.stride, room // 2),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )

    def _null_place(self, ids: list[int]) -> int:
        cls = self.tokenizer.cls_token_id
        return ids.index(cls) if cls in ids else 0


def _load(settings: ReaderSettings) -> tuple[Any, Any]:
    """Tokenizer and model. Only safetensors, only a checkpoint that was trained to point at answers."""
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

    quiet()
    path = resolve(settings.model.name, setting=_SETTING)
    with strict.explained(path, _SETTING):
        made_for = str((AutoConfig.from_pretrained(path).architectures or ["nothing"])[0])
        if not made_for.endswith("ForQuestionAnswering"):
            raise ModelUnavailable(
                f"{_SETTING}: {path} is a {made_for}; name a checkpoint for extractive question answering "
                "(…ForQuestionAnswering)"
            )
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = strict.load(
            lambda: AutoModelForQuestionAnswering.from_pretrained(path, use_safetensors=True, dtype=torch.float32),
            path,
            _SETTING,
        )
    if not tokenizer.is_fast:
        raise ModelUnavailable(f"{_SETTING}: {path} has no fast tokenizer, which tells where in a text a token stands")
    tokenizer.padding_side = "right"  # a window's own tokens come first in its logits
    device = settings.model.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return tokenizer, model.to(device).eval()


def _positions(config: Any) -> int | None:
    """Usable positions, None where there is no limit: RoBERTa's family loses those up to the padding index."""
    positions = getattr(config, "max_position_embeddings", None)
    if not positions or positions < 0:
        return None
    offset = config.pad_token_id + 1 if "roberta" in config.model_type and config.pad_token_id is not None else 0
    return int(positions) - offset
