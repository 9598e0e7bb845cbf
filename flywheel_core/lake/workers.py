"""Chunks read by two processes, this one and a worker, given back in order.

The worker is `python -m flywheel_core.lake.workers`. It takes frames on its standard input and answers on its standard
output; a frame is its length in four bytes, then its content. It ends when its input does.
"""

import gc
import os
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, cast

import msgspec
import pyarrow as pa

from flywheel_core.config_file import environment_with
from flywheel_core.errors import StorageError
from flywheel_core.lake.chunks import Batch, Wanted, read_chunk
from flywheel_core.lake.raw_lines import Chunk

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


class _Task(msgspec.Struct, frozen=True):
    chunk: Chunk
    wanted: Wanted


class _Reply(msgspec.Struct, frozen=True):
    """What came of a task; without error, the frames of the batch's three tables follow."""

    path: str
    lines: int = 0
    blank: int = 0
    bytes_read: int = 0
    error: str | None = None


_TASKS = msgspec.msgpack.Decoder(_Task)
_REPLIES = msgspec.msgpack.Decoder(_Reply)
_ENCODER = msgspec.msgpack.Encoder()


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
            return read_chunk(chunk, wanted) if reader is None else _ask(reader, _Task(chunk, wanted))
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


def main() -> None:
    """Answer tasks until the input ends."""
    gc.disable()  # nothing that is read here refers to itself
    tasks, replies = sys.stdin.buffer, sys.stdout.buffer
    while (frame := _receive(tasks)) is not None:
        task = _TASKS.decode(frame)
        try:
            batch = read_chunk(task.chunk, task.wanted)
        except StorageError as error:
            _send(replies, _ENCODER.encode(_Reply(task.chunk.path, error=error.message)))
            continue
        reply = _Reply(batch.path, batch.lines, batch.blank, batch.bytes_read)
        _send(replies, _ENCODER.encode(reply))
        for table in (batch.points, batch.answers, batch.rejects):
            _send(replies, _packed(table))


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "flywheel_core.lake.workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        pipesize=_PIPE_BYTES,
        env=environment_with({**_ALLOCATOR, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}),
        start_new_session=True,  # Ctrl-C is for the parent, which ends its workers
    )


def _ask(worker: "subprocess.Popen[bytes]", task: _Task) -> Batch:
    tasks, replies = cast(IO[bytes], worker.stdin), cast(IO[bytes], worker.stdout)
    try:
        _send(tasks, _ENCODER.encode(task))
        header = _receive(replies)
        if header is None:
            raise BrokenPipeError
        reply = _REPLIES.decode(header)
        if reply.error is not None:
            raise StorageError(reply.error)
        points, answers, rejects = (_unpacked(_receive(replies)) for _ in range(3))
    except BrokenPipeError:
        raise StorageError(
            f"the process that read {task.chunk.path} ended with status {worker.wait()}",
            hint="the system may have run out of memory; try again",
        ) from None
    return Batch(reply.path, reply.lines, reply.blank, reply.bytes_read, points, answers, rejects)


def _send(pipe: IO[bytes], content: "bytes | pa.Buffer") -> None:
    pipe.write(len(content).to_bytes(4, "big"))
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytearray | None:
    """The next frame, None where the pipe ends."""
    head = _exactly(pipe, 4)
    return None if head is None else _exactly(pipe, int.from_bytes(head, "big"))


def _exactly(pipe: Any, size: int) -> bytearray | None:
    content = bytearray(size)
    view = memoryview(content)
    filled = 0
    while filled < size:
        got = pipe.readinto(view[filled:])
        if not got:
            return None
        filled += got
    return content


def _packed(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _unpacked(content: bytearray | None) -> pa.Table:
    if content is None:
        raise BrokenPipeError
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


if __name__ == "__main__":
    main()
