"""How likely the rule-based reader's answer is to answer the question: a logistic regression on three features
(`Signs`).

The features are computed from the answering sentence, its passage's heading and the question, never from ranks or
scores, so that a ranker cannot make the reader more confident merely by moving a passage up:

- told: the weighted share of the question's terms that occur in the sentence or the heading;
- about: the share of the heading's terms that occur in the question; it is low when the heading names another car;
- lacking: the share of the question's years, numbers and models that occur in neither the title nor the passage.

The heading is the passage's title. A title that is empty, or that shares no term with its passage or the question, such
as a file name, is not used; the passage's first sentence takes its place, with weights of its own.

The weights are fitted by `benchmarks/refusals.py --fit` on training questions of two public sets, one Chinese and one
English, with and without the passages that answer them. Both sets, and both kinds of question in each, have the same
total weight. The probability therefore assumes that half of the questions can be answered.
benchmarks/results/refusals.md says how well it separates the two kinds, also on a set that it was not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from rerankops.evaluation.readers import wording

VERSION = 1
"""Incremented when the features or their weights change."""


class Signs(NamedTuple):
    """The features. told, about, lacking: shares in [0, 1], see above. titled: whether the heading is the passage's
    title."""

    told: float
    about: float
    lacking: float
    titled: bool


class Weights(NamedTuple):
    """Weights of a logistic regression: what each feature adds to the log-odds."""

    constant: float
    told: float
    about: float
    lacking: float

    def probability(self, found: Signs) -> float:
        """The probability, in (0, 1), that an answer with these features answers the question."""
        odds = self.constant + self.told * found.told + self.about * found.about + self.lacking * found.lacking
        return 1 / (1 + math.exp(-odds))


TITLED = Weights(constant=-4.26, told=5.63, about=2.91, lacking=-1.24)
UNTITLED = Weights(constant=-3.54, told=5.54, about=5.99, lacking=-0.77)


def signs(question: str, weights: Mapping[str, float], *, sentence: str, title: str, passage: str, first: str) -> Signs:
    """The features of an answering sentence. All texts are as `wording.plain` returns them. weights: of the question's
    terms, as `wording.weights` returns them. title, passage, first: of the passage that contains the sentence, its
    title, its text, and the first sentence of that text."""
    terms = wording.terms(title)
    titled = any(term in passage or term in question for term in terms)
    heading = title if titled else first
    if not titled:
        terms = wording.terms(heading)
    identifiers = wording.identifiers(question)
    return Signs(
        told=sum(weight for term, weight in weights.items() if term in sentence or term in heading),
        about=sum(term in question for term in terms) / max(1, len(terms)),
        lacking=sum(f" {one} " not in title + passage for one in identifiers) / max(1, len(identifiers)),
        titled=titled,
    )


def probability(found: Signs) -> float:
    """The probability, in (0, 1), that an answer with these features answers the question."""
    return (TITLED if found.titled else UNTITLED).probability(found)
