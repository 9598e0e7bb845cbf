"""Reads chunks in several processes, this one and its workers, and returns the batches in order.

This process reads in the same thread that uses the batches: with a second thread, every worker's reply would wait until
that thread releases the interpreter lock.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from typing import IO, cast

from flywheel_core.config_file import environment_with
from flywheel_core.errors import StorageError
from flywheel_core.lake.chunks import Batch, Wanted, read_chunk
from flywheel_core.lake.raw_lines import Chunk
from flywheel_core.lake.worker import ENCODER, REPLIES, Task, read_tables, receive, send

MOST_WORKERS = 3
"""More workers would wait for this process, which uses what they read."""

_AHEAD = 3
"""Tasks that a worker has at once, so that it goes on while this process is busy with what was read."""

_ALLOCATOR = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "16777216",
}
"""Environment that makes a worker keep the memory of one chunk for the next.

Releasing and fetching it again would take a fifth of the time.
"""


def read_in_parallel(chunks: Iterable[Chunk], wanted: Wanted) -> Iterator[Batch]:
    """Yield the batches of `chunks`, in their order, with only a few of them in memory.

    Raises StorageError when a file cannot be read or a worker dies. No process is left when the iteration ends.
    """
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_worker()) for _ in range(_worker_count())]
        most_under_way = 2 * (len(workers) + 1) * _AHEAD
        left = iter(chunks)
        found: dict[int, Batch] = {}
        given = handed_out = 0
        while True:
            for worker in workers:
                while worker.has_answered():
                    found.update(worker.answer())
            for worker in workers:
                while (
                    worker.has_room() and handed_out - given < most_under_way and (chunk := next(left, None))
                ):
                    worker.ask(handed_out, chunk, wanted)
                    handed_out += 1
            if given in found:
                yield found.pop(given)
                given += 1
            elif handed_out - given < most_under_way and (chunk := next(left, None)):
                found[handed_out] = read_chunk(chunk, wanted)
                handed_out += 1
            elif handed_out > given:
                wait([worker.answers_at for worker in workers if worker.tasks])
            else:
                return


def _worker_count() -> int:
    """Return the number of workers: one per processor beyond the one of this process, at most `MOST_WORKERS`."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, processors - 1)


class _Worker:
    """A worker as its parent sees it.

    slots: descriptors of the open files that no task uses. tasks: what it has not answered yet, with the number of each.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", slots: list[int]) -> None:
        self._process = process
        self._questions, self._answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        self._slots = slots
        self._is_there = False
        self.tasks: deque[tuple[int, Task]] = deque()

    @property
    def answers_at(self) -> int:
        """The file descriptor to wait on for its next reply."""
        return self._answers.fileno()

    def has_answered(self) -> bool:
        """Return whether a reply is expected, and can be read."""
        return bool((self.tasks or not self._is_there) and wait([self.answers_at], timeout=0))

    def has_room(self) -> bool:
        """Return whether it can take a task: it has started, and has a free slot."""
        return self._is_there and bool(self._slots)

    def ask(self, number: int, chunk: Chunk, wanted: Wanted) -> None:
        """Give it a chunk to read."""
        task = Task(chunk, wanted, self._slots.pop())
        self.tasks.append((number, task))
        with contextlib.suppress(BrokenPipeError):  # it has died; `answer` reports that
            send(self._questions, ENCODER.encode(task))

    def answer(self) -> dict[int, Batch]:
        """Return task number -> batch for its oldest task; nothing for its first reply, which says that it has started.

        Raises StorageError when the worker has died or could not read the chunk.
        """
        content = receive(self._answers)
        if content is None:
            reads = self.tasks[0][1].chunk.path if self.tasks else "raw files"
            raise StorageError(
                f"a process that reads {reads} ended with status {self._process.wait()}",
                hint="the system may have run out of memory; try again",
            )
        if not self._is_there:
            self._is_there = True
            return {}
        reply = REPLIES.decode(content)
        if reply.error is not None:
            raise StorageError(reply.error)
        number, task = self.tasks.popleft()
        tables = read_tables(task.slot, reply.size)
        self._slots.append(task.slot)
        return {number: Batch(reply.path, reply.lines, reply.blank, reply.bytes_read, *tables)}


@contextlib.contextmanager
def _worker() -> Iterator[_Worker]:
    """Start a worker, and kill it when the block ends."""
    with contextlib.ExitStack() as stack:
        slots = [stack.enter_context(tempfile.TemporaryFile()).fileno() for _ in range(_AHEAD)]
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "flywheel_core.lake.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                pass_fds=slots,
                env=environment_with({**_ALLOCATOR, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
                start_new_session=True,  # Ctrl-C reaches only the parent, which ends its worker
            )
        )
        stack.callback(process.kill)
        yield _Worker(process, slots)
