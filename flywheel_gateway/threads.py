"""Threads for work that may never end: unlike those of the standard library's pool, they do not hold up the process's end."""

import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Given = ParamSpec("Given")
Work = SimpleQueue[Callable[[], None] | None]


class Threads(Executor):
    """Runs what is submitted in at most `most` daemon threads, first come, first served; they start when first needed."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._work: Work = SimpleQueue()
        self._threads: list[Thread] = []
        self._lock = Lock()
        # also when nobody refers to these threads any more, and at the end of the process
        self._end = weakref.finalize(self, _end, self._work, most)

    def submit(
        self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs
    ) -> Future[Result]:
        """Return the future of `fn(*args, **kwargs)`.

        Raises RuntimeError after `shutdown`, and when the system has no room for a further thread.
        """
        future: Future[Result] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                future.set_exception(error)

        with self._lock:
            if not self._end.alive:
                raise RuntimeError("these threads take no more work")
            if len(self._threads) < self._most:
                thread = Thread(target=_run, args=(self._work,), name=self._name, daemon=True)
                thread.start()
                self._threads.append(thread)
            self._work.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; the threads end after what they have been given, whether or not `cancel_futures`."""
        with self._lock:
            self._end()
        for thread in self._threads if wait else ():
            thread.join()


def _run(queue: Work) -> None:
    while (work := queue.get()) is not None:
        work()
        del work  # it holds a prompt


def _end(queue: Work, threads: int) -> None:
    """Let this many threads end once they have done what they were given."""
    for _ in range(threads):
        queue.put(None)
