"""The cross-encoder: query and passage read together, one logit a pair.

Loaded through sentence-transformers; scored by our own loop, because its `predict` sorts by characters, not tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rerankops.errors import ModelUnavailable, SettingsError
from rerankops.retrieval import strict
from rerankops.retrieval.quiet import quiet
from rerankops.scoring import finite

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

Head = Literal["auto", "cls", "maxsim", "own"]
_SETTING = "training.base_model"
MAXSIM = "rerankops.scoring.maxsim.MaxSimTransformer"
"""The import path of our module, as `modules.json` names it."""
_BROKEN = (
    "its weights are broken or half precision overflows: try training.device: cpu, and where that does not help train "
    "it anew with training.mixed_precision: fp32 and a lower training.learning_rate"
)
RESERVED = 16
"""Tokens of a pair that stay the passage's even when the query alone would fill it."""


def has_ranking_head(path: str) -> bool:
    """Whether the checkpoint was made to rank or classify pairs; False for a bare encoder.

    path: folder or hub name. Raises ModelUnavailable when its configuration cannot be had.
    """
    from sentence_transformers.util import load_file_path
    from transformers import AutoConfig

    with strict.explained(path, _SETTING):
        about = load_file_path(path, "config_sentence_transformers.json")
        if about and json.loads(Path(about).read_text(encoding="utf-8")).get("model_type") == "CrossEncoder":
            return True
        config = AutoConfig.from_pretrained(path)
    made_for = str((config.architectures or [""])[0])
    return made_for.endswith(("ForSequenceClassification", "ForCausalLM"))


def load(path: str, *, max_length: int, device: str | None = None, head: Head = "auto") -> CrossEncoder:
    """The model with one label, safetensors only, that truncates the passage and never the query.

    head: `auto` keeps the checkpoint's own ranking head, and gives a bare encoder a fresh `maxsim` one where its
    architecture allows (see rerankops.scoring.maxsim), else `cls`: the library's linear layer on CLS, at random. `own`
    takes no checkpoint without its own: what ranks was trained to.
    device: None takes a GPU when there is one. Raises ModelUnavailable when the weights cannot be had or are not whole
    (see retrieval.strict), NotFinite when they are no numbers, SettingsError when `maxsim` is asked of a checkpoint
    that has its own head of another kind, or of another architecture.
    """
    from sentence_transformers import CrossEncoder

    quiet()
    own = has_ranking_head(path)
    with strict.explained(path, _SETTING):
        ours = _is_ours(Path(path))
    if head == "own" and not own:
        raise ModelUnavailable(
            f"{_SETTING}: {path} has no ranking head, so it would rank at random; train one on it (rerankops retrain)"
        )
    if head == "maxsim" and own and not ours:
        raise SettingsError(f"training.head is maxsim, but {path} has a ranking head of its own; use auto")

    def make() -> CrossEncoder:
        if ours or (not own and _wants_maxsim(path, head)):
            from rerankops.scoring import maxsim

            module = maxsim.module(path, max_length=max_length, fresh=not ours)
            return CrossEncoder(modules=[module], device=device)
        return CrossEncoder(
            path, num_labels=1, max_length=max_length, device=device, model_kwargs={"use_safetensors": True}
        )

    model = strict.load(make, path, _SETTING, fresh_head=not own)
    positions = getattr(model.config, "max_position_embeddings", None)
    model.max_seq_length = min(max_length, _positions(model.config)) if positions else max_length
    if _reads_plain_pairs(model):
        model[0].processing_kwargs = {"text": {"truncation": "only_second"}}  # saved with the model
    model.eval()
    return model


class CrossEncoderScorer:
    """Logits of many pairs. model_path: folder or hub name; max_length: tokens of a pair, the passage alone is cut;
    batch_size: pairs a forward pass; device: None takes a GPU when there is one. Half precision on a GPU, float32
    elsewhere (on a CPU half precision is slower)."""

    def __init__(self, model_path: str | Path, *, max_length: int, batch_size: int, device: str | None = None) -> None:
        self.name = str(model_path)
        self.model = load(self.name, max_length=max_length, device=device, head="own")
        self.batch_size = batch_size
        if self.model.device.type == "cuda":
            self.model.half()

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Raw logits, no sigmoid, one a (query, passage), in the order given. The same pairs in the same order give
        the same bits; in another order they may differ in the last ones, as padding does. Raises NotFinite."""
        return logits(self.model, pairs, batch_size=self.batch_size, name=self.name)


def logits(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], *, batch_size: int, name: str = "in training"
) -> NDArray[np.float32]:
    """Logits of a model that is already in memory; see CrossEncoderScorer.logits. name: the model's, for errors.

    Pairs are tokenised once, all together, and batched by true token length, longest first, so that padding is small
    and an out-of-memory error, if there is to be one, comes in the first batch.
    """
    if not pairs:
        return np.zeros(0, dtype=np.float32)
    found = _logits(model, pairs, batch_size)
    queries, passages = zip(*pairs, strict=True)
    finite.refuse(found, f"the logit of the cross-encoder {name}", queries, passages, _BROKEN)
    return found


def _logits(model: CrossEncoder, pairs: Sequence[tuple[str, str]], batch_size: int) -> NDArray[np.float32]:
    import torch

    model.eval()
    if not _reads_plain_pairs(model):  # a generative reranker: its chat template is the library's business
        scores = model.predict(list(pairs), batch_size=batch_size, activation_fn=torch.nn.Identity())
        return np.asarray(scores, dtype=np.float32).reshape(-1)
    encoded = encode(model, pairs)
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    order = np.argsort(-lengths, kind="stable")
    result = np.zeros(len(pairs), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            padded = model.tokenizer.pad(
                {key: [values[row] for row in rows] for key, values in encoded.items()}, return_tensors="pt"
            )
            features = {key: value.to(model.device) for key, value in padded.items()}
            scores = model(features | {"modality": "text"})["scores"]
            result[rows] = scores.float().reshape(-1).cpu().numpy()
    return result


def encode(model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> dict[str, list[list[int]]]:
    """Token ids of each pair, unpadded: query whole, passage cut to what the model's length leaves it."""
    queries = fitting([query for query, _ in pairs], model)
    encoded = model.tokenizer(
        queries, [passage for _, passage in pairs], truncation="only_second", max_length=model.max_seq_length
    )
    return {key: encoded[key] for key in model.tokenizer.model_input_names if key in encoded}


def fitting(queries: Sequence[str], model: CrossEncoder) -> list[str]:
    """The queries as they stand, except one so long that it would leave the passage fewer than RESERVED tokens: its
    end is cut. No query within queries.max_characters comes near that at the usual lengths."""
    tokenizer = model.tokenizer
    room = max(1, int(model.max_seq_length) - tokenizer.num_special_tokens_to_add(pair=True) - RESERVED)
    distinct = list(dict.fromkeys(query for query in queries if len(query) > room // 4))
    if not distinct:
        return list(queries)
    spans = tokenizer(distinct, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    cut = {query: query[: span[room - 1][1]] for query, span in zip(distinct, spans, strict=True) if len(span) > room}
    return [cut.get(query, query) for query in queries]


def _reads_plain_pairs(model: CrossEncoder) -> bool:
    return list(model[0].modality_config) == ["text"]


def _positions(config: Any) -> int:
    """Usable positions: RoBERTa's family loses those up to the padding index."""
    offset = config.pad_token_id + 1 if "roberta" in config.model_type and config.pad_token_id is not None else 0
    return int(config.max_position_embeddings) - offset


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _is_ours(folder: Path) -> bool:
    """Whether the folder is what scoring.maxsim saves."""
    return [module["type"] for module in _modules(folder)] == [MAXSIM]


def _wants_maxsim(path: str, head: Head) -> bool:
    from transformers import AutoConfig

    from rerankops.scoring.maxsim import SUPPORTED

    kind = AutoConfig.from_pretrained(path).model_type
    if head == "maxsim" and kind not in SUPPORTED:
        raise SettingsError(f"training.head is maxsim, but {path} is a {kind}; allowed are {', '.join(SUPPORTED)}")
    return head != "cls" and kind in SUPPORTED
