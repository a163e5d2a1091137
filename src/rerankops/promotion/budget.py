"""What one gold set may cost over its life, and what each look at it may spend. Pure.

`promotion.alpha` is the chance that any ranker that is no better is ever promoted on the same gold questions. A look
is an evaluation whose outcome somebody learns. Each look is made at a level of its own, half of what is left: alpha/2,
alpha/4, alpha/8 …

**Why half.** Later contenders may be chosen in the light of earlier outcomes, so the looks form a tree that branches
at every outcome. A look at a contender that is no better can promote it falsely, with a chance of its level, and has
one branch to go on with; one at a better contender cannot, and has two. When a look spends the share s of what is left,
the chances of all false promotions in the tree add up to at most v with v = s + (1 - s) v for the first kind and
v = 2 (1 - s) v for the second; both hold with v = 1 when s = 1/2. The sum over the tree is then at most alpha whatever
the analyst does, as long as nothing but yes or no is learnt about the questions that a decision rests on (the union
bound over transcripts: Blum and Hardt, "The Ladder", 2015, sec. 3; Dwork et al., "The reusable holdout", 2015). A share
of one quarter would hold only while every answer is no.

**The reserve** keeps that condition: its questions' own results are shown by no report. The other questions are shown,
and no later decision rests on them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def spent(looks: Iterable[tuple[float, float]]) -> float:
    """looks: of each earlier one the level that was stored with it, and the share of the questions that today's
    decision rests on which it rested on too."""
    return math.fsum(level * overlap for level, overlap in looks)


def level(spent: float, alpha: float) -> float:
    """What the next look may spend: half of what is left. It is the look's level and its cost alike."""
    return max(0.0, alpha - spent) / 2


def new_questions(level: float, wanted: float, n: int, alpha: float) -> int | None:
    """How many questions that nobody has looked at, beside the n that all earlier looks rested on, let a look be made
    at the level `wanted` in place of `level`; None when no number does (half of alpha is the most)."""
    used = alpha - 2 * level
    room = alpha - 2 * wanted
    if used <= room:
        return 0
    return math.ceil(n * (used / room - 1) - 1e-9) if room > 0 else None


def reserve(questions: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which questions are in the reserve: True, and no report shows their results.

    questions: what identifies each, whatever else changes about it. A question's place depends on nothing but itself
    and the seed, so that it stays where it is when others come or go; each stratum has about its share.
    """
    drawn = [hashlib.blake2b(f"{seed} {question}".encode(), digest_size=8).digest() for question in questions]
    return np.asarray([int.from_bytes(digest, "big") / 2**64 < share for digest in drawn], dtype=np.bool_)
