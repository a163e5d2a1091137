"""One opinion of a language model on each prompt, or several where they may differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rerankops.evaluation.readers.asking import TRANSIENT
from rerankops.llm import Answer, Client, NoAnswer, Prompt

Opinion = Answer | NoAnswer


def opinions(
    client: Client, prompts: Sequence[Prompt], *, votes: int, agree: Callable[[int, Opinion, Opinion], bool]
) -> list[list[Opinion]]:
    """What the model says to each prompt: one opinion, or with votes 3 two, and a third where the two do not agree.

    Each vote has a seed of its own, counted up from llm.seed, so that the first is what a single vote would be and is
    not paid for again. agree: of prompt number n, whether two opinions come to the same.
    A server that is away gives NoAnswer of kind unavailable, and is not asked for more on that prompt.
    Raises ServerRefused.
    """
    found: list[list[Opinion]] = [[one] for one in client.ask(list(prompts), when_away="go_on")]

    def more(which: list[int], vote: int) -> None:
        seeded = [replace(prompts[number], seed=client.settings.seed + vote) for number in which]
        for number, opinion in zip(which, client.ask(seeded, when_away="go_on"), strict=True):
            found[number].append(opinion)

    if votes > 1:
        more([number for number, (first,) in enumerate(found) if not _gone(first)], 1)
        open_ = [
            number
            for number, said in enumerate(found)
            if len(said) == 2 and not _gone(said[1]) and not agree(number, *said)
        ]
        more(open_, 2)
    return found


def _gone(opinion: Opinion) -> bool:
    return isinstance(opinion, NoAnswer) and opinion.kind in TRANSIENT
