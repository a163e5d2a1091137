"""Detects whether the rest of an answer contradicts what it says at one place.

Two different values alone are not a contradiction: front and rear tyres have one each. They are one when the answer
leaves open which of them is right (4.5L或5.2L), takes one back ("no, …"), cites another source for the other, says that
one has replaced the other, or gives both for the same thing in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rerankops.evaluation.normalise.joining import CHANGES
from rerankops.evaluation.normalise.tokens import Read, Token

Accepts = Callable[[Token], bool]
"""Tells whether a token states an accepted answer as well."""

_OR = r"(?:, ?(?=[或还抑也])|[,;]? ?(?=或|还是|抑或|也可能|也许)| )(?:或者?(?:是|为)?|还是|抑或|也可能|也许|or(?: maybe| perhaps| possibly)?) ?(?:是|为|约|大约|about |perhaps |maybe |in |the |a )?"
_OR_AFTER = re.compile(_OR, re.IGNORECASE)
_OR_BEFORE = re.compile(_OR + "$", re.IGNORECASE)
_COPULA = re.compile(r"(?:是|为|即|在|于|\b(?:is|are|was|were|be)(?: in| on| at)?(?: the| an?)?) ?$", re.IGNORECASE)
_EITHER = re.compile(r"\beither (?:the |an? |in |on )?$|要么$|不是$", re.IGNORECASE)
_TAKEN_BACK = re.compile(
    r"[,.;。!?\n—-] ?(?:哦|啊|呃|oh |wait |sorry )?(?:不对?|不是|更正|纠正|订正|说错了|错了|no|nope|correction|wait|sorry|i mean"
    r"|or rather|scratch that) ?[,:;.!。—-]+ ?(?=\w)",
    re.IGNORECASE,
)
_OTHER_SOURCE = re.compile(
    r"[也还]有(?:资料|人|说法|文献|报道|记载|版本)|另有(?:资料|人|说法|文献)|另一[种份个本](?:说法|资料|来源|文献|手册|版本)|另一(?:处|页|段|节|章)|有人[说认]|有的(?:资料|地方|手册)|其他资料"
    r"|\b(?:(?:other|another|some) (?:sources?|manuals?|documents?|reports?|pages?)|some say|others (?:say|claim)|elsewhere|according to another)\b",
    re.IGNORECASE,
)
_REPLACED = re.compile(
    r"[^,。;\n\d]{0,6}?(?:改为|改成|更改为|变[为成]|(?:延长|提高|提升|降低?|增加?|缩短|调整|升级?|上调|下调|扩大)[至到为成]|更新为|换成|替换为)"
    r"[^,。;\n\d]{0,4}$| to $| (?:was|has been|were) (?:changed|increased|reduced|replaced|extended)[^.;\n\d]{0,24}$",
    re.IGNORECASE,
)
_FORMER = re.compile(
    r"原来|原先|原为|原本|以前|过去|旧款|旧版|曾经?|\b(?:previously|formerly|used to|originally|initially)\b",
    re.IGNORECASE,
)
_LATTER = re.compile(
    r"现在|现[已为改]|如今|目前|改为|新款|新版|\b(?:now|currently|today|nowadays|since then)\b", re.IGNORECASE
)
_CLAUSE = re.compile(r"[,;!?。\n]|\.(?=\s|$)")
_CLAUSES = re.compile(r"(?:(?!\.(?:\s|$))[^,;!?。\n])+")
_IS = re.compile(r"(?:是|为|在|位于| (?:is|are|was|were)(?: in| on| at)?(?: the| an?)?) ?$", re.IGNORECASE)
_PRONOUN = re.compile(
    r"^ ?(?:他|她|它|这|那|此|其|该|it|he|she|they|this|that|these|those|there|i|we|you|who|which)\b", re.IGNORECASE
)


def objection(read: Read, first: int, last: int, accepts: Accepts) -> str:
    """The reason why the answer does not stand by the tokens first..last (inclusive); "" when it does."""
    tokens, text = read.tokens, read.text
    start, end = tokens[first].start, tokens[last].end
    if match := _TAKEN_BACK.search(text, end):
        return f'contradicted: taken back by "{match[0].strip(" ,.;:。")}"'
    values = [token for token in tokens[first : last + 1] if token.quantity or token.days]
    if values:
        others = [token for n, token in enumerate(tokens) if not first <= n <= last and _rivals(text, values[0], token)]
        return _against_value(text, start, end, [other for other in others if not accepts(other)])
    return _against_words(text, start, end)


def _rivals(text: str, one: Token, other: Token) -> bool:
    """Whether another token could be a competing value for the same thing; bare numbers only when they count the same
    thing."""
    if one.quantity is not None and other.quantity is not None:
        bare = not one.quantity.kinds() and not other.quantity.kinds()
        if (
            bare
            and not (_is_year(one) and _is_year(other))
            and text[one.end : one.end + 2] != text[other.end : other.end + 2]
        ):
            return any(_OR_AFTER.match(text, token.end) for token in (one, other))
        return one.quantity.like(other.quantity) and one.text != other.text
    if one.days and other.days:
        return one.days != other.days
    return False


def _is_year(token: Token) -> bool:
    return token.text.isdigit() and len(token.text) == 4 and "1000" <= token.text <= "2999"


def _against_value(text: str, start: int, end: int, others: list[Token]) -> str:
    for other in others:
        between = text[end : other.start] if other.start >= end else text[other.end : start]
        if _OR_AFTER.fullmatch(between) or re.fullmatch(rf"[个次座门年人]?{_OR}", between, re.IGNORECASE):
            return f"contradicted: it leaves open whether it is {text[other.start : other.end]}"
        if _OTHER_SOURCE.search(text) and _OTHER_SOURCE.search(text[min(start, other.start) : max(end, other.end)]):
            return f"contradicted: another source is given for {text[other.start : other.end]}"
        if other.start >= end and len(between) <= 40 and _REPLACED.match(between) and _moves(text, start, between):
            return f"contradicted: replaced by {text[other.start : other.end]}"
        if other.start >= end and _FORMER.search(_clause(text, start)[0]) and _LATTER.search(text[end : other.start]):
            return f"contradicted: it was so before {text[other.start : other.end]}"
        if _alike(text, start, other.start):
            return f"contradicted: it also says {text[other.start : other.end]} of the same"
    return ""


def _moves(text: str, start: int, between: str) -> bool:
    """Whether the words between two values mean a replacement; " to " alone does so only after a verb of change."""
    if between.strip() != "to":
        return True
    return CHANGES.search(text, max(0, start - 30), start) is not None


def _alike(text: str, one: int, other: int) -> bool:
    """Whether two values are given for the same thing, that is, whether their clauses begin with the same words."""
    (mine, first), (theirs, second) = (_clause(text, place) for place in (one, other))
    opens = re.search(r"(?:^|[。;!?\n]|\. ?)\s*$", text[: min(first, second)])
    named = _subject(mine)
    return (
        opens is not None  # otherwise an earlier clause may say what the value belongs to
        and named == _subject(theirs)
        and len(named) >= 4
        and re.search(r"\d", named) is None
        and _PRONOUN.match(mine) is None
    )


def _subject(words: str) -> str:
    return re.sub(r"[^\w]", "", words.lower())


def _against_words(text: str, start: int, end: int) -> str:
    before, after = _clause(text, start)[0], text[end : end + 24]
    stop = re.search(r"[。!?\n]|\.(?=\s|$)", text[end:])
    if match := _OTHER_SOURCE.search(text[end : end + stop.start() if stop else len(text)]):
        return f'contradicted: another is given, "{match[0]} …"'
    left = text[max(0, start - 40) : start]
    if (match := _OR_AFTER.match(after)) and (_EITHER.search(left) or _COPULA.search(left) or "还是" in match[0]):
        return f'contradicted: it leaves open "{match[0].strip()} …"'
    if match := _OR_BEFORE.search(left):
        ahead = left[: match.start()]
        coordinate = re.search(r"[\w-]+(?: [\w-]+)?$", ahead)
        stem = ahead[: coordinate.start()] if coordinate else ahead
        if (
            "还是" in match[0]
            or "either" in left.lower()
            or _COPULA.search(stem + " ")
            or re.search("[是为在于][\u3400-\u9fff]{1,4}$", ahead)
        ):
            return f'contradicted: it leaves open "… {match[0].strip()}"'
    return _other_of_the_same(text, start, end, before)


def _other_of_the_same(text: str, start: int, end: int, before: str) -> str:
    """Finds another value in the same words: 按钮是蓝色的。按钮是红色的。"""
    if not _IS.search(before) or len(_subject(before)) < 3 or _PRONOUN.match(before.strip()):
        return ""
    stop = _CLAUSE.search(text, end)
    after = text[end : stop.start() if stop else len(text)]
    said = text[start:end].lower()
    for clause in _CLAUSES.finditer(text):
        if clause.start() < end and start < clause.end():
            continue  # the clause of the value itself
        found = clause[0].strip()
        if found.startswith(before.strip()) and found.endswith(after.strip()):
            other = found[len(before.strip()) : len(found) - len(after.strip())].strip()
            if other and said not in other.lower():
                return f'contradicted: it also says "{other}" of the same'
    return ""


def _clause(text: str, place: int) -> tuple[str, int]:
    """The text before a place in its clause, and the position where the clause begins."""
    begin = max(0, place - 80)
    ends = [match.end() for match in _CLAUSE.finditer(text, begin, place)]
    first = ends[-1] if ends else begin
    return text[first:place], first
