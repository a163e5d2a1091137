"""The final answer of a model, without thinking, code fences and end marks, or the reason why there is none.

| what comes back                                            | result                                         |
|------------------------------------------------------------|------------------------------------------------|
| a text that ended by itself                                | the answer                                     |
| a closed block of thinking before it, empty or not         | left out; the answer is what follows           |
| an answer that is one code block as a whole                | the content of the block                       |
| cut at the token limit; cut within its thinking            | none: cut                                      |
| nothing, or only thinking, in the text or another field    | none: empty                                    |
| withheld by the server's filter                            | none: filtered                                 |
| a refusal in its own field                                 | none: declined                                 |
| a tool call                                                | none: tool                                     |
| thinking that does not end, ends twice, or comes later     | none: unreadable                               |
| a finish reason that is not in this table                  | none: stopped                                  |

Thinking is never taken for an answer: a model considers things in it that it does not say.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rerankops.llm.asking import Answer, NoAnswer
from rerankops.llm.replies import shown

_ENDED = frozenset({"stop", "unknown", "eos", "eos_token", "end_turn", "stop_sequence", "end", "completed"})
_CUT = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_FILTERED = frozenset({"content_filter", "safety", "sensitive", "recitation", "blocklist", "prohibited_content"})
_THINKING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("|startthink|", "|endthink|"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
"""Marks around thinking, as templates of today's models write them when the server does not remove it."""
_OPENING = re.compile("|".join(re.escape(opening) for opening, _ in _THINKING), re.IGNORECASE)
_CLOSING = re.compile("|".join(re.escape(closing) for _, closing in _THINKING), re.IGNORECASE)
_END_MARK = re.compile(r"\s*(?:<\|im_end\|>|<\|eot_id\|>|<\|end\|>|<\|return\|>|<\|endoftext\|>|</s>)\s*\Z")
_FENCE = re.compile(r"(?P<fence>```|~~~)[A-Za-z]*[ \t]*\n?(?P<inside>.*?)\s*(?P=fence)", re.DOTALL)

NO_THINKING = "llm.extra {chat_template_kwargs: {enable_thinking: false}} or {reasoning_effort: none}"
"""Settings that switch thinking off: vLLM, SGLang and llama.cpp know the first, others the second."""


class Final(NamedTuple):
    """text: the model's answer; None if there is no valid answer. reason: then "KIND: WORDS", with the setting that
    helps. reply: what came back, for a person to look at."""

    text: str | None
    reason: str = ""
    reply: str = ""

    @property
    def kind(self) -> str:
        """The kind of the reason; "" if there is none."""
        return self.reason.partition(":")[0]


def final(answer: Answer | NoAnswer, limit: str = "llm.max_tokens") -> Final:
    """The final answer according to the table above. limit: the setting for the length of an answer, named in
    messages."""
    if isinstance(answer, NoAnswer):
        return Final(None, f"{answer.kind}: {answer.words}", answer.reply)
    reply = _shown(answer)
    thinks = bool(answer.reasoning or _OPENING.search(answer.text) or _CLOSING.search(answer.text))
    ending = answer.finish_reason.strip().lower()
    if ending in _CUT:
        more = f", or switch the model's thinking off: {NO_THINKING}" if thinks else ""
        return Final(None, f"cut: the reply had not ended at {limit}; raise it{more}", reply)
    if ending in _FILTERED:
        return Final(None, f"filtered: the server withheld the reply ({ending}); its filter decides that", reply)
    if ending == "refusal":
        return Final(None, "declined: the model declined to answer; another llm.model may not", reply)
    if ending in ("tool_calls", "function_call"):
        return Final(
            None, "tool: the model called a tool instead of answering; set llm.extra {tool_choice: none}", reply
        )
    if ending not in _ENDED:
        return Final(None, f"stopped: the reply ended for the reason {answer.finish_reason[:40]!r}", reply)
    text = _END_MARK.sub("", answer.text).strip()
    said = _without_thinking(text)
    if said is None:
        return Final(
            None,
            f"unreadable: the model's thinking does not end before its answer; switch it off: {NO_THINKING}",
            reply,
        )
    if not said:
        why = f"empty: the reply holds thinking and no answer; raise {limit}, or switch thinking off: {NO_THINKING}"
        if not thinks:
            why = "empty: the server sent an empty reply; try llm.structured_output: never, or another llm.model"
        return Final(None, why, reply)
    return Final(said, reply=reply)


def unfenced(text: str) -> str:
    """The content of a text that is one code block as a whole; any other text unchanged."""
    found = _FENCE.fullmatch(text)
    return found["inside"].strip() if found and found["fence"] not in found["inside"] else text


def unreadable(found: Final, wanted: str) -> str:
    """The reason for a reply that is an answer, but not in the requested form."""
    text = " ".join((found.text or "").split())
    cut = f"{text[:80]}…" if len(text) > 80 else text
    return (
        f"unreadable: {cut!r} is no {wanted}; a server with structured output (llm.structured_output: auto) or another "
        "llm.model keeps to the form"
    )


def _without_thinking(text: str) -> str | None:
    """The text after the thinking; None when the end of the thinking is unclear.

    A chat template may write the opening mark itself, so that the reply begins within the thinking.
    """
    rest, first = text, True
    while closing := _CLOSING.search(rest):
        opening = _OPENING.search(rest, 0, closing.start())
        said_before = rest[: opening.start()].strip() if opening else not first
        if said_before:
            return None
        rest, first = rest[closing.end() :].strip(), False
    return None if _OPENING.search(rest) else rest


def _shown(answer: Answer) -> str:
    parts = [f"(thinking, sent apart) {answer.reasoning}\n(answer) "] if answer.reasoning else []
    return shown("".join([*parts, answer.text]))
