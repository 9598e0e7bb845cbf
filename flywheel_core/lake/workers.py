"""Chunks read by two processes, this one and a worker, given back in order."""

import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, cast

import pyarrow as pa

from flywheel_core.config_file import environment_with
from flywheel_core.errors import StorageError
from flywheel_core.lake.chunks import Batch, Wanted, read_chunk
from flywheel_core.lake.raw_lines import Chunk
from flywheel_core.lake.worker import ENCODER, REPLIES, Task, receive, send

READERS = 2
AHEAD = 2
"""Chunks under way for each reader, those included that are read but not taken."""

_PIPE_BYTES = 1024 * 1024
_ALLOCATOR = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "536870912",
    "MALLOC_TOP_PAD_": "16777216",
}
"""The worker keeps the memory of one chunk for the next; to give it back and fetch it again costs a fifth of the time."""


def read_in_parallel(chunks: Iterable[Chunk], wanted: Wanted) -> Iterator[Batch]:
    """The batches of `chunks`, in their order, at most a few of them in memory.

    Raises StorageError when a file cannot be read or the worker dies. No process is left when the iteration ends.
    """
    worker = _start()
    readers: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
    readers.put(None)  # this process; it reads while the other one starts
    readers.put(worker)

    def read(chunk: Chunk) -> Batch:
        reader = readers.get()
        try:
            return read_chunk(chunk, wanted) if reader is None else _ask(reader, Task(chunk, wanted))
        finally:
            readers.put(reader)

    under_way: deque[Future[Batch]] = deque()
    with worker, ThreadPoolExecutor(READERS, thread_name_prefix="chunks") as threads:
        try:
            for chunk in chunks:
                under_way.append(threads.submit(read, chunk))
                if len(under_way) >= READERS * AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
            worker.kill()  # ends the read that a thread may still wait for


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "flywheel_core.lake.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        pipesize=_PIPE_BYTES,
        env=environment_with({**_ALLOCATOR, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
        start_new_session=True,  # Ctrl-C is for the parent, which ends its worker
    )


def _ask(worker: "subprocess.Popen[bytes]", task: Task) -> Batch:
    tasks, replies = cast(IO[bytes], worker.stdin), cast(IO[bytes], worker.stdout)
    try:
        send(tasks, ENCODER.encode(task))
        header = receive(replies)
        if header is None:
            raise BrokenPipeError
        reply = REPLIES.decode(header)
        if reply.error is not None:
            raise StorageError(reply.error)
        points, answers, rejects = (_unpacked(receive(replies)) for _ in range(3))
    except BrokenPipeError:
        raise StorageError(
            f"the process that read {task.chunk.path} ended with status {worker.wait()}",
            hint="the system may have run out of memory; try again",
        ) from None
    return Batch(reply.path, reply.lines, reply.blank, reply.bytes_read, points, answers, rejects)


def _unpacked(content: bytearray | None) -> pa.Table:
    if content is None:
        raise BrokenPipeError
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()
