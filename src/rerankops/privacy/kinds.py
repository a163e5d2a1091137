"""What is removed, and what stands in its place."""

from __future__ import annotations

VERSION = "2"
"""Of the rules. It is part of the address of whatever is made from redacted texts, so raise it with every change of what
they find: what earlier rules left is then made again."""

EMAIL, PHONE, NAME, ADDRESS, BIRTH = "EMAIL", "PHONE", "NAME", "ADDRESS", "BIRTHDATE"
IDENTITY, PASSPORT, LICENCE, CARD, IBAN = "ID", "PASSPORT", "LICENCE", "CARD", "IBAN"
COMPANY, PLATE, VIN, ACCOUNT, ORDER = "COMPANY", "PLATE", "VIN", "ACCOUNT", "ORDER"
IP, MAC, DEVICE, SECRET = "IP", "MAC", "DEVICE", "SECRET"
NUMBER = "NUMBER"
"""A number that is nobody's for sure: the text is set aside."""
WITHHELD = "WITHHELD"
"""In place of a whole text: what it holds could not be told."""

IDENTIFYING = (
    EMAIL, PHONE, IDENTITY, PASSPORT, LICENCE, CARD, IBAN, COMPANY, PLATE, VIN, BIRTH, IP, MAC, DEVICE, SECRET,
)  # fmt: skip
"""What identifies a person, a car or a device by itself."""
GUESSED = (ACCOUNT, NAME, ADDRESS, ORDER, NUMBER)
"""What only the wording gives away."""
KINDS = (*IDENTIFYING, *GUESSED)

PLACEHOLDER = rf"\[(?:{'|'.join((*KINDS, WITHHELD))})\]"
"""What redaction writes, for regular expressions: near-duplicates see none of it."""


def placeholder(kind: str) -> str:
    return f"[{kind}]"
