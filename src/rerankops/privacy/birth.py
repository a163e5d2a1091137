"""Dates of birth: dates that the wording identifies as such."""

from __future__ import annotations

from rerankops.privacy.kinds import BIRTH
from rerankops.privacy.rules import Rule

_HAN_DIGIT = "[零〇一二三四五六七八九十廿]"
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_YEAR_FIRST = (
    r"(?:(?:19|20)?[0-9]{2} ?[年./-] ?[0-9]{1,2}(?: ?[月./-] ?(?:[0-9]{1,2} ?[日号]?)?)?"
    rf"|(?:19|20)[0-9]{{2}}[01][0-9][0-3][0-9]|{_HAN_DIGIT}{{2,4}}年{_HAN_DIGIT}{{1,3}}月(?:{_HAN_DIGIT}{{1,3}}[日号])?"
    r"|(?:19|20)?[0-9]{2}年)"
)
_OTHER = (
    rf"(?:[0-9]{{1,2}}[./-][0-9]{{1,2}}[./-](?:19|20)?[0-9]{{2}}|[0-9]{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? [0-9]{{4}}"
    rf"|{_MONTH}\.? [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}|[0-9]{{1,2}}月[0-9]{{1,2}}[日号]?"
    rf"|{_HAN_DIGIT}{{1,2}}月{_HAN_DIGIT}{{1,3}}[日号])"
)

RULES: tuple[Rule, ...] = (
    Rule(
        BIRTH,
        rf"(?i)(?:生日|出生(?:日期|年月日?|时间|于)?|生于|诞辰|\bd\.?o\.?b\b\.?|date of birth|birth ?(?:day|date)|\bborn)"
        rf"(?: ?(?:是|为|在|on|is|in|:|=|\())* ?({_OTHER}|{_YEAR_FIRST})",
    ),
    Rule(BIRTH, rf"(?i)({_YEAR_FIRST}) ?(?:出生|生的|生人|生$|生[^产成\p{{L}}]|生,)"),
)
