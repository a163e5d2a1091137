"""Check digits and structures of identifiers: from python-stdnum where it has them, otherwise ours.

A structure that nothing else has (a birth date within eighteen digits) is enough; a check digit is required where other
numbers look the same.
"""

from __future__ import annotations

import ipaddress
from datetime import date

from stdnum import iban, luhn
from stdnum.cn import uscc
from stdnum.exceptions import ValidationError

_VIN_VALUES = {
    c: value
    for value, letters in enumerate(("", "AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ"))
    for c in letters
} | {c: int(c) for c in "0123456789"}
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_TAIWAN_LETTERS = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
_PROVINCES = frozenset(
    (
        11,
        12,
        13,
        14,
        15,
        21,
        22,
        23,
        31,
        32,
        33,
        34,
        35,
        36,
        37,
        41,
        42,
        43,
        44,
        45,
        46,
        50,
        51,
        52,
        53,
        54,
        61,
        62,
        63,
        64,
        65,
        71,
        81,
        82,
        83,
        91,
    )
)


def is_date(digits: str) -> bool:
    """yyyymmdd: a birth date of a person who may be alive."""
    try:
        return 1900 <= date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year <= 2100
    except ValueError:
        return False


def is_resident_identity(digits: str) -> bool:
    """18 digits, or the old 15, of the mainland (GB 11643): province and date of birth. The last may be X."""
    if len(digits) not in (15, 18) or int(digits[:2]) not in _PROVINCES:
        return False
    return is_date(digits[6:14] if len(digits) == 18 else "19" + digits[6:12])


def is_hong_kong_identity(text: str) -> bool:
    """One or two letters, six digits and the check character, without brackets."""
    letters, digits, check = text[:-7], text[-7:-1], text[-1]
    values = [36] * (2 - len(letters)) + [ord(c) - 55 for c in letters] + [int(c) for c in digits]
    rest = -sum(weight * value for weight, value in zip(range(9, 1, -1), values, strict=True)) % 11
    return check == "0123456789A"[rest]


def is_taiwan_identity(text: str) -> bool:
    """A letter and nine digits, the first of which is 1, 2, 8 or 9."""
    letter = _TAIWAN_LETTERS.index(text[0]) + 10
    digits = [letter // 10, letter % 10, *map(int, text[1:])]
    weights = (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)
    return text[1] in "1289" and sum(w * d for w, d in zip(weights, digits, strict=True)) % 10 == 0


def is_card(digits: str) -> bool:
    """13 to 19 digits: a correct Luhn digit and the first digits of a known network, or UnionPay's 62 and 16 or
    more."""
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    if digits.startswith("62") and len(digits) >= 16:
        return True
    networks = (
        "34",
        "37",
        "4",
        "50",
        "51",
        "52",
        "53",
        "54",
        "55",
        "22",
        "23",
        "24",
        "25",
        "26",
        "27",
        "35",
        "36",
        "38",
    )
    return digits.startswith((*networks, "60", "64", "65", "9")) and luhn.is_valid(digits)


def is_device(digits: str) -> bool:
    """The fifteen digits of an IMEI: the first two of a reporting body, and a correct Luhn digit."""
    return len(digits) == 15 and digits[:2] in ("01", "35", "86", "99") and luhn.is_valid(digits)


def is_sim(digits: str) -> bool:
    """The nineteen or twenty digits of a SIM card, which begin with 89 (ITU-T E.118)."""
    return len(digits) in (19, 20) and digits.startswith("89") and (digits[2:4] == "86" or luhn.is_valid(digits))


def is_iban(text: str) -> bool:
    try:
        iban.validate(text, check_country=False)
    except ValidationError:
        return False
    return True


def is_company(text: str) -> bool:
    """Eighteen characters of a unified social credit code (GB 32100): correct check, or a known province and office."""
    return uscc.is_valid(text) or (text[:2] in _OFFICES and text[2:8].isdigit() and int(text[2:4]) in _PROVINCES)


_OFFICES = ("11", "12", "13", "19", "51", "52", "53", "59", "91", "92", "93", "N1", "N2", "N3", "Y1")


def is_vehicle(text: str) -> bool:
    """Seventeen characters with letters and digits as in ISO 3779: about three letters, then a serial number."""
    if sum(c.isdigit() for c in text[-6:]) < 4 or not any(c.isalpha() for c in text):
        return False
    return has_vehicle_check(text) or (any(c.isalpha() for c in text[:3]) and sum(c.isdigit() for c in text) >= 5)


def has_vehicle_check(text: str) -> bool:
    value = sum(w * _VIN_VALUES.get(c, 0) for w, c in zip(_VIN_WEIGHTS, text, strict=True))
    return text[8] == "0123456789X"[value % 11]


def is_internet_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_barcode(digits: str) -> bool:
    """EAN-13 of a product: harmless."""
    weights = (1, 3) * 6
    return (
        len(digits) == 13
        and (-sum(w * int(d) for w, d in zip(weights, digits, strict=False)) - int(digits[-1])) % 10 == 0
    )


def is_resident_identity_text(text: str) -> bool:
    """The eighteen characters of a mainland identity card as people write them: seventeen digits and a digit or X."""
    return text[:17].isdigit() and (text[17].isdigit() or text[17] == "X") and is_resident_identity(text[:17] + "0")
