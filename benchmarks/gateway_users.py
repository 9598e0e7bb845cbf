"""Users of a gateway: raw HTTP/1.1 connections, one request at a time, timed to the last byte."""

import asyncio
import json
import time
from dataclasses import dataclass, field

QUESTION = "求解方程 x^2 + 2x - 3 = 0, and say in one sentence how you did it."


@dataclass
class Timing:
    """What users saw: seconds for each answer, and seconds for the whole measurement."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


class User:
    """One connection that asks and waits for the complete answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "User":
        """Open a new connection to a loopback port."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, message: bytes) -> float:
        """Send a request; return the seconds to the end of its answer.

        Raises RuntimeError unless it is a 200.
        """
        began = time.perf_counter()
        self._writer.write(message)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"answered {head[:300]!r}")
        at = head.find(b"content-length:")
        if at >= 0:
            await self._reader.readexactly(int(head[at + 15 :].split(b"\r\n", 1)[0]))
        else:
            while size := int(await self._reader.readline(), 16):
                await self._reader.readexactly(size + 2)
            await self._reader.readline()
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def request(model: str, key: str, *, stream: bool) -> bytes:
    """Return the bytes of a chat completion request, always with the same question."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
    content = json.dumps(body, ensure_ascii=False).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def busy(port: int, message: bytes, users: int, seconds: float) -> Timing:
    """Simulate users who ask again as soon as they are answered, for `seconds`."""
    timing = Timing()
    ends = time.perf_counter() + seconds
    began = time.perf_counter()

    async def one() -> None:
        user = await User.connect(port)
        while time.perf_counter() < ends:
            timing.latencies.append(await user.ask(message))
        user.close()

    await asyncio.gather(*(one() for _ in range(users)))
    timing.seconds = time.perf_counter() - began
    return timing


async def steady(port: int, message: bytes, rate: float, seconds: float) -> Timing:
    """Send `rate` requests per second, whether or not the previous ones are answered."""
    timing = Timing()
    idle: list[User] = []
    asking: set[asyncio.Task[None]] = set()
    began = time.perf_counter()

    async def one() -> None:
        user = idle.pop() if idle else await User.connect(port)
        timing.latencies.append(await user.ask(message))
        idle.append(user)

    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        task = asyncio.create_task(one())
        asking.add(task)
        task.add_done_callback(asking.discard)
    await asyncio.gather(*asking)
    timing.seconds = time.perf_counter() - began
    for user in idle:
        user.close()
    return timing
