"""`python -m benchmarks.callers CALLER ADDRESS`: measure one way to ask five models and score their answers.

`flywheel` is what the gateway uses; the others are alternatives that it could have been built on. Prints one
JSON line: prompts_per_s, p50_ms, p99_ms, cpu_us_per_call, failed.
"""

import argparse
import asyncio
import json
import resource
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvloop
from pyreqwest.client import ClientBuilder
from pyreqwest.compatibility.httpx import HttpxTransport

from benchmarks.common import percentile
from flywheel_core.collect import Fanout
from flywheel_core.collect.pool import PooledHttp
from flywheel_core.config import DEFAULT_CANDIDATES, Config

QUESTION = "求解方程 x^2 + 2x - 3 = 0"
CALLS = 2 * len(DEFAULT_CANDIDATES)

Post = Callable[[str, bytes], Awaitable[bytes]]
Prompt = Callable[[], Awaitable[bool]]
"""Asks all models one question and scores the answers; returns whether everything succeeded."""


class FlywheelCaller:
    """Flywheel's complete fan-out: all that a collected request costs except for sampling."""

    def __init__(self, address: str, certificate: Path | None) -> None:
        model = {"base_url": address, "max_concurrency": 10_000}
        config = Config.model_validate(
            {
                "data_collection": {
                    "max_in_flight": 10_000,
                    "training": {"evaluate_endpoint": f"{address}/v1/evaluate"},
                },
                "models": {name: {"category": name, **model} for name in DEFAULT_CANDIDATES},
            }
        )
        self._fanout = Fanout(config)
        if certificate is not None:
            trusting = PooledHttp(ssl.create_default_context(cafile=str(certificate)))
            legs = self._fanout._legs
            self._fanout._http = legs._http = legs._scorer._http = trusting

    async def __call__(self) -> bool:
        point = await self._fanout.collect(QUESTION)
        return all(score is not None for score in point.scores.values())


class BareCaller:
    """The same calls through a bare client: it builds bodies and parses replies, nothing else."""

    def __init__(self, address: str, post: Post) -> None:
        self._address = address
        self._post = post

    async def __call__(self) -> bool:
        scores = await asyncio.gather(*(self._leg(name) for name in DEFAULT_CANDIDATES))
        return all(0 <= score <= 1 for score in scores)

    async def _leg(self, model: str) -> float:
        chat = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": False}
        reply = json.loads(
            await self._post(f"{self._address}/v1/chat/completions", json.dumps(chat).encode())
        )
        pair = {"question": QUESTION, "answer": reply["choices"][0]["message"]["content"]}
        reply = json.loads(await self._post(f"{self._address}/v1/evaluate", json.dumps(pair).encode()))
        return float(reply["score"])


def httpx_post(client: httpx.AsyncClient) -> Post:
    """Return a POST through httpx."""

    async def post(url: str, body: bytes) -> bytes:
        reply = await client.post(url, content=body, headers={"content-type": "application/json"})
        return reply.content

    return post


def pyreqwest_post(builder: ClientBuilder) -> Post:
    """Return a POST through pyreqwest."""
    client = builder.build()

    async def post(url: str, body: bytes) -> bytes:
        request = client.post(url).header("content-type", "application/json").body_bytes(body)
        async with request.build_streamed() as reply:
            return (await reply.bytes()).to_bytes()

    return post


def caller(name: str, address: str, certificate: Path | None) -> Prompt:
    """Return the caller of that name."""
    if name == "flywheel":
        return FlywheelCaller(address, certificate)
    builder = ClientBuilder().no_proxy()
    if certificate is not None:
        builder = builder.add_root_certificate_pem(certificate.read_bytes())
    if name == "pyreqwest":
        return BareCaller(address, pyreqwest_post(builder))
    options: dict[str, Any] = {"timeout": 60.0, "trust_env": False}
    if name == "httpx-pyreqwest":
        options["transport"] = HttpxTransport(builder.build())
    else:
        options["limits"] = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        if certificate is not None:
            options["verify"] = ssl.create_default_context(cafile=str(certificate))
    return BareCaller(address, httpx_post(httpx.AsyncClient(**options)))


async def measure(ask: Prompt, in_flight: int, seconds: float) -> dict[str, float]:
    """Keep `in_flight` prompts in progress for `seconds`, after one prompt to warm up; return the figures."""
    failed = 0
    times: list[float] = []
    await ask()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()

    async def one_after_another() -> None:
        nonlocal failed
        while time.perf_counter() < start + seconds:
            began = time.perf_counter()
            failed += not await ask()
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
    elapsed = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "prompts_per_s": len(times) / elapsed,
        "p50_ms": percentile(times, 0.5) * 1e3,
        "p99_ms": percentile(times, 0.99) * 1e3,
        "cpu_us_per_call": cpu / len(times) / CALLS * 1e6,
        "failed": failed,
    }


def main() -> None:
    """Read the command line and measure one caller."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.callers", description=__doc__)
    parser.add_argument("caller", choices=["flywheel", "httpx", "httpx-pyreqwest", "pyreqwest"])
    parser.add_argument("address", help="http://HOST:PORT of models and scorer")
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--certificate", type=Path, help="PEM file to trust")
    arguments = parser.parse_args()

    async def run() -> dict[str, float]:
        ask = caller(arguments.caller, arguments.address, arguments.certificate)
        return await measure(ask, arguments.in_flight, arguments.seconds)

    print(json.dumps(uvloop.run(run())))


if __name__ == "__main__":
    main()
