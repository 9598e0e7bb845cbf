"""What SIGTERM, SIGINT and SIGHUP do to a process that serves."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import uvicorn


@contextlib.contextmanager
def signals_end_the_server_only(server: uvicorn.Server) -> Iterator[None]:
    """SIGTERM, SIGINT and SIGHUP end the server, never the process, from before it listens until its work is done.

    While it serves uvicorn has handlers of its own, and raises the signal that ended it once more afterwards. One that
    comes before them has to be remembered: whoever reads that the server listens may end it in that moment, and whoever
    started this process may have it ignore signals, as a shell does with SIGINT of what it puts into the background. SIGHUP, which
    a terminal that is closed sends, stays ignored where it was: `nohup` says by that that the server goes on.
    Main thread only: raises ValueError in another.
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
