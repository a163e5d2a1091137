"""Moves as text and back, and what a row of them says; the ledger itself is tested on a real MLflow."""

from __future__ import annotations

import json

from rerankops.promotion.ledger import Move, read
from rerankops.promotion.succession import State


def moved(number: int, action: str, version: str, champion: str, previous: str = "", before: str = "") -> Move:
    return Move(number, action, version, champion, previous, before, "because", "somebody")


def state(*moves: Move, **aliases: str) -> State:
    return State(aliases, "run", moves, len(moves))


def test_a_move_is_read_back_as_it_was_written() -> None:
    move = Move(3, "promote", "2", "2", "1", "1", "七个百分点", "gate", "decisions/1", True)
    assert read({"move.000003": move.text(), "other": "x"}) == (move,)


def test_moves_are_read_oldest_first_and_unknown_fields_do_no_harm() -> None:
    first, second = moved(1, "promote", "1", "1"), moved(2, "promote", "2", "2", "1", "1")
    later = json.dumps(json.loads(second.text()) | {"signed_by": "a later version of rerankops"})
    assert read({"move.000002": later, "move.000001": first.text()}) == (first, second)


def test_no_move_is_longer_than_mlflow_keeps() -> None:
    for reason in ("long " * 5000, "\x01" * 5000, "长" * 5000, '"' * 5000):
        text = Move(1, "promote", "1", "1", "", "", reason, "a" * 200, "decisions/" + "b" * 32).text()
        assert len(text) <= 5500
        assert json.loads(text)["champion"] == "1"
        assert json.loads(text)["reason"]


def test_the_next_move_makes_the_champion_previous_unless_it_stays() -> None:
    here = state(moved(1, "promote", "1", "1"), moved(2, "promote", "2", "2", "1", "1"))
    promoted = here.next("promote", "3", "3", "better", "gate")
    assert (promoted.number, promoted.champion, promoted.previous, promoted.before) == (3, "3", "2", "2")
    rejected = here.next("reject", "3", "2", "bolder", "a person")
    assert (rejected.champion, rejected.previous) == ("2", "1")
    assert state(champion="4", previous="2").next("found", "4", "4", "begins", "x").previous == "2"


def test_the_ledger_has_the_last_word_over_aliases() -> None:
    here = state(moved(1, "promote", "1", "1"), champion="7", previous="6")
    assert (here.champion, here.previous) == ("1", "")
    assert not here.follows("1", "")
    assert state(champion="7", previous="6").champion == "7"


def test_a_rejection_stands_until_a_later_promotion() -> None:
    rejected = moved(1, "reject", "2", "")
    assert state(rejected).rejection("2") == rejected
    assert state(rejected).rejection("3") is None
    assert state(rejected, moved(2, "promote", "2", "2")).rejection("2") is None


def test_a_request_without_a_key_is_never_known_as_done() -> None:
    keyed = Move(1, "promote", "1", "1", "", "", "r", "a", "decisions/1")
    here = state(keyed, moved(2, "rollback", "1", "1"))
    assert here.done("promote", "decisions/1")
    assert not here.done("rollback", "decisions/1")
    assert not here.done("rollback", "")
