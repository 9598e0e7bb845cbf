"""Writes of one event-loop turn leave together, in order, and before the connection closes."""

import asyncio

from flywheel_core.serve.gather import MAX_HELD_BYTES, GatheringTransport


class Written(asyncio.Transport):
    """A transport that records what would reach the operating system."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def made() -> tuple[Written, GatheringTransport]:
    below = Written()
    return below, GatheringTransport(below, asyncio.get_running_loop())


def test_head_and_body_are_one_call_at_the_end_of_the_turn() -> None:
    async def main() -> None:
        below, transport = await made()
        transport.write(b"head")
        transport.write(b"body")
        assert below.calls == []
        await asyncio.sleep(0)
        assert below.calls == [b"headbody"]
        transport.write(b"next")
        await asyncio.sleep(0)
        assert below.calls == [b"headbody", b"next"]

    asyncio.run(main())


def test_no_more_is_held_than_allowed() -> None:
    async def main() -> None:
        below, transport = await made()
        transport.write(b"a" * MAX_HELD_BYTES)
        assert below.calls == []
        transport.write(b"b")
        assert below.calls == [b"a" * MAX_HELD_BYTES + b"b"]
        await asyncio.sleep(0)
        assert len(below.calls) == 1

    asyncio.run(main())


def test_what_is_held_is_out_before_the_connection_closes() -> None:
    async def main() -> None:
        below, transport = await made()
        transport.write(b"last words")
        transport.close()
        assert below.calls == [b"last words"]
        assert transport.is_closing()
        await asyncio.sleep(0)
        assert below.calls == [b"last words"]

    asyncio.run(main())


def test_what_is_held_is_dropped_quietly_once_the_connection_is_lost() -> None:
    async def main() -> None:
        below, transport = await made()
        transport.write(b"too late")
        below.close()  # as when a client resets the connection
        await asyncio.sleep(0)
        assert below.calls == []

    asyncio.run(main())
