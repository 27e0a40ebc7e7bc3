"""Any OpenAI-compatible endpoint as a chat model: Ollama, vLLM, LM Studio, llama-server, a hosted one."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from omni.capabilities import ChatDelta, ChatRequest, Message
from omni.errors import BadInput, ModelError
from omni_language.openai_wire import ToolCalls, delta_of, openai_messages, schema_in_words
from omni_language.sse import events, parse

if TYPE_CHECKING:
    import httpx

CONNECT_S = 3.0
SILENCE_S = 60.0  #: between two pieces of an answer; a cold model may load that long
RETRY_AFTER_S = (0.25, 1.0)  #: waits before the second and the third try
PASSING = {408, 429, 500, 502, 503, 504}  #: what may be over a moment later
FINISH = {"stop": "stop", "tool_calls": "stop", "function_call": "stop", "length": "length", "content_filter": "cut"}
#: How a schema is asked for, the strictest first; what an endpoint refuses once is not tried again.
STRICTNESS = ("json_schema", "json_object", "words")


class EndpointChat:
    """A chat model behind HTTP. Nothing is sent anywhere but to `url`.

    `model` may be empty: then the first one the endpoint lists is used. `silence_s` bounds the wait for
    the next piece of an answer.
    """

    native_tools = True

    def __init__(
        self, url: str, *, model: str = "", api_key: str = "", context: int = 8192, silence_s: float = SILENCE_S
    ) -> None:
        self.context_tokens = context
        self.url = url.rstrip("/")
        self.model = model
        self._key = api_key
        self._silence_s = silence_s
        self._client: httpx.AsyncClient | None = None
        self._strictness = 0
        self._plain = False  # the endpoint refuses the optional fields

    async def open(self) -> None:
        """Find the endpoint and a model there. Raises `ModelError` when it does not answer, so that another can."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                timeout=httpx.Timeout(self._silence_s, connect=CONNECT_S),
                trust_env=not is_local(self.url),
                follow_redirects=False,  # an endpoint that points elsewhere would take the key along
            )
        try:
            response = await self._client.get(f"{self.url}/models", timeout=CONNECT_S)
            listed = [entry.get("id", "") for entry in response.json().get("data", [])]
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except (ValueError, AttributeError, TypeError):
            listed = []  # not every endpoint lists its models
        if response.status_code in (401, 403):
            raise self._refused(response.status_code, b"")
        if not self.model:
            if not listed:
                raise ModelError(f"{self.url} does not say which models it has.", "Name one with `chat.model`.")
            self.model = listed[0]

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def prefill(self, messages: Sequence[Message], *, slot: str) -> None:
        """Nothing: there is no such call in this protocol; the servers keep a prefix cache of their own."""

    async def count_tokens(self, text: str) -> int:
        """An estimate (3.5 characters a token, rounded up): the protocol has no call for it."""
        return -(-2 * len(text) // 7)

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Answer a delta at a time; a tool call comes once it is whole.

        The last delta says `cut` when the endpoint ended in the middle. Raises `ModelError` when it can't be
        reached, refuses, sends garbage, or falls silent.
        """
        given = False
        for attempt in range(8):
            try:
                async with contextlib.aclosing(self._once(request)) as deltas:
                    async for delta in deltas:
                        given = True
                        yield delta
                return
            except _StepDown as refusal:
                if not self._step_down(request):
                    raise self._refused(refusal.status, refusal.body) from None
            except _Passing as passing:
                if given or attempt >= len(RETRY_AFTER_S):
                    raise passing.error from None
                await asyncio.sleep(max(RETRY_AFTER_S[attempt], min(passing.wait_s, 5.0)))
        raise ModelError(f"{self.url} refuses every form of the request.")

    async def _once(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        import httpx

        if self._client is None:
            raise ModelError("The chat endpoint is closed.")
        given = False
        try:
            async with self._client.stream(
                "POST", f"{self.url}/chat/completions", json=self._body(request)
            ) as response:
                await self._check(response)
                if "event-stream" not in response.headers.get("content-type", "event-stream"):
                    # Some gateways ignore `stream`.
                    whole = parse((await response.aread()).decode("utf-8", "replace"))
                    stream = whole_answer(whole)
                else:
                    stream = events(response.aiter_bytes())
                async with contextlib.aclosing(self._deltas(stream)) as deltas:
                    async for delta in deltas:
                        given = True
                        yield delta
        except httpx.TimeoutException as error:
            if isinstance(error, httpx.ConnectTimeout):
                raise _Passing(self._unreachable(error)) from error
            raise ModelError(
                f"The chat endpoint {self.url} said nothing for {self._silence_s:g} s.",
                "Check whether it is overloaded or still loading its model.",
            ) from error
        except httpx.HTTPError as error:
            if given:  # half an answer: what was said stays said
                yield ChatDelta(finish="cut")
                return
            raise _Passing(self._unreachable(error)) from error

    async def _deltas(self, stream: AsyncIterator[dict[str, Any]]) -> AsyncIterator[ChatDelta]:
        calls, finish, usage, any_event = ToolCalls(), "", {}, False
        async for event in stream:
            if "error" in event:
                raise self._refused(0, json.dumps(event).encode())
            any_event = True
            usage = event.get("usage") or usage
            text, pieces, ended = delta_of(event)
            calls.add(pieces)
            finish = FINISH.get(ended, "stop") if ended else finish
            if text:
                yield ChatDelta(text)
        if not any_event:
            raise ModelError(f"The chat endpoint {self.url} answered with nothing.", "Look into its log.")
        if finish != "":
            for call in calls.whole():
                yield ChatDelta(tool_call=call)
        yield ChatDelta(
            finish=finish or "cut",
            prompt_tokens=usage.get("prompt_tokens") or 0,
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
        )

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        strictness = STRICTNESS[self._strictness]
        messages = openai_messages(request.messages)
        body: dict[str, Any] = {
            "model": self.model,
            "stream": True,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if not self._plain:
            body |= {"stream_options": {"include_usage": True}, "seed": request.seed}
        if request.stop:
            body["stop"] = list(request.stop)
        if request.tools:
            body["tools"] = list(request.tools)
        if request.schema is not None:
            if strictness == "json_schema":
                body["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": request.schema, "strict": True},
                }
            else:
                messages = schema_in_words(messages, request.schema)
                if strictness == "json_object":
                    body["response_format"] = {"type": "json_object"}
        return body | {"messages": messages}

    def _step_down(self, request: ChatRequest) -> bool:
        """Ask for less than before. False when there is nothing left to leave out."""
        if request.schema is not None and self._strictness + 1 < len(STRICTNESS):
            self._strictness += 1
            return True
        if not self._plain:
            self._plain = True
            return True
        return False

    async def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        body = await response.aread()
        if status in PASSING:
            wait = response.headers.get("retry-after", "")
            raise _Passing(self._refused(status, body), float(wait) if wait.isdigit() else 0.0)
        if status in (400, 422):
            if b"context" in body and (b"length" in body or b"exceed" in body or b"maximum" in body):
                raise BadInput(
                    "The conversation is longer than the endpoint's model can read.", "Start a new conversation."
                )
            raise _StepDown(status, body)
        raise self._refused(status, body)

    def _unreachable(self, error: Exception) -> ModelError:
        return ModelError(
            f"The chat endpoint {self.url} does not answer ({type(error).__name__}).",
            "Start it, or clear `chat.endpoint` to use the embedded model.",
        )

    def _refused(self, status: int, body: bytes) -> ModelError:
        said = reason(body)
        if status in (401, 403):
            return ModelError(f"The chat endpoint {self.url} wants a valid key{said}.", "Set `chat.api_key`.")
        if status == 404:
            return ModelError(
                f"The chat endpoint {self.url} has no model {self.model!r}, or is not at this path{said}.",
                "Check `chat.model` and `chat.endpoint` (it usually ends in /v1).",
            )
        code = f" with status {status}" if status else ""
        return ModelError(f"The chat endpoint {self.url} refused{code}{said}.", "Look into its log.")


class _StepDown(Exception):
    """The endpoint does not know something in the request."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body


class _Passing(Exception):
    """What may be over a moment later."""

    def __init__(self, error: ModelError, wait_s: float = 0.0) -> None:
        self.error, self.wait_s = error, wait_s


async def whole_answer(answer: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """An answer that was not streamed, as the one event of a stream."""
    for choice in answer.get("choices") or []:
        choice["delta"] = choice.get("message") or {}
        for index, call in enumerate(choice["delta"].get("tool_calls") or []):
            call.setdefault("index", index)
    yield answer


def reason(body: bytes) -> str:
    """ ": what the server said", short, or nothing."""
    try:
        error = json.loads(body)["error"]
        text = error.get("message", "") if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode("utf-8", "replace")
    text = " ".join(str(text).split())[:200].rstrip(".")
    return f": {text}" if text else ""


def is_local(url: str) -> bool:
    """Whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
