"""Postal addresses: a street with a number, or a housing estate with a building, in Chinese and Western forms.

The rules cover the common shapes; a place alone (北京, 南京路怎么走) is not an address.
"""

from __future__ import annotations

import re

from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import ADDRESS
from rerankops.privacy.rules import Rule

_N = r"(?:[0-9]{1,5}(?:[-－][0-9]{1,4})?|[一二三四五六七八九十百零〇]{1,5})"
_PARTS = (
    rf"(?:[\p{{Han}}A-Za-z0-9]{{0,8}}?(?: ?{_N} ?|[A-Za-z甲乙丙丁] ?)(?:号|號|弄|巷|組|组|栋|幢|座|院|楼|樓|层|層|单元|單元|室|户|门|期|区)[内旁]?|附{_N}号"
    rf"|[\p{{Han}}]{{2,8}}(?:小区|花园|大厦|广场|公寓|中心|家园)|{_N}(?:$|[^0-9A-Za-z\p{{Han}}])|-?[0-9]{{3,4}})"
)
_STREET = r"(?:大道[东南西北中]?|大街|[\p{Han}]路|[\p{Han}]街|街道|胡同|村|社区|[\p{Han}]里|[\p{Han}]巷|[\p{Han}]弄|公路|道|新村|路[东南西北中]?[一二三四五六七八九]?段)"
_ESTATE = r"(?:小区|花园|花苑|家园|公寓|新村|大厦|广场|公馆|山庄|名邸|雅苑|佳苑|[\p{Han}]苑|[\p{Han}]城|[\p{Han}]府|[\p{Han}]园|社区|宿舍|村)"
_KIND = r"(?i:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Crescent|Close|Highway|Hwy|Parkway|Pkwy|Way|Gardens|Grove|Mews)"
_LEAD = re.compile(
    r"^.*(?:地址|住址|住在|家在|位于|寄到|寄往|送到|发到|装到|搬到|开到|人在|车在|停在|居住|收货|快递到|邮寄|家住|上门|我在|我住|我家|[在住到是])(?:是|为|:|：|\s)*(?=..)"
)
_NO_STREET_NUMBER = re.compile(
    r"(?i)\b(?:wheel|all|front|rear|right|left|hand|four|two|test|hard|disk|usb|long|short|half|the|this|that|a|an|my|first|only|no|best|easy|other|same|new)\s+\w+$"
)


def _trimmed(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """The span without the words that introduce it."""
    text = folded.plain[start:stop]
    lead = _LEAD.match(re.split(r"[0-9]", text)[0])
    return start + (lead.end() if lead else 0), stop


def _western(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    text = folded.plain[start:stop]
    street = re.match(rf"(.*?\b{_KIND.replace('(?i:', '(?:')}\b)", text, re.IGNORECASE)
    return None if street and _NO_STREET_NUMBER.search(street.group(1)) else (start, stop)


RULES: tuple[Rule, ...] = (
    Rule(
        ADDRESS,
        rf"([\p{{Han}}]{{0,24}}{_STREET} ?{_N} ?(?:号|號|弄|巷|組|组|栋|幢|院)(?:[ ,]?{_PARTS}){{0,6}})",
        _trimmed,
    ),
    Rule(
        ADDRESS,
        rf"([\p{{Han}}]{{0,24}}{_ESTATE} ?(?:[0-9A-Za-z]{{1,4}}|[一二三四五六七八九十]{{1,3}}) ?(?:栋|幢|座|号楼|號樓|单元|單元|弄|组|組|区)(?:[ ,]?{_PARTS}){{0,5}})",
        _trimmed,
    ),
    Rule(
        ADDRESS,
        r"([\p{Han}]{2,20}(?:省|市|区|县|縣|區)[\p{Han}]{0,14}(?:镇|乡|鄉|街道|村|屯)[\p{Han}]{0,6}[0-9一二三四五六七八九十]{1,4}(?:号|組|组|队|社))",
        _trimmed,
    ),
    Rule(ADDRESS, r"(?:邮编|邮政编码|郵編)[ :是为]{0,3}([0-9]{6})"),
    Rule(
        ADDRESS,
        rf"\b((?:(?i:flat|apt\.?|apartment|unit|suite) ?#?[0-9A-Za-z]{{1,4}},? ?)?[0-9]{{1,5}}[A-Za-z]? (?:[NSEW]\.? )?(?:[0-9A-Z][\p{{L}}0-9'.-]* ){{1,4}}?{_KIND}\b"
        r"\.?(?:,? (?:[A-Z][A-Za-z]+,? ?){1,4}(?:[0-9]{4,5}(?:-[0-9]{4})?|[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2})?)?)",
        _western,
    ),
    Rule(ADDRESS, r"(?i)\b(p\.?o\.? ?box [0-9]{1,6})"),
    Rule(
        ADDRESS,
        r"(?i)(?:post ?code|zip(?: ?code)?|postal code)[ :is]{0,5}([A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2}|[0-9]{5}(?:-[0-9]{4})?)\b",
    ),
    Rule(
        ADDRESS,
        r"(?i)\b([0-9]{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|boulevard|place|chemin|impasse|quai|via|calle|piazza) (?:d[eu]s? |de la |la |le |l')?[\p{L}'-]+(?: [\p{L}'-]+)?(?:,? [0-9]{4,5} [\p{L}-]+)?)",
    ),
    Rule(
        ADDRESS,
        r"(?i)\b([\p{L}]+(?:stra(?:ss|ß)e|str\.|weg|platz|allee|gasse) ?[0-9]{1,4}[a-z]?(?:,? [0-9]{5} [\p{L}]+)?)",
    ),
)
