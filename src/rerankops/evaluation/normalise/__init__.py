"""Decides whether an answer states an accepted answer, and finds what in the answer speaks against that: `judge`.

Both texts are read as tokens: words, Chinese characters, and typed values (quantities with unit, sign, range and bound;
dates; times of day), each in one spelling. An accepted answer is *found* where its tokens occur in the answer as whole
words. The answer is *right* when it asserts the accepted one in at least one place: there it is not negated, not one
end of a range, not a bound in the other direction, not merely asked about and not said to be unknown, and the rest of
the answer does not contradict it.

| module          | what it does                                                              | library   |
|-----------------|---------------------------------------------------------------------------|-----------|
| `characters`    | gives each character one spelling                                         | opencc    |
| `numerals`      | rewrites numerals in words as digits                                      | cn2an, text2num |
| `units`         | knows the spellings of units and how to convert them                      | pint      |
| `quantities`    | compares values and ranges in base units                                  |           |
| `dates`         | reads dates and times of day                                              |           |
| `words`         | gives each word one spelling, and each kind of negation one form          |           |
| `tokens`        | tokenises a text                                                          |           |
| `joining`       | joins units given once, 1小时30分钟, ranges, bounds                        |           |
| `segments`      | finds where Chinese words end                                             | rjieba    |
| `matching`      | finds where an answer states an accepted one                              |           |
| `polarity`      | detects what is negated, merely asked about or not known                  |           |
| `contradiction` | detects what is taken back, left open or contradicted elsewhere           |           |

Libraries are imported when a text first needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rerankops.evaluation.normalise import contradiction, polarity
from rerankops.evaluation.normalise.matching import Place, places, says
from rerankops.evaluation.normalise.tokens import Read, Token, read
from rerankops.evaluation.normalise.words import POLAR, listed, synonyms

__all__ = ["Finding", "contains", "judge", "mentions", "normalise"]


@dataclass(frozen=True)
class Finding:
    """right: an accepted answer is found and nothing speaks against it. found: the answer contains an accepted one,
    whether it asserts it or not.

    reason: "KIND: WORDS" where something speaks against what was found (kinds: negated, asked, hedged, contradicted,
    range, bound), else "".
    """

    right: bool
    found: bool
    reason: str = ""


def judge(answer: str, accepted_answers: Iterable[str], question: str = "") -> Finding:
    """Decides whether the answer states any of the accepted answers and, where it contains one, what speaks against it.

    question: if it asks what is not the case (哪些车型不支持…), a negation in the answer does not speak against it.
    """
    said = read(answer)
    accepted = list(accepted_answers)
    wanted = [read(text) for text in accepted]
    reason = ""
    for text, one in zip(accepted, wanted, strict=True):
        finding = _judged(said, text, one, wanted, question)
        if not finding.found and (items := listed(one.text)):
            finding = _all([_judged(said, item, read(item), wanted, question) for item in items])
        if finding.right:
            return finding
        reason = reason or finding.reason
    return Finding(False, bool(reason), reason)


def contains(answer: str, accepted_answers: Iterable[str]) -> bool:
    """Whether the answer states any of the accepted answers and nothing in it speaks against that."""
    return judge(answer, accepted_answers).right


def mentions(text: str, accepted_answers: Iterable[str]) -> bool:
    """Whether an accepted answer occurs anywhere in the text, whatever the text says about it. Used to search
    passages."""
    said = read(text)
    return any(next(places(said, read(accepted)), None) is not None for accepted in accepted_answers)


def normalise(text: str) -> str:
    """The tokens of a text as one readable line, with quantities in their base unit; texts with equal lines are equal
    answers."""
    return " ".join(map(_shown, read(text).tokens))


def _judged(said: Read, text: str, accepted: Read, others: list[Read], question: str) -> Finding:
    polar = text.strip().casefold().rstrip(".!。！")
    whether = polar in POLAR or accepted.text in POLAR
    forms = [accepted, *(read(one) for one in synonyms(polar)[1:])] if whether else [accepted]
    found = [place for form in forms for place in places(said, form) if not whether or _standing(said, place, polar)]
    reason = ""
    for place in sorted(found, key=lambda place: place.first):
        against = place.objection or _against(said, place, others, "" if whether else question)
        if not against:
            return Finding(not reason or not whether, True, reason and f"contradicted: first {reason}")
        reason = reason or against
    return Finding(False, bool(found), reason)


def _all(findings: list[Finding]) -> Finding:
    """The finding for an accepted list, which is stated when all of its items are, in any order. findings: one per
    item."""
    if not all(finding.found for finding in findings):
        return Finding(False, False)
    return next((finding for finding in findings if not finding.right), findings[0])


def _against(said: Read, place: Place, others: list[Read], question: str) -> str:
    tokens = said.tokens[place.first : place.last + 1]
    value = all(token.quantity or token.days or token.time for token in tokens[:1])
    start, end = tokens[0].start, tokens[-1].end

    def accepts(token: Token) -> bool:
        return any(len(one.tokens) == 1 and says(one.tokens[0], token, said.text) == "" for one in others)

    negative = bool(question) and polarity.negative(read(question).text)
    reason = polarity.objection(said.text, start, end, value=value, negative=negative)
    return reason or contradiction.objection(said, place.first, place.last, accepts)


def _standing(said: Read, place: Place, polar: str) -> bool:
    """Whether a yes or no is a word of its own at the beginning of a sentence: "there is no problem" does not answer
    "no". Always true for other words."""
    if polar not in ("yes", "no"):
        return True
    start, end = said.tokens[place.first].start, said.tokens[place.last].end
    return (
        not said.text[:start].strip(" \n\"'").rstrip(".!?。,;:")
        and not said.text[end : end + 1].isalnum()
        and (end == len(said.text) or said.text[end] in ",.!;:。\n-")
    )


def _shown(token: Token) -> str:
    shown = str(token.quantity) if token.quantity is not None else token.text
    return {"min": ">=", "max": "<="}.get(token.bound, "") + shown
