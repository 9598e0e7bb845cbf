"""Answers after which a connection ends: to a client that wants that, and in HTTP/1.0."""

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from flywheel_core.serve.limits import BoundedProtocol  # which imports this module


class LastAnswer:
    """The connection for the answer to a request that wants it closed: closing waits for the rest of the body.

    A connection that is closed while data still come is reset, and the client loses the answer, for instance the 503
    that tells it to come back. What comes is dropped; the deadline of the body holds.
    """

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self._protocol = protocol
        self.write = protocol.transport.write

    def close(self) -> None:
        """Close now, or leave it to the end of the body."""
        if not self._protocol.body_is_coming:
            self._protocol.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)


def leave_out_chunks(cycle: RequestResponseCycle) -> None:
    """HTTP/1.0 knows no chunks, in which uvicorn sends every answer without a length: there the end of the connection,
    which follows anyway, is the end of the answer."""
    framed = cycle.send
    open_ended = False

    async def send(message: Any) -> None:
        nonlocal open_ended
        if message["type"] == "http.response.start":
            open_ended = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if open_ended:
                cycle.chunked_encoding = False
        elif open_ended:
            cycle.expected_content_length = len(message.get("body", b""))  # what uvicorn takes is what comes
        await framed(message)

    cycle.send = send  # type: ignore[method-assign] # uvicorn makes its cycles itself
