"""Telephones, identity cards and bank cards among digits, whatever their grouping.

Digits with signs between them form one run. In a run, a number may begin wherever a group begins.
"""

from __future__ import annotations

import itertools
import re
from datetime import datetime

import phonenumbers

from rerankops.privacy import checks
from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import CARD, DEVICE, IDENTITY, NUMBER, PHONE
from rerankops.privacy.rules import Span, digit_suspects

_RUN = r"[0-9](?:[^a0-9\n]{0,4}[0-9]){6,}"
_LONGEST_RUN = 90
_WINDOWS = 5
"""_LONGEST_RUN digits of a run are looked at together, at most _WINDOWS times; a text with a longer run is not a
query."""

_SAYS_TELEPHONE = re.compile(
    r"(?i)(?:电话|電話|手机|手機|座机|固话|固定电话|联系方式|联系我|号码|我的?号|来电|致电|拨打?|回电|传真|热线|whats ?app|"
    r"\btel(?:ephone)?|\b(?:cell|mobile|phone)(?:phone)?|\bcall|\bring|\bdial|\btext|\bfax|\bcontact|\bsms|微信同号|同号|尾号)"
    r"(?:号码?|号|是|为|:|：|\W|number|num|no|me|us|our|my|the|at|on|office|back|is|now|please|in|日本|香港|台湾|澳门|[\u4e00-\u9fff]){0,5}$"
)
_ASKS_TO_CALL = re.compile(
    r"(?i)\W{0,2}(?:打给我|找我|联系我|给我(?:打|回)|回电|打过来|打不通|这个号|是我|我的?(?:电话|手机|号)|に電話|請回電|转\d)"
)
_PART = (
    r"(?:零件|配件|备件|部件|产品|原厂)(?:编?号|码)?|件号|OEM?号?|编号|型号|货号|机滤|空滤|汽滤|滤芯|滤清器|机油格|空调格|火花塞|雨刮|雨刷|"
    r"刹车片|刹车盘|电瓶|蓄电池|皮带|轴承|正时|线圈|节气门|传感器|垫片|油封|减震|灯泡|轮毂|轮胎|机油|part(?: ?(?:no|number|#))?\.?|p/n|filter|spark plug"
)
_PART_BEFORE = re.compile(rf"(?i)(?:{_PART})(?:号码?|是|为|:|\W){{0,4}}$")
_PART_AFTER = re.compile(rf"(?i)\s?(?:这个|号|的)?(?:机油|空气|空调|汽油|燃油|博世|原厂|前|后|左|右)*(?:{_PART})")
_PART_ONLY = re.compile(
    rf"(?i)\s?(?:机油|空气|空调|汽油|燃油|前|后|左|右)*(?:{_PART})\s*(?:$|多少|价格|适配|通用|适合|是哪|什么|型号|替代|有货|几|的|吗|和)"
)
_UNIT_AFTER = re.compile(
    r"(?i)\s?(?:公里|千米|km|元|块|万|米|mm|毫米|转(?=速|/|每|时|\s|$)|rpm|r/min|度|kwh?|nm|n·m|次|天|小时|mi(?:les?)?\b|cc|ml|升|psi|pa|[vw]\b|hz|款|年|分辨率|像素)"
)
_RANGE = re.compile(r"[1-9]\d*00\s?[-~]\s?[1-9]\d*00")
_PLAIN_SIGNS = frozenset(" -./,x~+:")
_NEIGHBOURS = ("HK", "TW", "MO", "JP", "KR", "GB", "SG", "AU")
"""Regions where national numbers with hyphens are also looked for; a valid number in one of them counts."""
_AREA = re.compile(r"0(?:10|2\d|[3-9]\d\d)([2-9]\d{6,7})")


class _Run:
    """Digits of a run: their values, their positions in the copy, and the text before each."""

    def __init__(self, folded: Folded, start: int, stop: int) -> None:
        self.folded = folded
        self.places = [n for n in range(start, stop) if 48 <= folded.digits[n] <= 57][:_LONGEST_RUN]
        self.digits = bytes(folded.digits[n] for n in self.places).decode()
        ends = [place + 1 for place in self.places]
        self.gaps = [""] + [folded.plain[a:b] for a, b in zip(ends, self.places[1:], strict=False)]
        self.stop = ends[-1]

    def begins(self, at: int) -> bool:
        return at == 0 or self.gaps[at] != "" or self._turns(at)

    def ends(self, at: int) -> bool:
        """Whether a number may end before digit `at`."""
        return at == len(self.digits) or self.gaps[at] != "" or self._turns(at)

    def _turns(self, at: int) -> bool:
        """Whether plain digits and numerals of another script meet here: 13812340001一次."""
        left, right = self.folded.plain[self.places[at] - 1], self.folded.plain[self.places[at]]
        return left.isascii() != right.isascii() and at in (11, 18)

    def grouping(self, start: int, stop: int) -> list[int]:
        cuts = [start, *(n for n in range(start + 1, stop) if self.gaps[n]), stop]
        return [b - a for a, b in itertools.pairwise(cuts)]

    def disguised(self, start: int, stop: int) -> bool:
        return any(set(self.gaps[n]) - _PLAIN_SIGNS for n in range(start + 1, stop))

    def span(self, start: int, stop: int, kind: str) -> Span:
        return Span(self.places[start], self.places[stop - 1] + 1, kind)

    def text(self, start: int, stop: int) -> str:
        return self.folded.plain[self.places[start] : self.places[stop - 1] + 1]


def find(folded: Folded, region: str, crowded: set[int]) -> list[Span]:
    """Telephones, identity cards, bank cards, devices. region: for numbers without a country code."""
    found: list[Span] = []
    for start, stop in digit_suspects(_RUN, folded, crowded):
        windows = 0
        while stop - start >= 7 and windows < _WINDOWS:
            run = _Run(folded, start, min(stop, start + 5 * _LONGEST_RUN))
            spans = _read(run, region)
            found.extend(spans)
            if run.places[-1] + 1 >= stop:
                break
            start, windows = max(spans[-1].stop if spans else 0, run.places[len(run.places) // 2]), windows + 1
        if windows == _WINDOWS:
            crowded.add(start)
    return found


def unsettled(folded: Folded, crowded: set[int]) -> list[Span]:
    """Long numbers that nothing explains: a person's, or a part's. Call this after all other rules."""
    found = []
    for start, stop in digit_suspects(r"[0-9]{12,}", folded, crowded):
        digits = bytes(folded.digits[start:stop]).decode()
        part = _PART_BEFORE.search(folded.before(start, 14)) or _PART_AFTER.match(folded.after(stop, 14))
        explained = part or _UNIT_AFTER.match(folded.after(stop, 6)) or _is_moment(digits) or checks.is_barcode(digits)
        if not explained and len(set(digits)) > 2:
            found.append(Span(start, stop, NUMBER))
    return found


def _is_moment(digits: str) -> bool:
    for form in ("%Y%m%d%H%M%S", "%Y%m%d%H%M"):
        try:
            if 1990 <= datetime.strptime(digits, form).year <= 2100:
                return True
        except ValueError:
            continue
    return False


def _read(run: _Run, region: str) -> list[Span]:
    said = _SAYS_TELEPHONE.search(run.folded.before(run.places[0], 14)) is not None
    asked = _ASKS_TO_CALL.match(run.folded.after(run.stop, 8)) is not None
    found: list[Span] = []
    at, forced = 0, False
    while at < len(run.digits) - 6:
        if forced or run.begins(at):
            best = _number(run, at, region, (said and not found and at == 0) or asked)
            if best:
                found.append(best[1])
                at, forced = best[0], True
                continue
        at, forced = at + 1, False
    return found


def _number(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    for reader in (_identity, _card, _mobile, _with_country, _landline, _national):
        found = reader(run, at, region, said)
        if found:
            return found
    if said:
        return _said_to_be_a_telephone(run, at)
    return None


def _identity(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    digits, size = run.digits, len(run.digits)
    if at + 17 <= size and checks.is_resident_identity(digits[at : at + 17] + "0"):
        place = run.places[at + 16] + 1
        last = re.match(r"\W{0,3}[Xx×]", run.folded.after(place, 4))
        if (at + 17 == size or not run.ends(at + 18) or run.gaps[at + 17]) and last:
            return at + 17, Span(run.places[at], place + last.end(), IDENTITY)
        if at + 18 <= size and (run.ends(at + 18) or size - at - 18 >= 11):
            return at + 18, run.span(at, at + 18, IDENTITY)
    if (
        at + 15 == size
        and run.grouping(at, at + 15)[0] in (15, 6)
        and checks.is_resident_identity(digits[at : at + 15])
    ):
        return (at + 15, run.span(at, at + 15, IDENTITY)) if not checks.is_device(digits[at : at + 15]) else None
    return None


def _card(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    for length in (20, 19, 18, 17, 16, 15, 14, 13):
        stop = at + length
        if stop > len(run.digits) or not run.ends(stop):
            continue
        digits, groups = run.digits[at:stop], run.grouping(at, stop)
        if checks.is_sim(digits):
            return stop, run.span(at, stop, DEVICE)
        if checks.is_device(digits) and groups in ([15], [2, 6, 6, 1], [6, 2, 6, 1], [8, 6, 1]):
            return stop, run.span(at, stop, DEVICE)
        if _part(run, at, stop) or checks.is_barcode(digits):
            continue
        grouped = len(groups) == 1 or set(groups[:-1]) == {4} or groups in ([4, 6, 5], [4, 6, 4], [6, 13], [6, 10])
        if grouped and checks.is_card(digits):
            return stop, run.span(at, stop, CARD)
    return None


def _mobile(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    match = re.compile(r"(?:00)?86(?=1[3-9])|").match(run.digits, at)
    begin = match.end() if match else at
    stop = begin + 11
    if not re.match(r"1[3-9]\d{9}", run.digits[begin:stop]) or not run.ends(stop):
        return None
    groups = run.grouping(begin, stop)
    usual = groups in ([11], [3, 8], [3, 4, 4], [3, 3, 5], [7, 4], [4, 7], [4, 4, 3]) or len(groups) >= 8
    prefixed = begin > at or _plus(run, at)
    if not (usual or said or prefixed or run.disguised(begin, stop)):
        return None
    if not (said or prefixed):
        raw = run.text(at, stop)
        whole = at == 0 and stop == len(run.digits)
        fraction = at > 0 and run.gaps[at] == "." and run.digits[at - 1] == "0" and run.begins(at - 1)
        if fraction or _RANGE.fullmatch(raw) or _PART_BEFORE.search(run.folded.before(run.places[at], 14)):
            return None
        if whole and (
            _PART_ONLY.match(run.folded.after(run.stop, 16)) or _UNIT_AFTER.match(run.folded.after(run.stop, 5))
        ):
            return None
    return stop, _with_sign(run, at, stop)


def _with_country(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    """+44 20 7946 0958, 0044…, and 852-9123-4567: the longest valid number that begins here."""
    digits = run.digits
    if _plus(run, at):
        begin = at
    elif digits.startswith("00", at) and not digits.startswith("000", at):
        begin = at + 2
    elif digits.startswith(("852", "853", "886"), at) and len(run.grouping(at, len(digits))) > 1 and run.gaps[at + 3]:
        begin = at
    else:
        return None
    for stop in range(min(len(digits), begin + 15), begin + 7, -1):
        if run.ends(stop) and _is_valid("+" + digits[begin:stop].replace("440", "44", 1), None, loosely=_plus(run, at)):
            return stop, _with_sign(run, at, stop)
    return None


def _landline(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    """Mainland: area code and seven or eight digits, and the service numbers 400 and 800."""
    digits, size = run.digits, len(run.digits)
    begin = at + (2 if digits.startswith("86", at) and (_plus(run, at) or run.gaps[at + 2 : at + 3] != [""]) else 0)
    area = digits if begin == at else "0" + digits[begin:]
    match = _AREA.match(area, at) if begin == at else _AREA.match(area)
    if match and not _part(run, at, min(size, at + 12)):
        shift = 0 if begin == at else begin - 1
        code = match.start(1) + shift
        for stop in (code + 8, code + 7):
            if stop <= size and run.ends(stop) and (run.gaps[code] or said or stop - at >= 11 or begin > at):
                groups = run.grouping(code, stop)
                if len(groups) <= 2 or run.disguised(code, stop):
                    return _extension(run, at, stop)
    service = re.match(r"[48]00\d{7}", digits[at : at + 10]) and run.ends(at + 10) and not _part(run, at, at + 10)
    if service and run.grouping(at, at + 10) in ([10], [3, 7], [3, 3, 4], [3, 4, 3], [4, 3, 3]):
        return at + 10, run.span(at, at + 10, PHONE)
    return None


def _national(run: _Run, at: int, region: str, said: bool) -> tuple[int, Span] | None:
    """Numbers in the formats of the configured region, North America and the neighbours."""
    size = len(run.digits)
    for stop in range(min(size, at + 12), at + 6, -1):
        if not run.ends(stop) or _part(run, at, stop):
            continue
        digits, groups = run.digits[at:stop], run.grouping(at, stop)
        american = groups in ([3, 3, 4], [1, 3, 3, 4]) and (said or set(run.gaps[at + 1 : stop]) - {"", " "})
        if american and digits[0] != "0" and _is_valid(digits[-10:], "US"):
            return _extension(run, at, stop)
        if (
            region != "CN"
            and (digits[0] == "0" or len(groups) > 1 or len(digits) >= 10 or said)
            and _is_valid(digits, region)
        ):
            return _extension(run, at, stop)
        hyphened = len(groups) > 1 and all(set(g) <= set("- ()") and "-" in g for g in run.gaps[at + 1 : stop] if g)
        if digits[0] == "0" and 9 <= len(digits) <= 11 and hyphened and any(_is_valid(digits, r) for r in _NEIGHBOURS):
            return stop, _with_sign(run, at, stop)
    return None


def _said_to_be_a_telephone(run: _Run, at: int) -> tuple[int, Span] | None:
    if _UNIT_AFTER.match(run.folded.after(run.stop, 5)) or _part(run, at, len(run.digits)):
        return None
    for stop in range(min(len(run.digits), at + 15), at + 6, -1):
        if run.ends(stop):
            return _extension(run, at, stop)
    return None


def _extension(run: _Run, at: int, stop: int) -> tuple[int, Span]:
    """The number with its extension: -801, 转6, ext. 22."""
    span = _with_sign(run, at, stop)
    after = re.match(r"(?i)\s?(?:[-#]|转|分机|ext\.?|x)\s?[:：]?\s?\d{1,5}(?!\d)", run.folded.after(span.stop, 14))
    if not after:
        return stop, span
    end = span.stop + after.end()
    return sum(place < end for place in run.places), Span(span.start, end, PHONE)


def _with_sign(run: _Run, at: int, stop: int) -> Span:
    """The number including a plus and a bracket before it, and a bracket after its country code."""
    start = run.places[at]
    sign = re.search(r"[(+]{1,2}$", run.folded.before(start, 2))
    return Span(start - (len(sign.group()) if sign else 0), run.places[stop - 1] + 1, PHONE)


def _plus(run: _Run, at: int) -> bool:
    return run.folded.before(run.places[at], 2).endswith("+")


def _part(run: _Run, at: int, stop: int) -> bool:
    before, after = run.folded.before(run.places[at], 14), run.folded.after(run.places[stop - 1] + 1, 14)
    return bool(_PART_BEFORE.search(before) or _PART_AFTER.match(after))


def _is_valid(number: str, region: str | None, loosely: bool = False) -> bool:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(parsed) or (loosely and phonenumbers.is_possible_number(parsed))
