"""Whether an answer says an accepted answer, and what in it speaks against that: `judge`.

Both are read as tokens: words, Chinese characters, and typed values (quantities with unit, sign, range and bound; dates;
times of day), each in one spelling. An accepted answer is *found* where its tokens stand in the answer as whole words.
The answer is *right* when it asserts the accepted one in one place at least: there it is not negated, not one end of a
range, not a bound in the other direction, not merely asked and not said to be unknown, and the rest of the answer does
not contradict it.

| module          | what it does                                                              | library   |
|-----------------|---------------------------------------------------------------------------|-----------|
| `characters`    | one way to write each character                                           | opencc    |
| `numerals`      | numbers in words as digits                                                | cn2an, text2num |
| `units`         | spellings of units; factors from the registry                             | pint      |
| `quantities`    | values and ranges compared in base units                                  |           |
| `dates`         | dates and times of day                                                    |           |
| `words`         | spellings of words; one form for each negation                            |           |
| `tokens`        | a text as tokens                                                          |           |
| `joining`       | units said once, 1小时30分钟, ranges, bounds                               |           |
| `segments`      | where Chinese words end                                                   | rjieba    |
| `matching`      | where an answer says an accepted one                                      |           |
| `polarity`      | negated, asked, not known                                                 |           |
| `contradiction` | taken back, left open, said otherwise elsewhere                           |           |

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
    """right: an accepted answer is found and nothing speaks against it. found: the answer holds one, asserted or not.

    reason: "KIND: WORDS" where something speaks against what was found (kinds: negated, asked, hedged, contradicted,
    range, bound), else "".
    """

    right: bool
    found: bool
    reason: str = ""


def judge(answer: str, accepted_answers: Iterable[str], question: str = "") -> Finding:
    """Whether the answer says any of the accepted answers, and what speaks against it where it holds one.

    question: where it asks for what is not so (哪些车型不支持…), a negation in the answer speaks against nothing.
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
    """Whether the answer says any of the accepted answers and nothing in it speaks against that."""
    return judge(answer, accepted_answers).right


def mentions(text: str, accepted_answers: Iterable[str]) -> bool:
    """Whether an accepted answer stands anywhere in the text, whatever is said of it: what a passage is searched for."""
    said = read(text)
    return any(next(places(said, read(accepted)), None) is not None for accepted in accepted_answers)


def normalise(text: str) -> str:
    """The tokens of a text as one readable line, quantities in their base unit; equal lines mean equal answers."""
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
    """An accepted list is said when all of its items are, in any order."""
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
    """A yes or no is a word of its own at the beginning of a sentence: "there is no problem" does not answer no."""
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
