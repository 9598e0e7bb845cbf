"""Users of a gateway for measuring: raw HTTP/1.1 connections, one request at a time on each, timed to the last byte."""

import asyncio
import json
import time
from dataclasses import dataclass, field

QUESTION = "求解方程 x^2 + 2x - 3 = 0, and say in one sentence how you did it."


@dataclass
class Timing:
    """What users saw: seconds for each answer, and how long all of it took, in s."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


class User:
    """One connection that asks and waits for the whole answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "User":
        """A user on a fresh connection to loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, message: bytes) -> float:
        """Send a request; gives the seconds to the end of its answer. Raises RuntimeError for anything but a 200."""
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
        """End the connection."""
        self._writer.close()


def request(model: str, key: str, *, stream: bool) -> bytes:
    """A whole chat completion request; the question is always the same, ids are not needed."""
    body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
    content = json.dumps(body, ensure_ascii=False).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def busy(port: int, message: bytes, users: int, seconds: float) -> Timing:
    """Users who ask again as soon as they are answered, for some seconds."""
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
    """Requests at a steady rate per second, whether or not the ones before are answered."""
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
