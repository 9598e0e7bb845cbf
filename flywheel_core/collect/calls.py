"""A model as a call target, and the answer that a call ends with."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from aiohttp import encode_basic_auth
from yarl import URL

from flywheel_core.collect.answer import MAX_ANSWER_BYTES, Answer, is_event_stream, read_answer
from flywheel_core.collect.http import Endpoint
from flywheel_core.collect.question import Question
from flywheel_core.collect.retries import Attempt
from flywheel_core.collect.sampling import MARK_HEADER
from flywheel_core.collect.stream import StreamReader
from flywheel_core.config import Config, Model
from flywheel_core.config_file import secret
from flywheel_core.errors import ConfigError, UpstreamError

MODEL_HEADERS = ("x-higress-llm-model", "x-ai-eg-model")
"""Request headers with the model's name. Gateways in front of the models route by them, users' calls and ours alike."""


STREAM_BYTES = 2 * MAX_ANSWER_BYTES
"""Most bytes of a stream that is read as a whole: around each token, an event has 200 bytes."""
_PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Target:
    """A model as a call target."""

    name: str
    settings: Model
    endpoint: Endpoint

    @property
    def max_bytes(self) -> int:
        """Most bytes of a reply that are read."""
        return STREAM_BYTES if self.settings.stream_only else MAX_ANSWER_BYTES

    def body(self, question: Question) -> bytes:
        """Return the request with which the model is asked a question."""
        settings = self.settings
        name = settings.upstream_name or self.name
        return question.body_for(name, settings.extra_body, streamed=settings.stream_only)


def target_of(config: Config, name: str, environment: Mapping[str, str] | None = None) -> Target:
    """Return where and how to call a model. environment: holds keys and proxies, os.environ by default.

    Raises ConfigIncompleteError when its `base_url`, or the key or proxy that it names, is missing; ConfigError as
    `proxy_of`.
    """
    base_url = config.require(f"models.{name}.base_url")
    settings = config.models[name]
    named = dict.fromkeys(MODEL_HEADERS, header_text(name))
    headers = {"accept": "application/json", MARK_HEADER: "1", **named}
    if settings.api_key_env is not None:
        key = secret(settings.api_key_env, f"models.{name}.api_key_env", environment)
        headers["authorization"] = f"Bearer {key}"
    url = f"{base_url}{settings.api_path}/chat/completions"
    proxy = proxy_of(settings, name, environment)
    return Target(name, settings, Endpoint(url, headers, settings.connect_timeout, proxy))


def proxy_of(settings: Model, name: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the address of the proxy on the way to a model, user and password included; None without one.

    environment: holds the address, os.environ by default. Raises ConfigIncompleteError when it is missing, ConfigError
    when it is not the address of an HTTP proxy.
    """
    if settings.proxy_env is None:
        return None
    given = secret(settings.proxy_env, f"models.{name}.proxy_env", environment)
    address = given if "://" in given else f"http://{given}"  # curl and others accept a host and port alone
    try:
        url = URL(address)
        host = url.raw_host or ""
        usable = url.scheme == "http" and bool(host) and url.port != 0
        # Both as every call will: it must not fail then.
        host.encode("idna")
        encode_basic_auth(url.user or "", url.password or "", "latin-1")
    except ValueError:
        usable = False
    if not usable:  # its text, which may have a password in it, is not quoted
        raise ConfigError(
            f"models.{name}.proxy_env: {settings.proxy_env} does not hold the address of an HTTP proxy",
            hint="it is http://HOST:PORT or http://USER:PASSWORD@HOST:PORT",
        )
    return address


_AS_IT_IS = "".join(map(chr, range(ord(" "), ord("~") + 1))).replace("%", "")


def header_text(text: str) -> str:
    """Return `text` as a header value: `%` and what is not printable ASCII are percent-encoded UTF-8.

    `urllib.parse.unquote` gives `text` back.
    """
    return quote(text, safe=_AS_IT_IS, errors="replace")


_SHORTEST_KEY = 8
"""Fewest bytes of a key that is looked for in replies: a shorter one may be in them by chance."""


async def answer_of(attempt: Attempt, target: Target) -> Answer:
    """Return the answer or failure that a call to `target` ended with; a reply that quotes its key has `***` there."""
    reply, error = attempt.reply, attempt.error
    if reply is not None:
        body = reply.body
        key = target.endpoint.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if len(key) >= _SHORTEST_KEY:
            body = body.replace(key, b"***")
        content_type = reply.headers.get("content-type")
        if target.settings.stream_only and reply.status == 200 and is_event_stream(content_type):
            return await _read_stream(body)
        return read_answer(reply.status, content_type, body)
    if isinstance(error, UpstreamError):
        return Answer(error=error.code)
    codes: tuple[tuple[type[Exception], str], ...] = (
        (httpx.ConnectTimeout, "connect_timeout"),
        (httpx.ConnectError, "connect_failed"),
        (httpx.TimeoutException, "timeout"),
        (httpx.DecodingError, "malformed_body"),
    )
    code = next((code for kind, code in codes if isinstance(error, kind)), "connection_lost")
    return Answer(error=f"{code}: {error}"[:300])


async def _read_stream(body: bytes) -> Answer:
    reader = StreamReader()
    for start in range(0, len(body), _PIECE_BYTES):
        reader.feed(body[start : start + _PIECE_BYTES])
        await asyncio.sleep(0)  # a stream has thousands of events, and other requests wait meanwhile
    return reader.answer()
