"""Handle SIGTERM, SIGINT and SIGHUP in a process that serves."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import uvicorn


@contextlib.contextmanager
def signals_end_the_server_only(server: uvicorn.Server) -> Iterator[None]:
    """Make SIGTERM, SIGINT and SIGHUP stop the server instead of killing the process.

    This holds from before the server listens until its work is done. While it serves, uvicorn has its own
    handlers, and afterwards it raises the signal that stopped it once more. A signal that arrives before then
    must be remembered, because whoever reads that the server listens may stop it at that moment. SIGINT is
    handled even if the process was started with it ignored, as shells do for background jobs. SIGHUP, which a
    closing terminal sends, stays ignored if it was: that is how `nohup` asks for the server to go on. Main
    thread only: raises ValueError in any other.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
