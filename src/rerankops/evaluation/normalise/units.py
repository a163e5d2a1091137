"""Units: how they are spelled, and how they convert.

The table contains only spellings; factors, offsets and dimensions come from pint. A spelling may have several meanings
(度 is a degree or a kilowatt-hour, 寸 an inch or a Chinese inch); all of them are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Meaning:
    """value in base unit = number * factor + offset. kind: what it measures. customary: the unit is not metric, so
    values that are converted to or from metric units are rounded."""

    kind: str
    factor: float
    offset: float = 0.0
    customary: bool = False


_METRIC: tuple[tuple[str, str], ...] = (
    # pint's name, spellings
    ("liter", "升|公升|l|liter|liters|litre|litres|dm3|立方分米"),
    ("milliliter", "毫升|ml|milliliter|milliliters|millilitre|millilitres|cc|cm3|立方厘米"),
    ("centiliter", "厘升|cl|centiliter|centiliters|centilitre|centilitres"),
    ("meter**3", "立方米|m3|立方|cubic meters|cubic metres|cubic meter|cubic metre"),
    ("kilometer", "千米|公里|km|kms|kilometer|kilometers|kilometre|kilometres"),
    ("meter", "米|公尺|m|meter|meters|metre|metres"),
    ("decimeter", "分米|dm"),
    ("centimeter", "厘米|公分|cm|centimeter|centimeters|centimetre|centimetres"),
    ("millimeter", "毫米|mm|millimeter|millimeters|millimetre|millimetres"),
    ("micrometer", "微米|μm|um|micrometer|micrometers|micrometre|micrometres"),
    ("meter**2", "平方米|平米|m2|square meter|square meters|square metre|square metres|sqm"),
    ("kilometer**2", "平方公里|平方千米|km2|square kilometers|square kilometres|square kilometer|square kilometre"),
    ("centimeter**2", "平方厘米|cm2"),
    ("hectare", "公顷|ha|hectare|hectares"),
    ("kilopascal", "千帕|kpa"),
    ("megapascal", "兆帕|mpa"),
    ("hectopascal", "百帕|hpa"),
    ("pascal", "帕|帕斯卡|pa"),
    ("bar", "巴|bar|bars"),
    ("millibar", "毫巴|mbar"),
    ("atmosphere", "大气压|个大气压|atm"),
    ("megawatt", "兆瓦|mw"),
    ("kilowatt", "千瓦|kw|kilowatt|kilowatts"),
    ("watt", "瓦|瓦特|w|watt|watts"),
    ("kilowatt_hour", "千瓦时|千瓦·时|千瓦小时|度电|kwh|kw·h|kilowatt hours|kilowatt-hours"),
    ("watt_hour", "瓦时|wh|watt hours"),
    ("joule", "焦|焦耳|j|joule|joules"),
    ("kilojoule", "千焦|kj"),
    ("kilocalorie", "千卡|大卡|kcal"),
    ("millisecond", "毫秒|ms|millisecond|milliseconds"),
    ("second", "秒|秒钟|s|sec|secs|second|seconds"),
    ("minute", "分钟|分|min|mins|minute|minutes"),
    ("hour", "小时|个小时|钟头|个钟头|h|hr|hrs|hour|hours"),
    ("day", "天|day|days"),
    ("week", "周|个星期|星期|个礼拜|礼拜|week|weeks"),
    ("milligram", "毫克|mg|milligram|milligrams"),
    ("microgram", "微克|μg|mcg|microgram|micrograms"),
    ("gram", "克|g|gram|grams"),
    ("kilogram", "千克|公斤|kg|kgs|kilogram|kilograms|kilo|kilos"),
    ("0.5 kilogram", "斤|市斤"),
    ("tonne", "吨|公吨|t|tonne|tonnes|metric tons|metric ton"),
    ("volt", "伏|伏特|v|volt|volts"),
    ("kilovolt", "千伏|kv"),
    ("millivolt", "毫伏|mv"),
    ("ampere", "安|安培|a|amp|amps|ampere|amperes"),
    ("milliampere", "毫安|ma"),
    ("ampere_hour", "安时|ah|a·h"),
    ("milliampere_hour", "毫安时|mah"),
    ("ohm", "欧|欧姆|ω|ohm|ohms"),
    ("hertz", "赫兹|赫|hz|hertz"),
    ("kilohertz", "千赫|千赫兹|khz"),
    ("megahertz", "兆赫|兆赫兹|mhz"),
    ("gigahertz", "吉赫|吉赫兹|ghz"),
    (
        "kilometer/hour",
        "公里/小时|千米/小时|公里/时|千米/时|公里每小时|千米每小时|km/h|kmh|kph|kilometers per hour|kilometres per hour",
    ),
    ("meter/second", "米/秒|米每秒|m/s|meters per second|metres per second"),
    ("byte", "字节|byte|bytes"),
    ("kilobyte", "kb|kilobyte|kilobytes"),
    ("megabyte", "mb|megabyte|megabytes|兆字节"),
    ("gigabyte", "gb|gigabyte|gigabytes"),
    ("terabyte", "tb|terabyte|terabytes"),
    ("lumen", "流明|lm|lumen|lumens"),
    ("lux", "勒克斯|lux"),
)
_CUSTOMARY: tuple[tuple[str, str], ...] = (
    ("inch", "英寸|吋|inch|inches"),
    ("foot", "英尺|ft|foot|feet"),
    ("yard", "码|yd|yard|yards"),
    ("mile", "英里|mile|miles|mi"),
    ("pound", "磅|lb|lbs|pound|pounds"),
    ("ounce", "盎司|oz|ounce|ounces"),
    ("gallon", "加仑|gal|gallon|gallons"),
    ("psi", "psi"),
    ("metric_horsepower", "马力|匹|hp|ps|bhp|horsepower"),
    ("mile/hour", "英里/小时|英里每小时|mph|miles per hour"),
    ("acre", "英亩|acre|acres"),
    ("2/3 * 1000 * meter**2", "亩"),
)
_TEMPERATURE: tuple[tuple[str, str], ...] = (
    ("degree_Celsius", "摄氏度|°c|degrees celsius|degree celsius|celsius|degrees c|degrees centigrade"),
    ("degree_Fahrenheit", "华氏度|°f|degrees fahrenheit|degree fahrenheit|fahrenheit|degrees f"),
)
_OWN: tuple[tuple[str, float, str], ...] = (
    # units that pint lacks or treats as another kind: kind, factor, spellings
    (
        "torque",
        1,
        "牛·米|牛米|牛顿米|牛顿·米|n·m|nm|n.m|n-m|newton meters|newton metres",
    ),  # not energy, as the joule is
    ("months", 1, "个月|month|months"),  # a month has no length in days
    ("months", 3, "个季度|季度"),
    ("months", 12, "年|周年|year|years|yr|yrs"),
    ("months", 1200, "个世纪"),
    ("rotation", 1, "转/分|转/分钟|转每分钟|转每分|r/min|rpm|revolutions per minute"),  # to a driver not a frequency
    ("consumption", 1, "升/百公里|升/100公里|升每百公里|l/100km|l/100 km"),  # not an area
    ("consumption (mpg)", 1, "mpg|miles per gallon"),
    ("loudness", 1, "分贝|db|db(a)|decibel|decibels"),
    ("share", 1e-2, "%|percent|per cent"),
    ("share", 1e-3, "‰"),
    ("points", 1, "个百分点|百分点|percentage points|percentage point"),
    ("speed of data", 1, "mbps|mb/s"),
    ("yuan", 1, "元|块|块钱|元人民币|人民币|rmb|yuan|cny"),
    ("yuan", 0.1, "角|毛钱"),
    ("US dollar", 1, "美元|美金|dollar|dollars|usd|us dollars"),
    ("euro", 1, "欧元|euro|euros|eur"),
    ("pound sterling", 1, "英镑|gbp|pounds sterling"),
    ("yen", 1, "日元|yen|jpy"),
)
CURRENCY_SIGNS = {"¥": "元", "$": "dollars", "€": "euros", "£": "gbp"}
_SEVERAL: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("度", ("°c", "kwh", "angle")),
    ("°", ("°c", "angle")),
    ("degree", ("°c", "angle")),
    ("degrees", ("°c", "angle")),
    ("pounds", ("pound", "gbp")),
    ("寸", ("inch", "市寸")),
    ("公里时速", ("km/h", "km")),  # as tokens writes 时速120公里, which an accepted 120公里 may mean
)
_LETTER_CASES = {"L": "l", "V": "v", "W": "w", "A": "a", "J": "j", "Ω": "ω"}
"""Units of one letter that may be capitals. As small letters, m, s, g, h, t, l, v and w may be units; a and j may
not."""
_SMALL_LETTERS = frozenset("mlsghtvw")
_NOT_A_UNIT_BEFORE = {
    # before these characters a Chinese unit of one character is the beginning of another word
    "安": "全装卓静徽排", "升": "级降温学职", "元": "素件旦月帅宝", "克": "拉服隆", "分": "之店区公支析别享为成布类数母子辨",
    "度": "假过数量", "天": "窗然线气空津猫", "年": "级轮龄份代", "米": "饭粉色其兰", "巴": "士黎西", "匹": "配", "伏": "尔特加",
    "转": "向弯动速换让", "秒": "杀", "块": "状", "吨": "位", "瓦": "片", "码": "头", "欧": "洲盟元", "焦": "点距", "磅": "礴",
    "寸": "步", "周": "围边末岁年期", "毫": "无不", "帕": "克萨", "角": "度落色", "里": "程面",
}  # fmt: skip


def _spellings() -> list[str]:
    tables = (_METRIC, _CUSTOMARY, _TEMPERATURE)
    found = [spelling for table in tables for _, several in table for spelling in several.split("|")]
    found += [spelling for _, _, several in _OWN for spelling in several.split("|")]
    return [*found, *(spelling for spelling, _ in _SEVERAL)]


def _alternative(spelling: str) -> str:
    escaped = re.escape(spelling).replace(r"\ ", "[ -]?")
    if spelling in _NOT_A_UNIT_BEFORE:
        return f"{escaped}(?![{_NOT_A_UNIT_BEFORE[spelling]}])"
    return escaped + (r"(?![A-Za-z0-9])" if spelling[-1].isascii() and spelling[-1].isalnum() else "")


_LONGEST_FIRST = sorted(set(_spellings()), key=lambda spelling: (-len(spelling), spelling))
UNITS = "|".join(map(_alternative, _LONGEST_FIRST))
"""A regular expression for every spelling; compile it with IGNORECASE and let `known` judge the case of letters."""
CHINESE_UNITS = "|".join(_alternative(spelling) for spelling in _LONGEST_FIRST if not spelling.isascii())


def known(written: str) -> str | None:
    """The table's spelling of a unit that was written after a number. None where its letter case shows that it is not a
    unit: 2.0T is an engine, 4S a shop, 4G a network."""
    if len(written) == 1 and written.isascii() and written.isalpha():
        return _LETTER_CASES.get(written) or (written if written in _SMALL_LETTERS else None)
    return re.sub("[ -]", " ", written.lower()) if written.isascii() and " " in written else written.lower()


@cache
def meanings(unit: str) -> tuple[Meaning, ...]:
    """What a spelling in the table may mean."""
    return _table()[unit]


@cache
def _table() -> dict[str, tuple[Meaning, ...]]:
    import pint

    registry = pint.UnitRegistry()
    table: dict[str, tuple[Meaning, ...]] = {}
    for entries, customary in ((_METRIC, False), (_CUSTOMARY, True)):
        for name, spellings in entries:
            quantity = registry.Quantity(name).to_base_units()
            meaning = Meaning(str(quantity.dimensionality), float(quantity.magnitude), customary=customary)
            table |= dict.fromkeys(spellings.split("|"), (meaning,))
    for name, spellings in _TEMPERATURE:
        zero, one = (registry.Quantity(number, name).to("degree_Celsius").magnitude for number in (0.0, 1.0))
        meaning = Meaning("temperature", float(one - zero), float(zero), customary="Fahrenheit" in name)
        table |= dict.fromkeys(spellings.split("|"), (meaning,))
    for kind, factor, spellings in _OWN:
        table |= dict.fromkeys(spellings.split("|"), (Meaning(kind, factor),))
    table["angle"] = (Meaning("angle", 1.0),)
    table["市寸"] = (Meaning(table["米"][0].kind, 1 / 30),)
    for spelling, several in _SEVERAL:
        table[spelling] = tuple(table[one][0] for one in several)
    for spelling in _LONGEST_FIRST:  # UNITS also matches "kilowatt-hours" with a space
        table.setdefault(spelling.replace("-", " "), table[spelling])
    return table
