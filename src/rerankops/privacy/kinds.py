"""What redaction removes, and what it puts in its place."""

from __future__ import annotations

VERSION = "2"
"""Version of the rules. It is part of the address of all that is made from redacted texts. Raise it with every change
to what the rules find, so that results of earlier rules are made again."""

EMAIL, PHONE, NAME, ADDRESS, BIRTH = "EMAIL", "PHONE", "NAME", "ADDRESS", "BIRTHDATE"
IDENTITY, PASSPORT, LICENCE, CARD, IBAN = "ID", "PASSPORT", "LICENCE", "CARD", "IBAN"
COMPANY, PLATE, VIN, ACCOUNT, ORDER = "COMPANY", "PLATE", "VIN", "ACCOUNT", "ORDER"
IP, MAC, DEVICE, SECRET = "IP", "MAC", "DEVICE", "SECRET"
NUMBER = "NUMBER"
"""A number whose owner is uncertain: the text is set aside."""
WITHHELD = "WITHHELD"
"""Stands for a whole text when its content could not be decided."""

IDENTIFYING = (
    EMAIL, PHONE, IDENTITY, PASSPORT, LICENCE, CARD, IBAN, COMPANY, PLATE, VIN, BIRTH, IP, MAC, DEVICE, SECRET,
)  # fmt: skip
"""Kinds that identify a person, a car or a device by themselves."""
GUESSED = (ACCOUNT, NAME, ADDRESS, ORDER, NUMBER)
"""Kinds that only the wording reveals."""
KINDS = (*IDENTIFYING, *GUESSED)

PLACEHOLDER = rf"\[(?:{'|'.join((*KINDS, WITHHELD))})\]"
"""What redaction writes, as a regular expression: near-duplicates see none of it."""


def placeholder(kind: str) -> str:
    return f"[{kind}]"
