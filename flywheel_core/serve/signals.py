"""What SIGTERM and SIGINT do to a process that serves."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import uvicorn


@contextlib.contextmanager
def signals_end_the_server_only(server: uvicorn.Server) -> Iterator[None]:
    """SIGTERM and SIGINT end the server, never the process, from before it listens until its work is done.

    While it serves uvicorn has handlers of its own, and raises the signal that ended it once more afterwards. One that
    comes before them has to be remembered: whoever reads that the server listens may end it in that moment, and whoever
    started this process may have it ignore signals, as a shell does with SIGINT of what it puts into the background.
    Main thread only: raises ValueError in another.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
