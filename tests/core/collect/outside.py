"""The outside world of the tests: one server on a real socket as models, scorer and collector."""

import asyncio
import json
import ssl
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from flywheel_core.config import Config

CANDIDATES = ("general", "math", "code")


@dataclass
class Request:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What the server writes back.

    delay: seconds to wait before the reply. raw: exactly these bytes instead of a reply. hang: write nothing
    until the client leaves. close: close the connection after the reply.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    delay: float = 0.0
    raw: bytes | None = None
    hang: bool = False
    chunked: bool = False
    close: bool = False


Handler = Callable[[Request], Reply | Awaitable[Reply]]


def chat(text: str | None, finish_reason: str = "stop", tokens: tuple[int, int] | None = (10, 20)) -> Reply:
    """Return a completion with one choice."""
    value: dict[str, Any] = {
        "id": "c1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
        ],
    }
    if tokens is not None:
        value["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return as_json(value)


def as_json(value: Any, status: int = 200, **more: Any) -> Reply:
    return Reply(status, json.dumps(value, ensure_ascii=False).encode(), **more)


class Outside:
    """Answers `/<model>/v1/chat/completions`, `/v1/evaluate` and `/collect` with the handlers it is given.

    under_way: number of requests being answered now, by path; most: the highest such number so far. gone: how
    many clients left while their reply was held back. open: one task for each open connection.
    """

    def __init__(self, certificates: ssl.SSLContext | None = None) -> None:
        self.handlers: dict[str, Handler] = {}
        self.requests: list[Request] = []
        self.connections = 0
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.gone = 0
        self.open: set[asyncio.Task[None]] = set()
        self.left = asyncio.Event()
        self._certificates = certificates
        self.port = 0
        for model in CANDIDATES:
            self.model(model, lambda request: chat(f"an answer to {request.json['messages'][-1]['content']}"))
        self.scorer(lambda request: as_json({"score": 0.5}))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._certificates
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self.open):
            task.cancel()
        await asyncio.gather(*self.open, return_exceptions=True)

    @property
    def url(self) -> str:
        scheme = "http" if self._certificates is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    def model(self, name: str, handler: Handler) -> None:
        self.handlers[f"/{name}/v1/chat/completions"] = handler

    def scorer(self, handler: Handler) -> None:
        self.handlers["/v1/evaluate"] = handler

    def collector(self, handler: Handler) -> None:
        self.handlers["/collect"] = handler

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path.endswith(path)]

    def config(self, models: Sequence[str] = CANDIDATES, **settings: Any) -> Config:
        """Return a configuration whose addresses all lead here.

        `settings` go into `data_collection`, apart from `model`, which goes into every model.
        """
        model = {"input_price": 1.0, "output_price": 2.0, **settings.pop("model", {})}
        training = {
            "candidate_models": list(models),
            "evaluate_endpoint": f"{self.url}/v1/evaluate",
            **settings.pop("training", {}),
        }
        return Config.model_validate(
            {
                "data_collection": {
                    "storage_endpoint": f"{self.url}/collect",
                    "training": training,
                    **settings,
                },
                "routing": {"default_model": models[0]},
                "models": {
                    name: {"category": name, "base_url": f"{self.url}/{name}", **model} for name in models
                },
            }
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._serve(reader, writer):
                    pass
        finally:
            self.open.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = {
            name.lower(): value.strip()
            for name, value in (line.split(":", 1) for line in head[1:] if ":" in line)
        }
        request = Request(path, headers, await reader.readexactly(int(headers.get("content-length", 0))))
        self.requests.append(request)
        self.under_way[path] += 1
        self.most[path] = max(self.most[path], self.under_way[path])
        try:
            reply = self.handlers[path](request)
            if not isinstance(reply, Reply):
                reply = await reply
            if await self._left_while_waiting(reader, reply):
                return False
            return await _write(writer, reply)
        finally:
            self.under_way[path] -= 1

    async def _left_while_waiting(self, reader: asyncio.StreamReader, reply: Reply) -> bool:
        if not reply.hang and not reply.delay:
            return False
        try:
            async with asyncio.timeout(None if reply.hang else reply.delay):
                await reader.read(1)
        except TimeoutError:
            return False
        self.gone += 1
        self.left.set()
        return True


async def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `condition` holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the state waited for belongs to others and has no event
            await asyncio.sleep(0.005)


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    if reply.raw is not None:
        writer.write(reply.raw)
    else:
        headers = dict(reply.headers)
        if reply.chunked:
            headers["transfer-encoding"] = "chunked"
        else:
            headers["content-length"] = str(len(reply.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode("latin-1"))
        if reply.chunked:
            for at in range(0, len(reply.body), 7):
                piece = reply.body[at : at + 7]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(reply.body)
    await writer.drain()
    if reply.raw is not None or reply.close:
        writer.close()
        return False
    return True


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server with a certificate of its own for `name`, and of a client that trusts it.

    name: as in a certificate, such as `IP:127.0.0.1` or `DNS:models.invalid`.
    """
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
        f" -addext subjectAltName={name} -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
