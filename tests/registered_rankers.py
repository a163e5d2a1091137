"""What a registry is given in tests: a decision, its ladder, and rankers as the pipeline saves them, with a tiny real
cross-encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rerankops.promotion.registry import Recorded, Registry
from rerankops.records import PromotionDecision, Rule
from rerankops.scoring.blend import Blend, single
from rerankops.scoring.ranker import Ranker

LADDER: dict[str, Any] = {
    "systems": [
        {
            "name": "retrieval_only",
            "n": 3,
            "accuracy": 0.5,
            "accuracy_interval": [0.2, 0.8],
            "strata": {"数值": {"n": 3, "accuracy": 0.5}},
            "recall@1": 0.5,
        },
        {"name": "challenger", "n": 3, "accuracy": 0.75, "accuracy_interval": None, "strata": {}, "recall@1": None},
    ],
    "comparisons": [
        {
            "of": "challenger",
            "against": "retrieval_only",
            "metric": "accuracy",
            "difference": 0.25,
            "interval": [0.1, 0.4],
            "p_value": 0.01,
            "n": 3,
        }
    ],
    "stages": [{"name": "candidates", "seconds": 1.5, "counts": {"rows": 3}}],
}
LINEAGE = {
    "judgments": "judgments/" + "a" * 32,
    "gold_questions": "gold_questions/" + "b" * 32,
    "indexes": "indexes/" + "c" * 32,
    "plans": "plans/" + "d" * 32,
    "decisions": "decisions/" + "e" * 32,
}
WORDS = ["trunk", "volume", "tyre", "pressure", "litres", "bar", "of", "the", "is", *"0123456789"]


def decision(*, promote: bool = True) -> PromotionDecision:
    """That the challenger is better; or that it is not."""
    rule = Rule("challenger: superiority", 0.0, 0.25, (0.1, 0.4), promote, "challenger: +25.0 points")
    return PromotionDecision(promote, "challenger" if promote else None, (rule,), ("challenger: +25.0 points",))


def tuned_fusion(folder: Path) -> Path:
    """A ranker without a cross-encoder; a few kilobytes."""
    retrieval = {"backend": "embedded", "bm25_k1": 1.2, "bm25_b": 0.75}
    Ranker(blend=_blend("bm25", "cosine"), encoder={"model": "m"}, retrieval=retrieval).save(folder)
    return folder


def with_cross_encoder(folder: Path, *, cascade: bool = True) -> Path:
    """A ranker with one; in a cascade it reads the first two of a query's candidates."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    model = folder.with_name(f"{folder.name}-model")
    model.mkdir(parents=True)
    (model / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizerFast(str(model / "vocab.txt")).save_pretrained(model)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=1,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(model)
    if cascade:
        ranker = Ranker(_blend("bm25", "cross_encoder"), _blend("bm25"), 2, cross_encoder=model, max_length=32)
    else:
        ranker = Ranker(single("cross_encoder"), cross_encoder=model, max_length=32)
    ranker.save(folder)
    return folder


def _blend(*names: str) -> Blend:
    count = len(names)
    ones, zeros = (1.0,) * count, (0.0,) * count
    return Blend(names, ones, zeros, zeros, ones, 0.0, 0.0, 0.0, 0.0, 1.0, 0, 0)


def record(registry: Registry, ranker: Path | None, key: str, *, promote: bool = True) -> Recorded:
    """A decision on a ranker, under a key that is the registry's own."""
    return registry.record(
        decision(promote=promote),
        LADDER,
        params={"training": {"epochs": 3, "signals": ["bm25", "cosine"]}, "seed": 42},
        report_html="<p>报告</p>",
        ranker_dir=ranker,
        ranker_address=f"rankers/{key}",
        lineage=LINEAGE,
        key=f"{registry.model_name}/{key}",
    )
