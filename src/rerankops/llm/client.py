"""The client. What concerns the server as a whole (wrong credentials, no such model, nobody there) is raised. What
concerns one prompt comes back in its place as a `NoAnswer`, so that one that is not answered does not cost the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from typing import Any, Literal

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_any
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from rerankops.config import LlmSettings
from rerankops.errors import ServerRefused, ServerUnavailable, SettingsError
from rerankops.exchange import Exchanges, Reply, TooLarge, TooSlow
from rerankops.llm import replies
from rerankops.llm.asking import OVERHEAD, Answer, Budget, Cache, NoAnswer, Prompt, estimated_tokens
from rerankops.llm.replies import Again, FormRefused, NotThis, Unsent

log = logging.getLogger("rerankops")
API_KEY = "RERANKOPS_LLM_API_KEY"
"""Environment variable with the key; none is sent when it is not set."""
WhenAway = Literal["raise", "go_on"]
"""What to do about a server that does not answer at all."""
_FIRST_PAUSE = 0.5
"""Seconds before the second try, at most; doubled from try to try."""
_PATIENCE = 5
"""Prompts in a row that the server did not answer however often it was asked, before nobody asks any more."""
_LARGEST = 8 * 2**20
"""Bytes of a reply; what is larger is no answer to a question."""
_CODES = {
    "invalid_api_key": 401,
    "model_not_found": 404,
    "insufficient_quota": 402,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "service_unavailable": 503,
    "overloaded_error": 503,
}
"""What the codes of errors that come with status 200 stand for; a number there is a status itself."""


class Client:
    """A server, a model and how patiently it is asked. Use it as a context manager.

    cache: where answers are kept; None: nowhere. budget: for everything that this client sends; None: as configured.
    Raises SettingsError when url or model are missing or unusable.
    """

    def __init__(
        self,
        settings: LlmSettings,
        *,
        cache: Cache | None = None,
        budget: Budget | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.settings, self.cache = settings, cache
        self.budget = budget or Budget(settings.request_budget, settings.token_budget)
        self.url = _endpoint(settings)
        self._key = _api_key(os.environ if environ is None else environ)
        self._not_before = 0.0
        self._takes_forms = settings.structured_output == "auto"
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request would bury the rest of a task's log
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(settings.timeout, connect=min(10.0, settings.timeout)),
            limits=httpx.Limits(max_connections=settings.concurrency),
        )
        self._exchanges = Exchanges(self._http)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """What is sent, and what the answer is remembered by: temperature 0, a seed and the form of the answer, then
        llm.extra over it. To a server that refuses forms the same is sent without."""
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [asdict(message) for message in prompt.messages],
            "temperature": 0,
            "seed": self.settings.seed if prompt.seed is None else prompt.seed,
            "max_tokens": prompt.max_tokens or self.settings.max_tokens,
        }
        if prompt.form and self.settings.structured_output == "auto":
            form = {"name": prompt.form.name, "strict": True, "schema": prompt.form.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return {name: value for name, value in {**body, **(self.settings.extra or {})}.items() if value is not None}

    def key(self, prompt: Prompt) -> str:
        """SHA-256 of model, messages and parameters. The server's address is no part of it."""
        canonical = json.dumps(self.body(prompt), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()

    def ask(self, prompts: Sequence[Prompt], *, when_away: WhenAway = "raise") -> list[Answer | NoAnswer]:
        """What the model says to each prompt, in their order; the same prompt twice is asked once.

        Every answer is in the cache as soon as it is there: whoever is stopped and starts again pays for none twice.
        Raises ServerRefused when the server refuses who we are or has no such model, ServerUnavailable when several
        prompts in a row, or all of them, were not answered however often they were sent; with when_away "go_on" the
        rest is not asked and each of it is a NoAnswer of kind unavailable.
        """
        keys = [self.key(prompt) for prompt in prompts]
        found: dict[str, Answer | NoAnswer] = {}
        waiting: dict[str, Prompt] = {}
        for key, prompt in zip(keys, prompts, strict=True):
            if key not in found and key not in waiting:
                known = self._known(key)
                if known:
                    found[key] = known
                else:
                    waiting[key] = prompt
        if waiting:
            found |= self._ask_all(waiting, when_away)
        return [found[key] for key in keys]

    # -- private ------------------------------------------------------------------------------------------------

    def _known(self, key: str) -> Answer | None:
        entry = self.cache.get(key) if self.cache else None
        if not entry:
            return None
        text, finish_reason, tokens = str(entry["text"]), str(entry["finish_reason"]), int(entry["tokens"])
        reasoning = str(entry.get("reasoning") or "")
        return Answer(text, finish_reason, tokens, cached=True, seconds=entry.get("seconds"), reasoning=reasoning)

    def _ask_all(self, waiting: Mapping[str, Prompt], when_away: WhenAway) -> dict[str, Answer | NoAnswer]:
        found: dict[str, Answer | NoAnswer] = {}
        gone: str | None = None
        in_a_row = 0
        lock, stop = threading.Lock(), threading.Event()

        def one(key: str, prompt: Prompt) -> None:
            nonlocal in_a_row
            try:
                answer = self._answer(key, prompt, stop)
            except ServerRefused:
                stop.set()  # before another thread begins a request that would be refused as well
                raise
            with lock:
                found[key] = answer
                away = answer if isinstance(answer, NoAnswer) and answer.kind == "unavailable" else None
                in_a_row = in_a_row + 1 if away else 0
                if away and in_a_row >= min(_PATIENCE, len(waiting)):
                    stop.set()
                    raise ServerUnavailable(f"{self._where}: {away.words}")

        pool = ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="llm")
        try:
            for future in as_completed([pool.submit(one, key, prompt) for key, prompt in waiting.items()]):
                future.result()
        except ServerUnavailable as error:
            if when_away == "raise":
                raise
            gone = str(error)
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
        if gone is not None:
            for key in waiting:
                known = found.get(key)
                stopped = isinstance(known, NoAnswer) and known.kind == "budget" and not self.budget.spent
                if known is None or stopped:
                    found[key] = NoAnswer("unavailable", gone)
        return found

    def _answer(self, key: str, prompt: Prompt, stop: threading.Event) -> Answer | NoAnswer:
        body = self.body(prompt)
        plain = self.body(replace(prompt, form=None))
        try:
            answer = self._formed(body, plain, stop) if plain != body else self._patiently(body, stop)
        except NotThis as problem:
            return problem.outcome
        if self.cache:
            self.cache.put(key, {"model": body["model"], **asdict(answer)})
        return answer

    def _formed(self, body: Mapping[str, Any], plain: Mapping[str, Any], stop: threading.Event) -> Answer:
        """The answer to a request with a form, or to the same without where the server refuses that, or holds the
        model's thinking to the form and leaves the answer empty (vllm-project/vllm#48863, LM Studio's #1773)."""
        if not self._takes_forms:
            return self._patiently(plain, stop)
        empty: Answer | None = None
        try:
            answer = self._patiently(body, stop)
            if answer.text.strip() or answer.finish_reason != "stop":
                return answer
            empty, why, lasting = answer, "left the answer empty", True
        except FormRefused as refused:
            why, lasting = f"refused: {refused}", refused.lasting
        answer = self._patiently(plain, stop)
        if lasting and self._takes_forms and (empty is None or answer.text.strip()):
            self._takes_forms = False
            log.info("llm: asked without response_format, which the server %s", why)
        return answer

    def _patiently(self, body: Mapping[str, Any], stop: threading.Event) -> Answer:
        """The answer to one request, however often it has to be sent. Raises NotThis or ServerRefused."""
        retrying = Retrying(
            stop=stop_any(stop_after_attempt(1 + self.settings.retries), stop_when_event_set(stop)),
            wait=self._pause,
            retry=retry_if_exception_type(Again),
            sleep=sleep_using_event(stop),
            before_sleep=_note,
            reraise=True,
        )
        return retrying(self._try, body, stop)

    def _try(self, body: Mapping[str, Any], stop: threading.Event) -> Answer:
        """One request. Raises Again, NotThis or ServerRefused."""
        if stop.wait(max(0.0, self._not_before - time.monotonic())):
            raise NotThis("budget", "not asked: the run was stopped")
        texts = [message["content"] for message in body["messages"]]
        most = int(body.get("max_tokens") or body.get("max_completion_tokens") or self.settings.max_tokens)
        # A token is at least a byte of UTF-8, so this is what it costs at most.
        reserved = most + sum(len(text.encode("utf-8", "replace")) + OVERHEAD for text in texts)
        if not self.budget.reserve(reserved):
            raise NotThis("budget", f"not asked: the budget is spent after {self.budget}")
        cost = reserved  # of a request whose end we do not see: it may have been answered, and charged
        try:
            started = time.perf_counter()
            status, headers, raw = self._send(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))
            seconds = round(time.perf_counter() - started, 4)
            if status != 200:
                cost = 0
                raise self._refusal(status, headers, *replies.reason(raw), formed="response_format" in body)
            cost = most + sum(map(estimated_tokens, texts))
            reply = replies.read(headers, raw, self._tidy)
            usage = replies.usage(reply)
            cost = cost if usage is None else usage
            if error := replies.error_of(reply):
                raise self._error(*error, headers, raw, formed="response_format" in body)
            said = replies.content(reply, self._tidy, raw)
            if said.finish_reason in replies.BROKEN_OFF:
                raise Again("unavailable", f"the server broke the reply off ({said.finish_reason})", said.text)
            if usage is None:
                cost = sum(map(estimated_tokens, [*texts, said.text, said.reasoning]))
            return Answer(said.text, said.finish_reason, cost, seconds=seconds, reasoning=said.reasoning)
        except Unsent:
            cost = 0
            raise
        finally:
            self.budget.settle(reserved, cost)

    def _send(self, content: bytes) -> Reply:
        """Status, headers and body. llm.timeout is for all of it: a server that drips is late as well."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        seconds = self.settings.timeout
        try:
            return self._exchanges.send(
                "POST", self.url, seconds=seconds, largest=_LARGEST, content=content, headers=headers
            )
        except TooLarge as error:
            raise NotThis("malformed", str(error)) from error
        except TooSlow as error:
            raise Again("unavailable", f"no whole answer within {seconds:g} s (llm.timeout)") from error
        except httpx.ConnectTimeout as error:
            raise Unsent("unavailable", "no connection within the time allowed; is it reachable?") from error
        except httpx.TimeoutException as error:
            raise Again("unavailable", f"no answer within {self.settings.timeout:g} s (llm.timeout)") from error
        except httpx.DecodingError as error:
            raise Again("unavailable", f"a garbled answer: {self._tidy(str(error))}") from error
        except httpx.TransportError as error:
            words = self._tidy(str(error)) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in words:
                raise ServerRefused(
                    f"{self._where}: its certificate is not trusted ({words}); name the authority that signed it in "
                    "SSL_CERT_FILE"
                ) from error
            if "WRONG_VERSION_NUMBER" in words or "RECORD_LAYER_FAILURE" in words:
                raise ServerRefused(f"{self._where}: no TLS is spoken there; write http:// in llm.url") from error
            kind = Unsent if isinstance(error, httpx.ConnectError) else Again
            raise kind("unavailable", f"{words}; is it running and reachable?") from error

    def _error(
        self, status: int | None, words: str, code: str, headers: httpx.Headers, raw: bytes, *, formed: bool
    ) -> Exception:
        """What to raise for an error in a reply with status 200."""
        if status is not None or code in _CODES:
            return self._refusal(status or _CODES[code], headers, words, code, formed=formed)
        return NotThis("malformed", f"an error instead of an answer: {self._tidy(words)}", replies.visible(raw))

    def _refusal(self, status: int, headers: httpx.Headers, reason: str, code: str, *, formed: bool) -> Exception:
        """What to raise for a status other than 200. formed: the request had a form."""
        said = f"status {status}, {self._tidy(reason)}"
        if status in (401, 403):
            how = "the key in" if self._key else "no key: set"
            return ServerRefused(f"{self._where} refuses who we are ({how} {API_KEY}): {said}")
        if code == "insufficient_quota" or status == 402:
            return ServerRefused(f"{self._where}: the account has no credit left: {said}")
        if status in (404, 405, 410) or 300 <= status < 400:
            target = f", it points to {self._tidy(headers['location'])}" if "location" in headers else ""
            return ServerRefused(
                f"{self._where}: there is no model {self.settings.model!r}, or no chat completions ({said}{target}); "
                "check llm.url (it ends in /v1 on most servers) and llm.model"
            )
        if formed and status in (400, 422, 500, 501):
            return FormRefused(said, lasting=status != 500)
        if status in (408, 425, 429) or (status >= 500 and status != 501):
            wait = replies.retry_after(headers.get("retry-after"))
            if wait > self.settings.max_wait:
                return NotThis("unavailable", f"{said}; it asks to wait {wait:.0f} s, above llm.max_wait")
            if wait:
                self._not_before = max(self._not_before, time.monotonic() + wait)
            return Again("unavailable", said)
        return NotThis("refused", f"{said}; what a request holds can be changed by llm.extra", replies.shown(reason))

    def _pause(self, state: RetryCallState) -> float:
        """Exponential with full jitter. What Retry-After asked for is waited for by everybody, before each request."""
        return random.uniform(0, min(self.settings.max_wait, _FIRST_PAUSE * 2 ** (state.attempt_number - 1)))

    @property
    def _where(self) -> str:
        return f"language model at {self.settings.url}"

    def _tidy(self, text: str) -> str:
        """One line, cut, and without the key, which some servers repeat."""
        text = " ".join(text.split())
        return (text.replace(self._key, "…") if self._key else text)[:200]


def _endpoint(settings: LlmSettings) -> str:
    if not settings.url or not settings.model:
        missing = "llm.url" if not settings.url else "llm.model"
        raise SettingsError(
            f"setting {missing} is not set: name an OpenAI-compatible server, such as http://localhost:8000/v1, and "
            "the model that it serves"
        )
    try:
        url = httpx.URL(settings.url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"setting llm.url is {settings.url!r}: {error}") from error
    if url.userinfo:
        raise SettingsError(f"setting llm.url has credentials before the @ of …{url.host}; put the key into {API_KEY}")
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(f"setting llm.url is {settings.url!r}, expected http://HOST:PORT/v1 or https://…")
    return str(url.copy_with(path=url.path.rstrip("/") + "/chat/completions"))


def _api_key(environ: Mapping[str, str]) -> str:
    key = environ.get(API_KEY, "").strip()  # a key that was read from a file ends in a newline
    if not key.isascii() or (key and not key.isprintable()):
        raise SettingsError(f"{API_KEY} holds a character that no key has")
    return key


def _note(state: RetryCallState) -> None:
    log.info("llm: try %d failed (%s)", state.attempt_number, state.outcome.exception() if state.outcome else None)
