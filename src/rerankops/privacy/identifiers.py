"""Numbers that identify a person, a company or a car, found by their structure or by the words before them."""

from __future__ import annotations

import re

from rerankops.privacy import checks
from rerankops.privacy.folding import Folded
from rerankops.privacy.kinds import CARD, COMPANY, DEVICE, IBAN, IDENTITY, LICENCE, ORDER, PASSPORT, PLATE, VIN
from rerankops.privacy.rules import Decision, Rule

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_WORDS = "新黑贵云青"
"""Provinces whose character is an everyday word: 新EQE350 is a new car."""
_AND = r"(?:号码?|编号|编码|字号|码|no\.?|number|num|nr\.?|id|[ :#=是为\"'(.-]| is ){0,6}"
"""What can come between a label and its value."""
_VALUE = (
    r"([A-Za-z]{0,8}[ -]?[0-9][0-9A-Za-z]*(?:[ ._/·-]{1,2}[A-Za-z]{0,4}[0-9][0-9A-Za-z]*|-[A-Za-z0-9]+)*[A-Za-z0-9]*)"
)
"""Groups that hold digits; words of the sentence do not."""
_DATE_OR_MEASURE = re.compile(r"(?i)\s*(?:年|月|款|公里|千米|km|元|块|万|个|次|天|升|位|条|张|份|楼|本|只|件|mm|kw|版)")


def _at_least(digits: int) -> Decision:
    """Accepts a suspect with enough digits, unless a unit or a year follows."""

    def decide(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
        text = folded.plain[start:stop]
        given = sum(c.isdigit() for c in text)
        if given < digits and (given < 2 or len(text) < 10):
            return None
        if _DATE_OR_MEASURE.match(folded.after(stop, 6)):
            return None
        return start, stop

    return decide


def _squeezed(folded: Folded, start: int, stop: int) -> str:
    return re.sub(r"[^0-9A-Z]", "", folded.plain[start:stop].upper())


def _is_vin(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """O, Q and I are not VIN characters: they are read as 0 and 1."""
    text = _squeezed(folded, start, stop).translate(str.maketrans("OQI", "001"))
    after = folded.after(stop, 1)
    fits = len(text) == 17 and not (after.isascii() and after.isalnum())
    return (start, stop) if fits and checks.is_vehicle(text) else None


def _is_spaced_vin(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """Groups with spaces between them: seventeen characters in consecutive groups, with a correct check digit."""
    groups = [(m.start(), m.end()) for m in re.finditer(r"[A-Z0-9]+", folded.plain[start:stop])]
    for first, (begin, _) in enumerate(groups):
        size = 0
        for a, b in groups[first:]:
            size += b - a
            if size == 17:
                text = _squeezed(folded, start + begin, start + b)
                if checks.is_vehicle(text) and checks.has_vehicle_check(text):
                    return start + begin, start + b
            if size >= 17:
                break
    return None


_PLATE_BODIES = (
    re.compile(r"[A-HJK][A-HJ-NP-Z0-9]\d{4}|\d{5}[A-HJK]"),
    re.compile(r"(?!(?:\d*[A-Z]){3})[A-HJ-NP-Z0-9]{5}|[A-HJ-NP-Z0-9]{4}[学警挂港澳领试超]"),
)
_MOBILE_FOLLOWS = re.compile(r"1[3-9]\d{9}(?!\d)")
_PLATE_SAID = re.compile(r"(?i)(?:车牌|牌照|号牌|牌号|plate)\W{0,2}(?:号码?|是|为)?\W{0,3}$")


def _is_plate(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """GA 36: a province, a letter, then five or six characters (new energy). The suspect is the province and at most
    ten characters after the letter."""
    text = folded.plain[start:stop]
    after_letter = re.match(r"\S ?[A-Za-z]", text)
    if not after_letter:
        return None
    said = _PLATE_SAID.search(folded.before(start, 8)) is not None
    spaced = said or text[0] not in _WORDS
    places = [n for n in range(after_letter.end(), len(text)) if text[n].isalnum()]
    if not spaced and places:
        places = [n for n in places if " " not in text[places[0] : n]]
    for length, bodies in ((6, _PLATE_BODIES[:1]), (5, _PLATE_BODIES[1:])):
        if len(places) < length:
            continue
        end = places[length - 1] + 1
        body = "".join(text[n] for n in places[:length]).upper().replace("O", "0").replace("I", "1")
        if length == 5 and len(places) > 5 and text[places[5]] in "学警挂港澳领试超" and places[5] - places[4] <= 2:
            end = places[5] + 1
        following = folded.plain[start + end : start + end + 12].partition("\n")[0]
        glued = following[:1].isascii() and following[:1].isalnum() and not _MOBILE_FOLLOWS.match(following)
        doubtful = text[0] in _WORDS and not said and length == 5 and sum(c.isdigit() for c in body) < 4
        if not glued and not doubtful and any(body_of.fullmatch(body) for body_of in bodies):
            return start, start + end
    return None


def _is_iban(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    """The check of ISO 7064 must be correct; words after the IBAN are cut off."""
    text = folded.plain[start:stop]
    ends = [m.end() for m in re.finditer(r"[A-Za-z0-9]+", text)]
    for end in reversed(ends):
        squeezed = re.sub(r"[^0-9A-Za-z]", "", text[:end]).upper()
        if 15 <= len(squeezed) <= 34 and sum(c.isdigit() for c in squeezed) >= 8 and checks.is_iban(squeezed):
            return start, start + end
    return None


def _is_company(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    text = _squeezed(folded, start, stop)
    return (
        (start, stop)
        if len(text) == 18 and not checks.is_resident_identity_text(text) and checks.is_company(text)
        else None
    )


def _is_taiwan(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    return (start, stop) if checks.is_taiwan_identity(folded.plain[start:stop].upper()) else None


def _is_hong_kong(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    return (start, stop) if checks.is_hong_kong_identity(_squeezed(folded, start, stop)) else None


RULES: tuple[Rule, ...] = (
    Rule(VIN, r"(?i)(?:^|[^A-Z0-9]|VIN)([A-Z0-9]{17})", _is_vin),
    Rule(VIN, r"(?i)\b([A-Z0-9]{3,14}(?:[._·/-][A-Z0-9]{1,14}){1,5})", _is_vin),
    Rule(VIN, r"\b([A-Z0-9]{2,10}(?: [A-Z0-9]{2,10}){1,8})\b", _is_spaced_vin),
    Rule(
        VIN, rf"(?i)(?:\bVIN码?|车架|车辆识别代?|底盘|大架){_AND}([A-Z0-9](?:[ ._·*-]{{0,2}}[A-Z0-9]){{16}})", _is_vin
    ),
    Rule(
        VIN,
        rf"(?i)(?:\bVIN码?|车架号|车辆识别代?号?|大架号)(?:后[0-9一-十]位)?{_AND}([A-Z0-9]{{6,17}})(?:$|[^A-Z0-9])",
        _at_least(3),
    ),
    Rule(
        PLATE,
        rf"(?i)([{_PROVINCES}] ?[A-Z](?:[ ·.*_()-]{{0,3}}[A-Z0-9]){{4,6}}[学警挂港澳领试超]?)",
        _is_plate,
    ),
    Rule(PLATE, rf"(?i)([{_PROVINCES}]领 ?[A-Z]?[ ·-]?[0-9]{{4,5}})"),
    Rule(PLATE, rf"(?i)\b(WJ ?(?:[{_PROVINCES}]|[0-9]{{2}})?[ ·.-]?[0-9]{{4,5}}[0-9A-Z]?)(?:$|[^0-9A-Z])"),
    Rule(PLATE, r"(?i)([使领] ?[0-9]{3}[ ·-]?[0-9]{3})(?:$|[^0-9])", _at_least(6)),
    Rule(PLATE, r"(?i)军(?:车)?牌(?:照|号)?[ :是为]{0,3}([\p{Han}A-Z]? ?[A-Z][ ·-]?[0-9]{4,5})"),
    Rule(
        PLATE,
        rf"(?i)(?:车牌|牌照|号牌|港牌|澳牌|\bplates?|\breg(?:istration)?\b){_AND}([A-Z0-9]{{1,7}}(?:[ ·-][A-Z0-9]{{2,5}})?)(?:$|[^A-Z0-9])",
        lambda folded, start, stop: _foreign_plate(folded, start, stop),
    ),
    Rule(COMPANY, r"(?i)\b([0-9A-Z]{2}[ -]?[0-9]{6}[ -]?[0-9A-Z]{8}[0-9A-Z]{2})\b", _is_company),
    Rule(
        COMPANY,
        rf"(?i)(?:税号|信用代码|纳税人识别|组织机构代码|tax id){_AND}([0-9A-Z](?:[ -]?[0-9A-Z]){{8,19}})",
        _at_least(6),
    ),
    Rule(IBAN, r"(?i)\b([A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{2,4}){3,8})\b", _is_iban),
    Rule(IBAN, r"(?i)\b([A-Z]{2}[0-9]{2}[A-Z0-9]{11,30})\b", _is_iban),
    Rule(IDENTITY, r"(?i)\b([A-Z]{1,2} ?[0-9]{6} ?\([0-9A]\))", _is_hong_kong),
    Rule(IDENTITY, r"(?i)\b([A-Z][1289][0-9]{8})\b", _is_taiwan),
    Rule(IDENTITY, r"\b([1578][0-9]{6} ?\([0-9]\))"),
    Rule(IDENTITY, r"\b([0-8][0-9]{2}-[0-9]{2}-[0-9]{4})\b"),
    Rule(
        PASSPORT,
        r"(?i)(?:护照|護照|passport|通行证|通行證|回乡证|回鄉證|台胞证|台胞證|签证|军官证|士兵证|军人证|警官证|居留证|居住证)"
        rf"{_AND}(?:[军空海武警字第]{{0,4}})([A-Z]{{0,2}} ?[0-9][0-9 ]{{4,12}}[0-9])",
    ),
    Rule(
        LICENCE,
        rf"(?i)(?:驾驶证|驾照|驾驶执照|駕照|档案|行驶证)(?:档案)?{_AND}([0-9](?:[ -]?[0-9]){{7,17}}[Xx]?)",
    ),
    Rule(LICENCE, rf"(?i)(?:\bdriv(?:er|ing)(?:'?s)? licen[cs]e|\bdl ?(?:no\.?|number|#)){_AND}{_VALUE}", _at_least(4)),
    Rule(
        IDENTITY,
        r"(?i)(?:身份证|身分证|身份證|身分證|证件|證件|居民证|户口|\bsfz|identity card|\bid card|national id|\bssn|social security|"
        rf"\bhkid|社保|社会保障|aadhaar){_AND}"
        r"([0-9](?:[ ./-]{0,2}[0-9]){16}[ ./-]{0,2}[0-9X]|[A-Z]{0,2}[ -]?[0-9](?:[ ./-]{0,2}[0-9]){4,17}(?: ?\([0-9A]\)|[ -]?[XA])?)",
    ),
    Rule(
        CARD,
        r"(?i)(?:(?:[工农中建交招商民生光大兴业浦发邮储信华夏平安]行?|信用|银行|储蓄|借记|贷记|工资)卡|卡号|银行账[号户]|对公账[号户]|"
        rf"\b(?:credit|debit|bank|visa|amex)? ?card|\baccount|\biban){_AND}([0-9](?:[ ._-]{{0,2}}[0-9]){{11,22}})",
    ),
    Rule(CARD, r"(?i)\b(?:cvv2?|cvc2?)[ :是]{0,3}([0-9]{3,4})\b"),
    Rule(ORDER, r"(?i)(?:支付宝|财付通|paypal|alipay)(?:账号|帐号|[ :是])*([0-9]{7,})"),
    Rule(
        ORDER,
        r"(?i)(?:订单|訂單|运单|快递|物流|包裹|工单|流水|交易|合同|发票|预约|案件|报案|立案|理赔|赔案|客户|会员|用户|积分|工作证|保险?单|保单|"
        r"行驶证|登记证|证书|发动机|引擎|电机|电池包?|合格证|车辆|取件|挂号|学号|工)(?:单)?(?:卡)?(?:号码|编号|编码|单号|卡号|代码|号|码|ID)"
        rf"{_AND}{_VALUE}",
        _at_least(4),
    ),
    Rule(
        ORDER,
        rf"(?i)(?:订单|訂單|运单|快递|物流|包裹|工单|合同|发票|保险?单|保单|案件|单号|参考号){_AND}{_VALUE}",
        _at_least(7),
    ),
    Rule(
        ORDER,
        r"(?i)\b(?:order|tracking|invoice|reference|ref|case|ticket|booking|reservation|customer|member(?:ship)?|claim|contract|"
        r"policy|engine|insurance policy|shipment|loyalty|employee|repair order)"
        rf"(?: ?(?:no\.?|number|num|nr\.?|id|code|#|:)| is| =| policy)+[ :#]{{0,3}}{_VALUE}",
        _at_least(4),
    ),
    Rule(ORDER, rf"(?i)\binsurance policy {_VALUE}", _at_least(4)),
    Rule(ORDER, r"\b(1Z[0-9A-Z]{16}|(?:SF|YT|JD|EMS|JDV|JT|ZTO|STO)[0-9]{12,15})\b"),
    Rule(
        DEVICE,
        rf"(?i)(?:\bimei|\bimsi|\biccid|\bmeid|串号|设备号|设备识别码|设备ID|(?:设备|手机|iphone|ipad|产品|机身|屏幕|车机)? ?序列号?|\bs/n|\bserial(?: no\.?| number)?)"
        rf"{_AND}{_VALUE}",
        _at_least(4),
    ),
    Rule(
        DEVICE,
        rf"(?i)(?:序列号|\bs/n|\bserial(?: no\.?| number)?){_AND}([A-Z0-9]{{2,}}(?:-[A-Z0-9]+)+)",
        _at_least(4),
    ),
    Rule(DEVICE, r"(?i)\bsn ?[:#] ?([A-Z0-9-]{6,})", _at_least(5)),
)


def _foreign_plate(folded: Folded, start: int, stop: int) -> tuple[int, int] | None:
    text = _squeezed(folded, start, stop)
    letters = sum(c.isalpha() for c in text)
    return (start, stop) if 5 <= len(text) <= 8 and letters >= 1 and len(text) - letters >= 2 else None
