"""A small evaluation with everything in it that a report shows, the page made of it, and that page as a tree."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa

from rerankops.evaluation.report import render
from rerankops.records import GoldQuestion, Passage, PromotionDecision, QuestionOutcome, Rule

PASSAGES = Passage.table(
    [
        {"passage_id": "s5", "title": "星澜 S5", "text": "后备箱容积为450升，放倒后座为1200升。", "metadata": {}},
        {"passage_id": "e3", "title": "辰光 E3", "text": "后备箱容积为320升。", "metadata": {}},
        {"passage_id": "esp", "title": "星澜 S5", "text": "长按<ESP OFF>键三秒关闭ESP。", "metadata": {}},
        {"passage_id": "oil", "title": "星澜 S5", "text": "机油容量为4.5升。", "metadata": {}},
    ]
)
GOLD = GoldQuestion.table(
    {
        "question_id": question,
        "text": text,
        "accepted_answers": accepted,
        "stratum": stratum,
        "relevant_passage_ids": relevant,
        "relevant_grades": None,
    }
    for question, text, accepted, stratum, relevant in (
        ("q1", "后备箱容积多少", ["450L"], "numeric", ["s5"]),
        ("q2", "怎么关闭ESP", ["长按<ESP OFF>键"], "procedure", ["esp"]),
        ("q3", "机油多少升", ["4.5L"], "numeric", ["oil"]),
        ("q4", "有什么亮点", [], "summary", ["e3"]),
    )
)


def outcomes(system: str, **answered: tuple[str, bool | None, str]) -> pa.Table:
    """question -> (ranked passages, correct, answer); the ranking columns follow from the first passage."""
    strata = dict(zip(GOLD["question_id"].to_pylist(), GOLD["stratum"].to_pylist(), strict=True))
    relevant = dict(zip(GOLD["question_id"].to_pylist(), GOLD["relevant_passage_ids"].to_pylist(), strict=True))
    rows = []
    for question, (order, correct, answer) in answered.items():
        tops = order.split()
        first = float(bool(tops) and tops[0] in relevant[question])
        numbers = {field.name: first for field in QuestionOutcome.schema if pa.types.is_floating(field.type)}
        rows.append(
            {
                "system": system,
                "question_id": question,
                "stratum": strata[question],
                "answer": answer,
                "correct": correct,
                "refused": False,
                "judged_by": None if correct is None else "llm",
                "top_passage_ids": tops,
            }
            | numbers
        )
    return QuestionOutcome.table(rows)


OUTCOMES = {
    "retrieval_only": outcomes(
        "retrieval_only",
        q1=("e3 s5", False, "后备箱容积为320升。"),
        q2=("esp oil", True, "长按<ESP OFF>键三秒关闭ESP。"),
        q3=("oil s5", True, "机油容量为4.5升。"),
        q4=("e3 s5", None, ""),
    ),
    "challenger": outcomes(
        "challenger",
        q1=("s5 e3", True, "后备箱容积为450升"),
        q2=("oil esp", False, "不知道"),
        q3=("oil s5", True, "机油容量为4.5升。"),
        q4=("s5 oil", None, ""),
    ),
}


def system(name: str, accuracy: float | None, **cost: float | None) -> dict[str, Any]:
    """A row of the ladder with everything in it that a row may have."""
    legs = dict.fromkeys(("bm25_ms", "dense_ms", "fusion_ms", "signals_ms", "cross_encoder_ms", "blend_ms"), 2.0)
    quantiles = [place / 10 - 1 for place in range(21)]
    names = ("mrr@10", "ndcg@10", "ndcg_exp@10", "map", "hit@1", "hit@6", "hit@30", "recall@1", "recall@6", "recall@30")
    return {
        "name": name,
        "n": 4,
        "missing": 1,
        "accuracy": accuracy,
        "accuracy_interval": [0.1, 0.9],
        "strata": {
            stratum: {"n": 2, "accuracy": 0.5, "mrr@10": 0.6, "ndcg@10": 0.7, "recall@1": 0.5, "hit@1": 0.5}
            for stratum in ("numeric", "procedure", "summary")
        },
        **dict.fromkeys(names, 0.75),
        "classification": {"threshold": 0.4, "accuracy": 0.9, "precision": 0.8, "recall": 0.7, "f1": 0.75, "n": 120},
        "calibration": {
            "error": 0.031,
            "bins": [{"from": 0.0, "to": 0.5, "n": 90, "predicted": 0.2, "observed": 0.25}],
        },
        "scores": {"relevant": quantiles, "other": [value - 1 for value in quantiles]},
        "refusals": {"asked": 40, "missing": 1, "refused": 25, "share": 0.64, "interval": [0.5, 0.77]},
        "milliseconds_per_query": 12.5,
        "cost": {**legs, "reader_ms": 900.0, "memory_mb": 118.4, "pairs_per_query": 15.0, **cost},
    }


LADDER: dict[str, Any] = {
    "systems": [system("retrieval_only", 2 / 3, cross_encoder_ms=None), system("challenger", 2 / 3)],
    "comparisons": [
        {
            "of": "challenger", "against": "retrieval_only", "metric": "accuracy", "difference": 0.123,
            "interval": [-0.25, 0.5], "p_value": 0.31, "n": 3,
        }
    ],
    "stages": [{"name": "train_cross_encoder", "seconds": 75.2, "counts": {"groups": 220, "device": "cpu"}}],
}  # fmt: skip
RULES = (
    Rule("gold", 100.0, 4.0, None, False, "gold: 4 questions, at least 100 are asked for", "failed"),
    Rule("labels", 0.01, 0.0001, None, True, "labels: beats chance (p < 0.001)", "passed"),
    Rule("data", 1.0, None, None, False, "data: not known", "unknown"),
    Rule("champion", None, None, None, True, "champion: still in production", "passed"),
    Rule("challenger: superiority", 0.0, 0.123, (-0.25, 0.5), False, "challenger: it cannot tell", "cannot tell"),
    Rule("challenger: stratum numeric", -0.03, 0.02, (-0.1, 0.2), True, "stratum: it cannot tell", "cannot tell"),
    Rule("challenger: latency", 200.0, 12.5, None, True, "latency: 12.5 ms", "passed"),
    Rule("challenger: memory", 512.0, 118.4, None, True, "memory: 118 MB", "passed"),
)
PROMOTED = PromotionDecision(True, "challenger", RULES[4:], ("challenger: +12.3 points of <b>accuracy</b>, p = 0.012",))
HISTORY = [
    {
        "at": "2026-10-01T10:00:00+00:00", "version": "1", "system": "challenger", "promoted": True, "accuracy": 0.6,
        "incumbent_accuracy": 0.5, "difference": 0.1, "interval": [0.02, 0.18], "gold": "gold_questions/a", "n": 90,
        "run_id": "0123456789abcdef",
    },
    {"at": "2026-10-08T10:00:00+00:00", "system": None, "promoted": False, "gold": "gold_questions/b"},
]  # fmt: skip


def page(ladder: dict[str, Any] | None = None, decision: PromotionDecision = PROMOTED, **others: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "重排 <1>",
        "lineage": {"gold_questions": "gold_questions/b"},
        "decided_at": "2026-11-21T19:33:39+00:00",
        "history": HISTORY,
        "settings": {"training": {"epochs": 3, "seeds": [1, 2]}},
    }
    tables = others.pop("outcomes", OUTCOMES)
    gold, passages = others.pop("gold", GOLD), others.pop("passages", PASSAGES)
    return render(ladder or LADDER, decision, tables, gold, passages, **(arguments | others))


class Document(HTMLParser):
    """The page as a tree; a tag that is not closed where it must be, or an attribute given twice, is an error."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "col", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.builder, self.open = ET.TreeBuilder(), list[str]()
        self.feed(text)
        self.close()
        assert self.open == []
        self.root = self.builder.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.builder.start(tag, {name: value or "" for name, value in attrs})
        if tag in self.VOID:
            self.builder.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag
        self.builder.end(tag)

    def handle_data(self, data: str) -> None:
        self.builder.data(data)


def parsed(text: str) -> ET.Element:
    return Document(text).root


def texts(element: ET.Element) -> str:
    """Its text as read, styles left out; what is set apart on the page is apart here."""
    if element.tag == "style":
        return ""
    inside = (element.text or "") + "".join(texts(child) + (child.tail or "") for child in element)
    return inside if element.tag in ("mark", "strong") else f" {inside} "


def words(element: ET.Element) -> str:
    return " ".join(texts(element).split())


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in root.iter() if name in element.get("class", "").split()]
