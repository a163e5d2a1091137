"""What cells say, as people and programs write it; where it could be two things, it is asked."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from rerankops import reading
from rerankops.reading import Unfit

MOMENT = datetime(2026, 11, 30, 8, 54, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-30T08:54:12Z", "2026-11-30 08:54:12", "2026-11-30 08:54:12.000+00", "2026-11-30T16:54:12+0800",
        "2026-11-30 08:54:12 UTC", "2026-11-30 08:54:12.000000 UTC", "2026-11-30 16:54:12.000 Asia/Shanghai",
        "2026/11/30 8:54:12", "2026-11-30 8:54:12", "2026.11.30 08:54:12", "2026年11月30日 8:54:12",
        "2026年11月30日 上午8:54:12", "2026年11月30日8时54分12秒", "11/30/2026 8:54:12", "11/30/2026 8:54:12 AM",
        "30/11/2026 08:54:12", "Nov 30, 2026 @ 08:54:12.000", "Nov 30, 2026 @ 08:54:12", "30/Nov/2026:08:54:12 +0000",
        "30/Nov/2026:16:54:12 +0800", "Mon, 30 Nov 2026 08:54:12 GMT", "20261130T085412Z", "20261130085412",
        "2026-11-30 08:54:12,000", "２０２６-11-30 ０８:54:12", 1796028852, "1796028852", 1796028852000,
        "1796028852000", 1796028852000000, 1796028852.0, 46356.37097222222, "46356.37097222222",
        datetime(2026, 11, 30, 8, 54, 12), MOMENT,
    ],
)  # fmt: skip
def test_a_moment_is_read_however_it_is_written(written: Any) -> None:
    assert reading.moment(written) == MOMENT


@pytest.mark.parametrize(
    ("written", "zone", "hour"),
    [
        ("2026/11/30 8:54", "Asia/Shanghai", 0),
        ("2026-11-30T08:54Z", "Asia/Shanghai", 8),
        (46356.3708333, "Asia/Tokyo", 23),
    ],
)
def test_a_zone_that_is_not_stated_is_the_setting(written: Any, zone: str, hour: int) -> None:
    assert reading.moment(written, zone=zone).hour == hour


def test_a_date_alone_is_its_first_moment_and_an_afternoon_is_one() -> None:
    assert reading.moment(date(2026, 11, 30)) == reading.moment("2026/11/30") == datetime(2026, 11, 30, tzinfo=UTC)
    assert reading.moment("2026/11/30 下午 8:54").hour == reading.moment("11/30/2026 8:54 PM").hour == 20


@pytest.mark.parametrize("written", ["05/06/2026", "5/6/2026 8:54", "05/06/26 08:00"])
def test_a_date_that_could_be_two_is_asked_about(written: str) -> None:
    with pytest.raises(Unfit, match=r"is '.*': (month or day first\? Set reading\.date_order|write the year)"):
        reading.moment(written)


def test_the_order_of_dates_can_be_stated() -> None:
    assert reading.moment("05/06/2026", order="month first").month == 5
    assert reading.moment("05/06/2026", order="day first").month == 6


@pytest.mark.parametrize(
    "written", ["yesterday", "", "soon 2026", "1.34681E+12", True, 17, 99999999999999999999, [1], "31/31/2026"]
)
def test_what_is_no_time_is_told(written: Any) -> None:
    with pytest.raises(Unfit, match=r"ISO 8601"):
        reading.moment(written)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("p01", "p01"),
        (" p01 ", "p01"),
        ("0012", "0012"),
        (12, "12"),
        (12.0, "12"),
        ("73928e05", "73928e05"),
        ("", None),
    ],
)
def test_identifiers_stay_what_they_are(written: Any, name: str | None) -> None:
    assert reading.identifier(written) == name


@pytest.mark.parametrize("written", [1.5, 1e17, "7.3928E+09", "4.892E+092", True, ["a"]])
def test_an_identifier_that_a_program_changed_is_asked_about(written: Any) -> None:
    with pytest.raises(Unfit, match=r"identifier|whole number"):
        reading.identifier(written)


@pytest.mark.parametrize("written", ["p01|p02", "p01｜p02", '["p01", "p02"]', ["p01", "p02"], " p01 | p02 |"])
def test_lists_are_json_or_have_a_bar_between(written: Any) -> None:
    assert reading.identifiers(written) == ["p01", "p02"]
    assert reading.identifiers("p01") == ["p01"]
    assert reading.identifiers("p01;p02", separator=";") == ["p01", "p02"]
    assert reading.identifiers(["a,b"]) == ["a,b"]


@pytest.mark.parametrize("written", ["p01,p02", "p01; p02", "p01、p02", "['p01', 'p02']", "[p01", "p01 p02"])
def test_another_list_is_asked_about(written: str) -> None:
    with pytest.raises(Unfit, match=r'write \["p01", "p02"\], or p01\|p02'):
        reading.identifiers(written)


@pytest.mark.parametrize(("written", "number"), [("３", 3), ("1.0", 1), (2.0, 2), ("", None), (" 0 ", 0), ("-1", -1)])
def test_whole_numbers_may_be_full_width_or_end_in_a_nought(written: Any, number: int | None) -> None:
    assert reading.whole(written) == number


@pytest.mark.parametrize("written", ["²", "①", "½", "1.5", "one", "1,000", True, float("inf")])
def test_what_only_looks_like_a_whole_number_is_none(written: Any) -> None:
    with pytest.raises(Unfit, match=r"expected a (whole )?number"):
        reading.whole(written)


def test_a_logs_own_values_can_be_given_a_meaning() -> None:
    meanings = {"1": "up", "-1": "down", "thumbs_up": "up"}
    written = (1, 1.0, "1", -1, "１", "thumbs_up", "Thumbs_Up", "meh", None)
    assert [reading.mapped(value, meanings) for value in written] == [
        "up", "up", "up", "down", "up", "up", "up", "meh", None
    ]  # fmt: skip
