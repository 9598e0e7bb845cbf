"""Responses after which the connection closes: because the client asked for that, or speaks HTTP/1.0."""

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from flywheel_core.serve.limits import BoundedProtocol  # which imports this module


class LastAnswer:
    """The transport for a connection's last response: `close` waits for the rest of the request body.

    Closing a connection while data is still arriving resets it, and the client loses the response, for
    instance the 503 that tells it to retry later. The data that arrives is dropped; the deadline for the body
    still applies.
    """

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self._protocol = protocol
        self.write = protocol.transport.write

    def close(self) -> None:
        """Close now, or leave it to the end of the request body if that is still arriving."""
        if not self._protocol.body_is_coming:
            self._protocol.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol.transport, name)


def leave_out_chunks(cycle: RequestResponseCycle) -> None:
    """Send responses without a Content-Length unchunked, for HTTP/1.0 clients.

    uvicorn would send them chunked, which HTTP/1.0 does not know. The end of the connection, which follows
    anyway, marks the end of the response instead.
    """
    framed = cycle.send
    open_ended = False

    async def send(message: Any) -> None:
        nonlocal open_ended
        if message["type"] == "http.response.start":
            open_ended = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if open_ended:
                cycle.chunked_encoding = False
        elif open_ended:
            cycle.expected_content_length = len(message.get("body", b""))  # satisfies uvicorn's length check
        await framed(message)

    cycle.send = send  # type: ignore[method-assign] # uvicorn makes its cycles itself
