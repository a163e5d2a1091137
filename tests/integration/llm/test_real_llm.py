"""The client and the teacher against a real OpenAI-compatible server with a real, and very small, model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llm_server import LlmServer

from rerankops import config
from rerankops.errors import ServerUnavailable
from rerankops.llm import Answer, Client, Message, NoAnswer, Prompt
from rerankops.pipeline import teacher
from rerankops.pipeline.answers import StoredAnswers
from rerankops.pipeline.context import Context
from rerankops.pipeline.corpus import CORPUS, GOLD
from rerankops.pipeline.judgments import JUDGMENTS, take_in
from rerankops.records import GoldQuestion, Judgment, Passage
from rerankops.workspace import Workspace


def context(folder: Path, server: LlmServer, **llm: Any) -> Context:
    settings = config.load(
        environ={},
        overrides={
            "llm": {
                "url": server.url,
                "model": server.model,
                "timeout": 240,
                "retries": 0,
                "concurrency": 1,
                "max_tokens": 4,
                **llm,
            },
            "teacher": {"min_pairs": 20, "bootstrap_samples": 200, "language": "en"},
        },
    )
    return Context(settings, Workspace(folder))


def ask(here: Context, texts: list[str]) -> tuple[list[Answer | NoAnswer], int]:
    """Answers, and the requests that were sent for them."""
    with Client(here.settings.llm, cache=StoredAnswers(here.workspace)) as client:
        return client.ask([Prompt((Message("user", text),)) for text in texts]), client.budget.requests


def judged(here: Context) -> None:
    """A corpus, a gold question elsewhere, and three pairs that people judged."""
    texts = [f"The tyre pressure of model {n} is described here." for n in range(3)]
    passages = Passage.table(
        {"passage_id": f"p{n:02}", "title": "Manual", "text": text, "metadata": []} for n, text in enumerate(texts)
    )
    here.workspace.point(CORPUS, here.workspace.publish(Passage, passages, step="load_corpus"))
    gold = {"question_id": "g", "text": "how do I open the boot", "accepted_answers": ["key"], "stratum": "procedure",
            "relevant_passage_ids": []}  # fmt: skip
    here.workspace.point(GOLD, here.workspace.publish(GoldQuestion, GoldQuestion.table([gold]), step="load_gold"))
    judgments = Judgment.table(
        {
            "query_id": "q", "passage_id": f"p{n:02}", "query_text": "tyre pressure of model 2",
            "stratum": "numeric", "grade": (0, 3, 1)[n], "confidence": 1.0, "annotator_count": 3,
            "origin": "human",
        }
        for n in range(3)
    )  # fmt: skip
    take_in(here, "human", here.workspace.publish(Judgment, judgments, step="adjudicate"))


def test_answers_are_those_of_the_server_and_are_asked_for_once(tmp_path: Path, llm_server: LlmServer) -> None:
    here = context(tmp_path, llm_server)
    [first, second], sent = ask(here, ["Say yes.", "Say no."])
    assert sent == 2
    for answer in (first, second):
        assert isinstance(answer, Answer)
        assert 0 < answer.tokens < 60, "as the server counts them"
        assert answer.finish_reason in {"length", "stop"}
        assert not answer.cached
    again, sent = ask(here, ["Say no.", "Say yes."])
    assert sent == 0
    assert [answer.text for answer in again if isinstance(answer, Answer)] == [second.text, first.text]
    [fresh], sent = ask(context(tmp_path / "elsewhere", llm_server), ["Say yes."])
    assert sent == 1
    assert isinstance(fresh, Answer)
    assert fresh.text == first.text, "temperature 0 and a seed"


def test_the_budget_ends_the_requests(tmp_path: Path, llm_server: LlmServer) -> None:
    answers, sent = ask(context(tmp_path, llm_server, request_budget=1), ["One.", "Two.", "Three."])
    assert sent == 1
    assert [getattr(answer, "kind", "answer") for answer in answers] == ["answer", "budget", "budget"]


def test_a_model_that_the_server_does_not_have_is_said_in_its_words(tmp_path: Path, llm_server: LlmServer) -> None:
    [answer], _ = ask(context(tmp_path, llm_server, model="gpt-of-elsewhere"), ["Hello"])
    assert isinstance(answer, NoAnswer)
    assert answer.kind == "refused"
    assert "requested 'gpt-of-elsewhere'" in answer.words


def test_a_real_model_is_measured_not_trusted_on_three_pairs_and_needs_no_server_the_second_time(
    tmp_path: Path, llm_server: LlmServer
) -> None:
    here = context(tmp_path, llm_server, max_tokens=16)  # enough for {"grade": 2}
    judged(here)
    before = here.workspace.ref(JUDGMENTS)
    done = teacher.run(here, lambda name: None)
    assert done.spent[0].requests == 3
    assert done.spent[0].tokens > 3 * 500, "guidelines were read"
    assert done.trust["asked"] == 3
    assert not done.trust["trusted"]
    assert done.trust["objections"][0].startswith("there are only 3 pairs")
    assert here.workspace.ref(JUDGMENTS) == before
    llm_server.stop()
    again = teacher.run(here, lambda name: None)
    assert again.trust_address == done.trust_address
    assert again.spent[0].requests == 0
    with pytest.raises(ServerUnavailable):
        ask(here, ["A new question."])
