"""Errors and log lines hold no personal data, and still say what is wrong and where."""

from __future__ import annotations

import logging

import pytest

from rerankops.errors import InputError
from rerankops.privacy.messages import RedactingFilter, clean, clean_error

UNCHANGED = (
    "query_events/5b1f0c7ad2e84b6f9f00aa21c4d53b7e is not Parquet; delete its folder and run its step again",
    "elasticsearch: try 2 failed (http://10.0.0.5:9200: 503), again in 1.5 s",
    "pull_events: 1787 rows in 12.3 s, {'events': 1787, 'redactions': 163, 'unusable': 30}",
    "setting queries.phone_region is 'ZZ', expected a region of ISO 3166 such as CN",
    "/data/logs/2026-11-30/log-20261130.jsonl:12 (spreadsheet row 13): issued_at is missing",
    "call Label Studio's owner; its token has expired",
    "no room is left for an artefact of workspace s3://bucket/path",
    "since is '2026-09-01T08:30:00Z'",
    "'5b1f0c7ad2e84b6f9f00aa21c4d53b7e' is no address",
)
CLEANED = {
    "log.csv:3: issued_at is '我叫王小明，电话13812345678', expected a time": (
        "log.csv:3: issued_at is '我叫[NAME]，电话[PHONE]', expected a time"
    ),
    "feedback is 'zhang.san@example.com'": "feedback is '[EMAIL]'",
    "the server said: no such user 13812345678": "the server said: no such user [PHONE]",
    "it has ['胎压', '京A12345']": "it has ['胎压', '[PLATE]']",
}


@pytest.mark.parametrize("message", UNCHANGED)
def test_our_own_words_stay(message: str) -> None:
    assert clean(message) == message


@pytest.mark.parametrize(("message", "cleaned"), CLEANED.items())
def test_what_is_quoted_is_redacted(message: str, cleaned: str) -> None:
    assert clean(message) == cleaned


def test_an_error_and_its_causes_are_reworded() -> None:
    error = InputError("row 3: '打13812345678给我' is no time")
    error.__cause__ = ValueError("bad value '打13812345678给我'")
    assert clean_error(error) is error
    assert str(error) == "row 3: '打[PHONE]给我' is no time"
    assert str(error.__cause__) == "bad value '打[PHONE]给我'"


def test_a_cause_that_cannot_be_reworded_is_cut_off() -> None:
    class Stubborn(Exception):
        def __str__(self) -> str:
            return "13812345678"

    error = InputError("no time")
    error.__cause__ = Stubborn()
    assert clean_error(error).__cause__ is None


def test_log_lines_are_redacted_before_handlers_see_them(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("rerankops.test_messages")
    logger.addFilter(RedactingFilter())
    with caplog.at_level(logging.INFO, logger.name):
        logger.info("%s: set aside: %r", "query_log", "打13812345678给我")
    assert caplog.messages == ["query_log: set aside: '打[PHONE]给我'"]
