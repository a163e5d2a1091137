"""The client against a real server that misbehaves as told: what is tried again, what it costs, what is said."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from scripted_llm import Asked, Reply, ScriptedLlm, completion, error, scripted_llm

from rerankops import config
from rerankops.errors import ServerRefused, ServerUnavailable, SettingsError
from rerankops.llm import API_KEY, Answer, Budget, Client, Form, Message, NoAnswer, Prompt, estimated_tokens

__all__ = ["scripted_llm"]

KEY = "sk-test-1234567890"
Connect = Callable[..., Client]
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<html><head><style>p{color:red}</style></head><body><h1>502 Bad Gateway</h1>3</body></html>"


class Remembered:
    """A cache as a dictionary, through JSON as a stored one would be."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        return json.loads(self.entries[key]) if key in self.entries else None

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        self.entries[key] = json.dumps(value)


@pytest.fixture
def connect(scripted_llm: ScriptedLlm, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A client of the scripted server with short pauses. cache, budget: of Client; the rest are settings."""
    monkeypatch.setattr("rerankops.llm.client._FIRST_PAUSE", 0.01)

    def connect(*, cache: Any = None, budget: Budget | None = None, key: str = "", **changed: Any) -> Client:
        values = {"url": scripted_llm.url, "model": "m", "timeout": 60, "retries": 3, **changed}
        settings = config.load(environ={}, overrides={"llm": values}).llm
        return Client(settings, cache=cache, budget=budget, environ={API_KEY: key} if key else {})

    return connect


def prompt(text: str = "how much?", **more: Any) -> Prompt:
    return Prompt((Message("system", "grade"), Message("user", text)), **more)


def prompts(count: int) -> list[Prompt]:
    return [prompt(f"question {number}") for number in range(count)]


def asked_number(asked: Asked) -> int:
    return int(asked.user.rsplit(" ", 1)[1])


def test_answers_come_in_the_order_of_the_prompts_however_long_each_takes(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    scripted_llm.script = lambda asked: Reply(
        completion(f"a{asked_number(asked)}").content, delay=0.02 * (asked_number(asked) % 3)
    )
    with connect(concurrency=4) as client:
        answers = client.ask(prompts(12))
    assert [answer.text for answer in answers if isinstance(answer, Answer)] == [f"a{n}" for n in range(12)]


def test_no_more_requests_are_in_flight_than_allowed_and_as_many_as_allowed_are(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    three = threading.Barrier(3)

    def script(asked: Asked) -> Reply:
        three.wait(30)
        return Reply(completion("x").content, delay=0.05)

    scripted_llm.script = script
    with connect(concurrency=3) as client:
        client.ask(prompts(12))
    assert (scripted_llm.most_at_once, len(scripted_llm.requests)) == (3, 12)


def test_what_is_sent(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    with connect(key=f"{KEY}\n", max_tokens=9, seed=7, extra={"top_p": 1, "seed": None}) as client:
        client.ask([prompt(), prompt(max_tokens=3)])
    first, second = sorted(scripted_llm.requests, key=lambda asked: -asked.body["max_tokens"])
    assert first.path == "/v1/chat/completions"
    assert first.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "grade"}, {"role": "user", "content": "how much?"}],
        "temperature": 0,
        "max_tokens": 9,
        "top_p": 1,
    }
    assert second.body["max_tokens"] == 3
    assert {name.lower(): value for name, value in first.headers.items()}["authorization"] == f"Bearer {KEY}"


def test_a_path_with_a_query_keeps_it(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    with connect(url=scripted_llm.url + "/?api-version=2") as client:
        client.ask([prompt()])
    assert scripted_llm.requests[0].path == "/v1/chat/completions?api-version=2"


def test_the_same_prompt_twice_is_sent_once_and_another_seed_is_another_prompt(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    with connect() as client:
        answers = client.ask([prompt(), prompt(), prompt(seed=1)])
    assert len(answers) == 3
    assert sorted(asked.body["seed"] for asked in scripted_llm.requests) == [1, 42]


FLEETING = {
    "429": error(429, "slow down"),
    "500": error(500),
    "502, an HTML page": Reply(PAGE, 502, HTML),
    "503": error(503),
    "529": error(529, "overloaded"),
    "408": error(408),
    "cut in its headers' length": Reply(completion("3").content, cut=20),
    "no byte at all": Reply(b"", cut=0, headers={"Content-Length": "5"}),
    "JSON that ends early": Reply(completion("3").content[:40]),
    "nothing where JSON should be": Reply(b""),
}


@pytest.mark.parametrize("reply", FLEETING.values(), ids=FLEETING)
def test_what_may_pass_is_tried_again(scripted_llm: ScriptedLlm, connect: Connect, reply: Reply) -> None:
    scripted_llm.script = lambda asked: reply if asked.number < 2 else completion("2")
    with connect() as client:
        [answer] = client.ask([prompt()])
    assert isinstance(answer, Answer)
    assert answer.text == "2"
    assert len(scripted_llm.requests) == client.budget.requests == 3


@pytest.mark.parametrize("reply", FLEETING.values(), ids=FLEETING)
def test_what_does_not_pass_is_no_answer(scripted_llm: ScriptedLlm, connect: Connect, reply: Reply) -> None:
    """Beside one that is answered; alone, the server would count as away."""
    scripted_llm.script = lambda asked: completion("2") if "fine" in asked.user else reply
    with connect(retries=1) as client:
        bad, good = client.ask([prompt("broken"), prompt("fine")])
    assert isinstance(good, Answer)
    assert isinstance(bad, NoAnswer)
    assert bad.kind in {"unavailable", "malformed"}
    assert "\n" not in bad.words
    assert len(bad.words) < 300
    assert len(scripted_llm.requests) == 3


NO_ANSWERS = {
    "a bad request": (error(400, "maximum context length is 2048 tokens"), "refused", "maximum context length"),
    "too large": (error(413, "too large"), "refused", "status 413, too large"),
    "a detail in FastAPI's words": (Reply(b'{"detail": [{"loc": ["n"]}]}', 422), "refused", "loc"),
    "not implemented": (error(501), "refused", "status 501"),
    "an HTML page": (Reply(PAGE, 200, HTML), "malformed", "type text/html instead of JSON: '502 Bad Gateway 3'"),
    "plain text": (Reply(b"3", 200, {"Content-Type": "text/plain"}), "malformed", "type text/plain"),
    "no type": (Reply(b"3", 200, {}), "malformed", "type unknown"),
    "a list": (Reply(b"[3]"), "malformed", "no object"),
    "empty choices": (Reply(b'{"choices": []}'), "malformed", "without choices"),
    "choices of another kind": (Reply(b'{"choices": {"0": 3}}'), "malformed", "without choices"),
    "an error with status 200": (Reply(b'{"error": {"message": "boom"}}'), "malformed", "boom"),
    "no message": (Reply(b'{"choices": [{"text": "3"}]}'), "malformed", "without choices"),
    "a number for content": (Reply(b'{"choices": [{"message": {"content": 3}}]}'), "malformed", "no text"),
    "a picture for content": (completion([{"type": "image_url", "image_url": {"url": "x"}}]), "malformed", "no text"),
    "a part of no known type": (completion([{"type": ["text"], "text": "3"}]), "malformed", "no text"),
    "JSON that nests without end": (Reply(b'{"choices": ' + b"[" * 100_000), "malformed", "inside one another"),
    "a choice with an error": (
        Reply(b'{"choices": [{"error": {"message": "boom"}, "message": {"content": "3"}}]}'),
        "malformed",
        "boom",
    ),
}


@pytest.mark.parametrize(("reply", "kind", "words"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_not_tried_again_and_not_remembered(
    scripted_llm: ScriptedLlm, connect: Connect, reply: Reply, kind: str, words: str
) -> None:
    scripted_llm.script = lambda asked: reply
    cache = Remembered()
    with connect(cache=cache) as client:
        [answer] = client.ask([prompt()])
    assert isinstance(answer, NoAnswer)
    assert (answer.kind, len(scripted_llm.requests), cache.entries) == (kind, 1, {})
    assert words in answer.words


@pytest.mark.parametrize(("text", "finish_reason"), [(None, "length"), ("", "stop"), ("2", "content_filter")])
def test_an_answer_that_was_cut_or_is_empty_says_so(
    scripted_llm: ScriptedLlm, connect: Connect, text: str | None, finish_reason: str
) -> None:
    scripted_llm.script = lambda asked: completion(text, finish_reason=finish_reason)
    with connect() as client:
        assert client.ask([prompt()]) == [Answer(text or "", finish_reason, 25)]


SAID = {
    "parts": (completion([{"type": "text", "text": "2"}, {"type": "output_text", "text": "1"}]), "21", "stop", ""),
    "thinking among the parts": (
        completion([{"type": "thinking", "thinking": []}, {"type": "text", "text": "2"}]),
        "2",
        "stop",
        '{"type": "thinking", "thinking": []}',
    ),
    "thinking apart": (completion("2", reasoning_content="one or two?"), "2", "stop", "one or two?"),
    "thinking alone": (completion(None, reasoning="two?"), "", "stop", "two?"),
    "a refusal": (completion(None, refusal="No."), "No.", "refusal", ""),
    "a refusal among the parts": (completion([{"type": "refusal", "refusal": "No."}]), "No.", "refusal", ""),
    "a tool": (completion("2", finish_reason="tool_calls", tool_calls=[1]), "[1]", "tool_calls", ""),
    "a tool although it stopped": (completion(None, function_call={"name": "f"}), '{"name": "f"}', "tool_calls", ""),
    "JSON called text": (Reply(completion("2").content, headers={"Content-Type": "text/plain"}), "2", "stop", ""),
}


@pytest.mark.parametrize(("reply", "text", "finish_reason", "reasoning"), SAID.values(), ids=SAID)
def test_what_a_message_holds_is_kept_apart_by_what_it_is(
    scripted_llm: ScriptedLlm, connect: Connect, reply: Reply, text: str, finish_reason: str, reasoning: str
) -> None:
    scripted_llm.script = lambda asked: reply
    with connect() as client:
        assert client.ask([prompt()]) == [Answer(text, finish_reason, 25, reasoning=reasoning)]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b'{"error": {"message": "loading", "code": 503}}'),
        Reply(b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'),
        completion("2", finish_reason="insufficient_system_resource"),
    ],
    ids=["a status", "a code", "a reply that the server broke off"],
)
def test_an_error_with_status_200_that_may_pass_is_tried_again(
    scripted_llm: ScriptedLlm, connect: Connect, reply: Reply
) -> None:
    scripted_llm.script = lambda asked: reply if asked.number < 2 else completion("2")
    with connect() as client:
        assert client.ask([prompt()]) == [Answer("2", "stop", 25)]


def test_what_came_back_instead_of_an_answer_is_kept_to_be_shown(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    scripted_llm.script = lambda asked: Reply(b'{"base_resp": {"status_msg": "balance"}}' + b" " * 5000)
    with connect() as client:
        [answer] = client.ask([prompt()])
    assert isinstance(answer, NoAnswer)
    assert answer.reply.startswith('{"base_resp": {"status_msg": "balance"}}')
    assert answer.reply.endswith(" more characters)")


# -- the form of an answer --------------------------------------------------------------------------------------------

FORM = Form("number", {"type": "object"})


def forms(server: ScriptedLlm) -> list[bool]:
    return ["response_format" in asked.body for asked in server.requests]


def test_the_form_of_an_answer_is_asked_for_unless_settings_say_otherwise(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    with connect() as client:
        client.ask([prompt(form=FORM), prompt()])
    with connect(structured_output="never") as client, connect(extra={"response_format": None}) as other:
        client.ask([prompt(form=FORM)])
        other.ask([prompt(form=FORM)])
    assert sorted(forms(scripted_llm)) == [False, False, False, True]
    [formed] = [asked.body for asked in scripted_llm.requests if "response_format" in asked.body]
    assert formed["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "number", "strict": True, "schema": {"type": "object"}},
    }


@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_server_that_refuses_forms_is_asked_without_from_then_on(
    scripted_llm: ScriptedLlm, connect: Connect, status: int
) -> None:
    scripted_llm.script = lambda asked: error(status) if "response_format" in asked.body else completion("2")
    cache = Remembered()
    with connect(cache=cache, concurrency=1) as client:
        answers = client.ask([prompt(f"{number}", form=FORM) for number in range(3)])
        again = client.ask([prompt(f"{number}", form=FORM) for number in range(3)])
    assert answers == [Answer("2", "stop", 25)] * 3
    assert again == [Answer("2", "stop", 25, cached=True)] * 3
    assert forms(scripted_llm) == [True, False, False, False]


def test_a_server_that_holds_thinking_to_the_form_is_asked_without_it(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    hidden = completion(None, reasoning_content='{"number": 2}')
    scripted_llm.script = lambda asked: hidden if "response_format" in asked.body else completion("2")
    with connect(concurrency=1) as client:
        assert client.ask([prompt("a", form=FORM), prompt("b", form=FORM)]) == [Answer("2", "stop", 25)] * 2
    assert forms(scripted_llm) == [True, False, False]


def test_a_prompt_that_is_refused_in_any_form_does_not_end_forms_for_the_others(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    scripted_llm.script = lambda asked: error(400, "too long") if "long" in asked.user else completion("2")
    with connect(concurrency=1) as client:
        bad, good = client.ask([prompt("long", form=FORM), prompt("short", form=FORM)])
    assert (bad, good) == (NoAnswer("refused", bad.words), Answer("2", "stop", 25))  # type: ignore[union-attr]
    assert forms(scripted_llm) == [True, False, True]


def test_a_server_that_breaks_on_one_form_is_asked_without_it_for_that_prompt_alone(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    scripted_llm.script = lambda asked: error(500) if asked.number == 0 else completion("2")
    with connect(concurrency=1) as client:
        client.ask([prompt("first", form=FORM), prompt("second", form=FORM)])
    assert forms(scripted_llm) == [True, False, True]


REFUSALS = {
    "wrong key": (error(401, f"Incorrect API key provided: {KEY}"), "refuses who we are"),
    "forbidden": (error(403), "refuses who we are"),
    "no such model": (error(404, "The model `m` does not exist"), "there is no model 'm'.*check llm.url"),
    "another place": (Reply(b"", 307, {"Location": "https://elsewhere/v1"}), "it points to https://elsewhere/v1"),
    "no credit": (error(429, "You exceeded your quota", code="insufficient_quota"), "no credit left"),
}


@pytest.mark.parametrize(("reply", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_concerns_the_server_stops_everything_at_once_and_keeps_the_key_to_itself(
    scripted_llm: ScriptedLlm, connect: Connect, caplog: pytest.LogCaptureFixture, reply: Reply, words: str
) -> None:
    scripted_llm.script = lambda asked: reply
    with caplog.at_level(logging.DEBUG), connect(key=KEY, concurrency=2) as client:
        with pytest.raises(ServerRefused, match=words) as refused:
            client.ask(prompts(50))
        shown = repr(client) + str(vars(client)["_http"].headers)
    assert len(scripted_llm.requests) <= 2, "those in flight"
    assert KEY not in str(refused.value) + caplog.text + shown


def test_retry_after_holds_every_request_back(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    scripted_llm.script = lambda asked: error(429, Retry_After="1") if asked.number == 0 else completion("1")
    with connect(concurrency=1) as client:
        answers = client.ask(prompts(3))
    assert all(isinstance(answer, Answer) for answer in answers)
    first, second = scripted_llm.times[:2]
    assert 0.95 <= second - first < 30


def test_a_date_to_retry_after_is_understood(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    def script(asked: Asked) -> Reply:
        later = datetime.now(UTC) + timedelta(seconds=3)  # told in whole seconds
        return completion("1") if asked.number else error(503, Retry_After=format_datetime(later, usegmt=True))

    scripted_llm.script = script
    with connect() as client:
        client.ask([prompt()])
    assert 1.9 <= scripted_llm.times[1] - scripted_llm.times[0] < 30


def test_who_asks_for_more_patience_than_allowed_is_away(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    scripted_llm.script = lambda asked: error(429, Retry_After="3600")
    with (
        connect(max_wait=2) as client,
        pytest.raises(ServerUnavailable, match=r"asks to wait 3600 s, above llm\.max_wait"),
    ):
        client.ask([prompt()])
    assert len(scripted_llm.requests) == 1


@pytest.mark.parametrize(
    "reply", [Reply(completion("1").content, delay=1.5), Reply(completion("1").content, drip=0.02)]
)
def test_the_time_allowed_is_for_the_whole_answer(scripted_llm: ScriptedLlm, connect: Connect, reply: Reply) -> None:
    scripted_llm.script = lambda asked: reply
    with connect(timeout=0.5, retries=0) as client, pytest.raises(ServerUnavailable, match=r"within 0.5 s"):
        client.ask([prompt()])
    assert client.budget.tokens > 0, "it may have been answered, and charged"


def test_nobody_there_is_said_after_a_few_prompts_and_costs_nothing(connect: Connect) -> None:
    said = r"language model at http://127\.0\.0\.1:9/v1: .*is it running"
    client = connect(url="http://127.0.0.1:9/v1", retries=1, concurrency=2)
    with client, pytest.raises(ServerUnavailable, match=said):
        client.ask(prompts(1000))
    assert client.budget.requests <= 2 * (5 + 1), "two tries of five prompts, and of the one in flight"
    assert client.budget.tokens == 0


def test_a_server_that_goes_away_in_the_middle_leaves_what_it_answered(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    scripted_llm.script = lambda asked: completion("1") if asked.number < 10 else error(500)
    cache = Remembered()
    with connect(cache=cache, retries=0, concurrency=1) as client, pytest.raises(ServerUnavailable):
        client.ask(prompts(40))
    assert len(cache.entries) == 10
    scripted_llm.script = lambda asked: completion("1")
    sent = len(scripted_llm.requests)
    with connect(cache=cache) as client:
        answers = client.ask(prompts(40))
    assert len(scripted_llm.requests) - sent == 30
    assert [answer.cached for answer in answers if isinstance(answer, Answer)].count(True) == 10


def test_an_answer_that_is_known_is_not_asked_for_and_anything_that_changes_it_is(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    cache = Remembered()
    with connect(cache=cache) as client:
        [first] = client.ask([prompt()])
    with connect(cache=cache, timeout=7, concurrency=1, retries=0) as client:
        [again] = client.ask([prompt()])
        assert client.budget.requests == client.budget.tokens == 0
    assert (first, again) == (Answer("3", "stop", 25), Answer("3", "stop", 25, cached=True))
    for changed in ({"model": "other"}, {"max_tokens": 5}, {"seed": 1}, {"extra": {"top_p": 1}}):
        with connect(cache=cache, **changed) as client:
            client.ask([prompt()])
    with connect(cache=cache) as client:
        client.ask([prompt("how much more?")])
    assert len(scripted_llm.requests) == 6


def test_an_answer_says_how_long_it_took_also_when_it_was_kept(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    scripted_llm.script = lambda asked: Reply(completion("1").content, delay=0.2)
    cache = Remembered()
    with connect(cache=cache) as client:
        [first], [again] = client.ask([prompt()]), client.ask([prompt()])
    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert first.seconds is not None
    assert 0.2 <= first.seconds < 30
    assert (again.cached, again.seconds) == (True, first.seconds)
    [(key, entry)] = cache.entries.items()
    cache.entries[key] = json.dumps({name: value for name, value in json.loads(entry).items() if name != "seconds"})
    with connect(cache=cache) as client:
        assert client.ask([prompt()]) == [Answer("1", "stop", 25, cached=True, seconds=None)]


def test_requests_end_where_the_budget_ends(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    with connect(budget=Budget(requests=7), concurrency=4) as client:
        answers = client.ask(prompts(20))
    assert len(scripted_llm.requests) == 7
    assert sum(isinstance(answer, Answer) for answer in answers) == 7
    left = [answer for answer in answers if isinstance(answer, NoAnswer)]
    assert {answer.kind for answer in left} == {"budget"}
    assert "the budget is spent after 7 requests of 7 and" in left[-1].words
    assert str(client.budget) == "7 requests of 7 and 175 tokens"


def test_tries_are_paid_from_the_budget_too(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    scripted_llm.script = lambda asked: error(500)
    with connect(budget=Budget(requests=2), retries=5, concurrency=1) as client:
        [answer] = client.ask([prompt()])
    assert isinstance(answer, NoAnswer)
    assert (answer.kind, len(scripted_llm.requests)) == ("budget", 2)


def test_tokens_are_never_more_than_the_budget(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    """The server takes all it may: every byte a token, and max_tokens of an answer."""

    def greedy(asked: Asked) -> Reply:
        taken = sum(len(message["content"].encode()) for message in asked.body["messages"])
        return completion("x", tokens=(taken, asked.body["max_tokens"]))

    scripted_llm.script = greedy
    budget = Budget(tokens=5000)
    with connect(budget=budget, concurrency=4, max_tokens=50) as client:
        answers = client.ask([prompt("胎压" * (n + 1)) for n in range(60)])
    answered = sum(isinstance(answer, Answer) for answer in answers)
    assert 5 < answered < 60
    assert budget.tokens <= 5000
    assert budget.tokens == sum(answer.tokens for answer in answers if isinstance(answer, Answer))


def test_once_one_does_not_fit_the_shorter_ones_behind_it_are_not_asked_either(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    with connect(budget=Budget(tokens=2000), concurrency=1) as client:
        first, long, short = client.ask([prompt("a"), prompt("b" * 3000), prompt("c")])
    assert isinstance(first, Answer)
    assert isinstance(long, NoAnswer)
    assert isinstance(short, NoAnswer)
    assert len(scripted_llm.requests) == 1


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": -5}, {"prompt_tokens": 3}, {"total_tokens": "9"}, 7])
def test_tokens_that_the_server_does_not_count_are_estimated(
    scripted_llm: ScriptedLlm, connect: Connect, usage: Any
) -> None:
    document = json.loads(completion("四个汉字", tokens=None).content)
    if usage is not None:
        document["usage"] = usage
    scripted_llm.script = lambda asked: Reply(json.dumps(document).encode())
    with connect() as client:
        [answer] = client.ask([prompt("后备箱容积 is?")])
    assert isinstance(answer, Answer)
    assert answer.tokens == client.budget.tokens == 2 + 6 + 4  # grade; 5 characters and " is?"; the answer


def test_estimates_are_near_what_tokenizers_count() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("后备箱容积是多少升？") == 10
    assert estimated_tokens("How large is the boot of this car?") == 9


def test_a_budget_is_shared_between_threads_without_overdraft() -> None:
    budget = Budget(requests=500, tokens=50_000)

    def spend() -> None:
        while budget.reserve(100):
            budget.settle(100, 100)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (budget.requests, budget.tokens) == (500, 50_000)


def test_characters_that_cannot_be_encoded_do_no_harm(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    with connect(cache=Remembered()) as client:
        [answer] = client.ask([prompt("broken \ud800 pair")])
    assert isinstance(answer, Answer)


BAD_SETTINGS = [
    ({"url": None}, "llm.url is not set"),
    ({"model": None}, "llm.model is not set"),
    ({"url": "localhost:8000/v1"}, r"expected http://HOST:PORT/v1"),
    ({"url": "ftp://host/v1"}, r"expected http://HOST:PORT/v1"),
    ({"url": f"http://user:{KEY}@host/v1"}, "credentials before the @ of …host"),
    ({"url": "http://host:port/v1"}, "llm.url is 'http://host:port/v1'"),
    ({"extra": {"messages": []}}, "llm.extra may not have 'messages'"),
]


@pytest.mark.parametrize(("values", "words"), BAD_SETTINGS)
def test_settings_that_cannot_work_are_named(connect: Connect, values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error_:
        connect(**values)
    assert KEY not in str(error_.value)


def test_a_key_with_a_line_break_in_it_is_refused_without_showing_it(connect: Connect) -> None:
    with pytest.raises(SettingsError, match=API_KEY) as error_:
        connect(key="sk-a\nsk-b")
    assert "sk-" not in str(error_.value)


def test_who_goes_on_without_a_server_gets_what_was_answered_and_a_reason_for_the_rest(
    scripted_llm: ScriptedLlm, connect: Connect
) -> None:
    scripted_llm.script = lambda asked: completion("yes") if asked.number < 3 else error(503)
    with connect(retries=0, concurrency=1) as client:
        answers = client.ask(prompts(20), when_away="go_on")
    assert [getattr(answer, "text", None) for answer in answers] == ["yes"] * 3 + [None] * 17
    assert {answer.kind for answer in answers if isinstance(answer, NoAnswer)} == {"unavailable"}
    assert len(scripted_llm.requests) == 8, "five in a row, and nobody asks any more"


def test_going_on_keeps_why_each_prompt_got_no_answer(scripted_llm: ScriptedLlm, connect: Connect) -> None:
    scripted_llm.script = lambda asked: error(400) if asked.number == 0 else error(503)
    with connect(retries=0, concurrency=1) as client:
        answers = client.ask(prompts(12), when_away="go_on")
    assert [getattr(answer, "kind", "") for answer in answers] == ["refused"] + ["unavailable"] * 11
    with connect(retries=0, concurrency=1, request_budget=2) as client:
        answers = client.ask(prompts(12), when_away="go_on")
    assert [getattr(answer, "kind", "") for answer in answers] == ["unavailable"] * 2 + ["budget"] * 10
    scripted_llm.script = lambda asked: error(401)
    with connect(retries=0) as client, pytest.raises(ServerRefused):
        client.ask(prompts(2), when_away="go_on")
