"""Check digits: the published examples pass, and one digit changed does not."""

from __future__ import annotations

import pytest

from rerankops.privacy import checks


@pytest.mark.parametrize("text", ["A123456789", "F131104093"])
def test_taiwan_identity(text: str) -> None:
    assert checks.is_taiwan_identity(text)
    assert not checks.is_taiwan_identity(text[:-1] + str((int(text[-1]) + 1) % 10))


@pytest.mark.parametrize("text", ["A1234563", "G123456A", "AB9876543"])
def test_hong_kong_identity(text: str) -> None:
    assert checks.is_hong_kong_identity(text)
    assert not checks.is_hong_kong_identity(text[:-2] + str((int(text[-2]) + 1) % 10) + text[-1])


def test_cards_have_a_network_and_a_check_digit() -> None:
    assert checks.is_card("4111111111111111")
    assert checks.is_card("378282246310005")
    assert not checks.is_card("4111111111111112")
    assert not checks.is_card("0000000000000000")


def test_vehicles_may_lack_the_check_digit_that_only_some_countries_ask_for() -> None:
    assert checks.has_vehicle_check("1M8GDM9AXKP042788")
    assert not checks.has_vehicle_check("1M8GDM9AXKP042789")
    assert checks.is_vehicle("LSVAU2180N2183294")
    assert not checks.is_vehicle("INTERNATIONALISED")


def test_identity_cards_have_a_province_and_a_birth_date() -> None:
    assert checks.is_resident_identity("110105199003071234")
    assert not checks.is_resident_identity("110105199013071234")
    assert not checks.is_resident_identity("990105199003071234")
    assert checks.is_resident_identity("110105900307123")


def test_a_barcode_is_no_person() -> None:
    assert checks.is_barcode("4006381333931")
    assert not checks.is_barcode("4006381333932")


def test_devices_and_sim_cards() -> None:
    assert checks.is_device("490154203237518") is False  # no reporting body of today
    assert checks.is_device("356938035643809")
    assert checks.is_sim("89860318740293847561")
