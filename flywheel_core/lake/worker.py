"""A worker process that reads chunks for its parent: `python -m flywheel_core.lake.worker`.

It reads tasks from standard input and writes replies to standard output; a frame is the length of its content in four
bytes, big-endian, then the content. Tables are too large for a pipe: they go to a slot, a file that both processes have
open, so that the worker never waits for its parent while it has a task. It ends when its input ends.
"""

import os
import sys
import tempfile
from typing import IO, Any

import msgspec
import pyarrow as pa

from flywheel_core.errors import StorageError
from flywheel_core.lake.chunks import Batch, Wanted, read_chunk
from flywheel_core.lake.raw_lines import Chunk

_BUFFER_BYTES = 1024 * 1024


class Task(msgspec.Struct, frozen=True):
    """One chunk to read. slot: the descriptor of the open file to which its tables are written."""

    chunk: Chunk
    wanted: Wanted
    slot: int


class Reply(msgspec.Struct, frozen=True):
    """The result of a task. Without error, the batch's three tables are the first `size` bytes of the slot.

    The first reply of a worker is empty and says only that it has started.
    """

    path: str = ""
    lines: int = 0
    blank: int = 0
    bytes_read: int = 0
    size: int = 0
    error: str | None = None


TASKS = msgspec.msgpack.Decoder(Task)
REPLIES = msgspec.msgpack.Decoder(Reply)
ENCODER = msgspec.msgpack.Encoder()


def main() -> None:
    """Report that this process has started, then answer tasks until the input ends."""
    tasks, replies = sys.stdin.buffer, sys.stdout.buffer
    send(replies, ENCODER.encode(Reply()))
    while (frame := receive(tasks)) is not None:
        send(replies, ENCODER.encode(_answer(TASKS.decode(frame))))


def _answer(task: Task) -> Reply:
    try:
        batch = read_chunk(task.chunk, task.wanted)
        size = _write_tables(task.slot, batch)
    except StorageError as error:
        return Reply(error=error.message)
    except OSError as error:
        why = f"cannot write to a file in {tempfile.gettempdir()}: {error.strerror or error}"
        return Reply(error=f"{why} (while reading {task.chunk.path})")
    return Reply(batch.path, batch.lines, batch.blank, batch.bytes_read, size)


def _write_tables(slot: int, batch: Batch) -> int:
    with os.fdopen(slot, "wb", buffering=_BUFFER_BYTES, closefd=False) as file:
        file.seek(0)
        for table in (batch.points, batch.answers, batch.rejects):
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
        return file.tell()


def read_tables(slot: int, size: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return a batch's points, answers and rejects from the first `size` bytes of a slot.

    Raises OSError when the slot cannot be read.
    """
    content = pa.BufferReader(os.pread(slot, size, 0))
    points, answers, rejects = (pa.ipc.open_stream(content).read_all() for _ in range(3))
    return points, answers, rejects


def send(pipe: IO[bytes], content: bytes) -> None:
    """Write one frame. Raises BrokenPipeError when the reader has ended."""
    pipe.write(len(content).to_bytes(4, "big") + content)
    pipe.flush()


def receive(pipe: Any) -> bytes | None:
    """Return the content of the next frame, or None when the pipe has ended."""
    head = _exactly(pipe, 4)
    return None if head is None else _exactly(pipe, int.from_bytes(head, "big"))


def _exactly(pipe: Any, size: int) -> bytes | None:
    content = b""
    while len(content) < size:
        piece = pipe.read(size - len(content))
        if not piece:
            return None
        content += piece
    return content


if __name__ == "__main__":
    main()
