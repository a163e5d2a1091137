"""A small world in which one ranker is honestly better than another: what promotion is crashed with.

A manual says of each of CARS what each of PARTS takes, under the manual's own word for the part. Users know half the
parts by another word. Retrieval by words finds the car; its dense leg reads letters with a random encoder, so fusing
the two is worse than words alone, which is what the tuned fusion learns from judgments; and a cross-encoder whose
embeddings know which words mean the same finds the passage itself. Three levels, each better than the one before.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARS, PARTS, QUESTIONS, JUDGED = 30, 8, 126, 70
POSITIONS = 16_000
"""Of the cross-encoder: they make its file of two megabytes larger than the registry's database, so that a limit on the
size of files can hit the one and not the other."""
STRATA = ("numeric", "procedure", "summary")
WORDS = ("how", "much", "does", "the", "take", "takes", "litres", "of", "it")
FIRST, NEXT, OTHER = "first", "next", "other"
"""Retrainings, by what plan_retraining is told as `again`: FIRST makes a champion of the best that does not
know the users' words, NEXT and OTHER each have a challenger that knows them and beats it."""


def settings(folder: Path, llm: str | None = None, registry: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Overrides for config.load. llm: URL of a language model server, which then reads. registry: of section registry;
    without any it is SQLite in the folder."""
    tree: dict[str, Any] = {
        "workspace": {"root": str(folder / "workspace")},
        "sources": {"corpus": str(folder / "corpus.jsonl"), "gold": str(folder / "gold.jsonl")},
        "encoder": {"model": str(folder / "encoder"), "max_length": 96, "device": "cpu"},
        "training": {"base_model": str(folder / "words"), "max_length": 64, "device": "cpu", "min_groups": 20},
        "scoring": {"top_k": 2},
        # Sentences differ in two made-up words: a better ranker shows nearer ones, which rules take for answers.
        "reader": {"refuse_below": None},
        "evaluation": {"bootstrap_samples": 1000, "latency_questions": 3},
        # of so few questions each decision needs all, and no loss in a stratum can be told
        "promotion": {"reserve_share": 1.0, "max_unnoticed_stratum_loss": 1.0, "max_unnoticed_refusal_loss": 1.0},
    }
    if registry:
        tree["registry"] = dict(registry)
    if llm:
        tree["reader"] = {"kind": "llm"}
        tree["evaluation"] |= {"refusal_questions": 20}
        tree["llm"] = {"url": llm, "model": "scripted", "concurrency": 4, "timeout": 20, "max_wait": 1}
    return tree


class World:
    """Every text of the world, from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self.cars = self._names(CARS)
        self.parts = list(zip(self._names(PARTS), self._names(PARTS), strict=True))
        """The manual's word and the user's."""
        pairs = [(car, part) for car in range(CARS) for part in range(PARTS)]
        self._random.shuffle(pairs)
        self.asked, self.judged = pairs[:QUESTIONS], pairs[QUESTIONS : QUESTIONS + JUDGED]

    def _names(self, count: int) -> list[str]:
        syllables = [a + b for a in "bdfgklmnprtvz" for b in "aeiou"]
        return ["".join(self._random.sample(syllables, 4)) for _ in range(count)]

    def question(self, car: int, part: int) -> str:
        manual, user = self.parts[part]
        return f"how much does the {user if part % 2 else manual} of the {self.cars[car]} take"

    def amount(self, car: int, part: int) -> str:
        return f"{100 * (car + 1) + part}.{part} litres"

    def corpus(self) -> list[dict[str, Any]]:
        return [
            {
                "passage_id": f"p{car}-{part}",
                "title": name,
                "text": f"the {manual} takes {self.amount(car, part)}",
            }
            for car, name in enumerate(self.cars)
            for part, (manual, _) in enumerate(self.parts)
        ]

    def gold(self) -> list[dict[str, Any]]:
        return [
            {
                "question_id": f"g{number}",
                "text": self.question(car, part),
                "accepted_answers": [self.amount(car, part)],
                "stratum": STRATA[number % len(STRATA)],
                "relevant_passage_ids": [f"p{car}-{part}"],
            }
            for number, (car, part) in enumerate(self.asked)
        ]

    def judgments(self) -> list[dict[str, Any]]:
        """What people say of one right passage and three of the same car for each judged question."""
        rows = []
        for number, (car, part) in enumerate(self.judged):
            text = self.question(car, part)
            others = self._random.sample([other for other in range(PARTS) if other != part], 3)
            rows += [
                {
                    "query_id": f"q{number:03d}",
                    "passage_id": f"p{car}-{one}",
                    "query_text": text,
                    "stratum": STRATA[number % len(STRATA)],
                    "grade": 3 if one == part else 0,
                    "confidence": 0.9,
                    "annotator_count": 3,
                    "origin": "human",
                }
                for one in (part, *others)
            ]
        return rows

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_lines(folder / "corpus.jsonl", self.corpus())
        write_lines(folder / "gold.jsonl", self.gold())

    # -- models -----------------------------------------------------------------------------------------------------

    def letters(self, folder: Path) -> None:
        """An encoder that reads letters and was never trained."""
        letters = "abcdefghijklmnopqrstuvwxyz0123456789."
        _bert(folder, [*letters, *(f"##{letter}" for letter in letters)], seed=1)

    def words(self, folder: Path, *, seed: int, knowing: bool) -> None:
        """An encoder that reads words. knowing: the two words for a part have one embedding."""
        vocabulary = [*WORDS, *self.cars, *(word for pair in self.parts for word in pair), *(f"{n}" for n in range(10))]
        _bert(folder, vocabulary, seed=seed, same=self.parts if knowing else (), positions=POSITIONS)

    def cross_encoder(self, folder: Path, encoder: Path) -> None:
        """Late interaction over the states of such an encoder, as training begins with it; see scoring.maxsim."""
        from rerankops.scoring.cross_encoder import load

        model = load(str(encoder), max_length=64, device="cpu", head="maxsim")
        model.save_pretrained(str(folder), create_model_card=False)


def _bert(folder: Path, vocabulary: list[str], *, seed: int, same: Any = (), positions: int = 128) -> None:
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    everything = [*special, *dict.fromkeys(vocabulary)]
    (folder / "vocab.txt").write_text("\n".join(everything))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(everything),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
    )
    model = BertModel(config)
    with torch.no_grad():
        embeddings = model.embeddings.word_embeddings.weight
        embeddings.normal_()
        model.embeddings.position_embeddings.weight.zero_()
        place = {word: row for row, word in enumerate(everything)}
        for left, right in same:
            embeddings[place[right]] = embeddings[place[left]]
    model.save_pretrained(folder)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def prepare(context: Any, folder: Path, world: World) -> None:
    """Corpus, gold, index and judgments in the workspace, by the steps that make them in production."""
    from rerankops.pipeline import corpus, index
    from rerankops.pipeline.judgments import take_in
    from rerankops.records import Judgment

    world.write(folder)
    world.letters(folder / "encoder")
    world.words(folder / "words", seed=2, knowing=False)
    passages = corpus.load_corpus(context=context)
    corpus.load_gold(context=context)
    built = index.build_index(passages, corpus.embed_corpus(passages, context=context), context=context)
    index.serve_index(built, context=context)
    judged = Judgment.table(world.judgments())
    take_in(context, "human", context.workspace.publish(Judgment, judged, step="adjudicate"))


def contenders(context: Any, folder: Path, world: World, again: str) -> tuple[str, str]:
    """The first half of a retraining; returns plan and contenders. The cross-encoder is not trained but given, at the
    address of a trained one, so that the steps after it, and `flows.retrain`, find it there."""
    from rerankops.pipeline import training

    plan = training.plan_retraining(again=again, context=context)
    training.check_judgments(plan, context=context)
    candidates = training.retrieve_judged(plan, context=context)
    groups = training.build_training_groups(plan, candidates, context=context)

    def build(place: Path) -> Mapping[str, float]:
        encoder = folder / f"words-{again}"
        if not encoder.exists():
            world.words(encoder, seed={FIRST: 3, NEXT: 4, OTHER: 5}[again], knowing=again != FIRST)
        world.cross_encoder(place, encoder)
        return {}

    model = context.workspace.publish_folder("cross_encoders", build, step="train_cross_encoder", inputs=[plan, groups])
    return plan, training.fit_rankers(plan, candidates, groups, model, context=context)
