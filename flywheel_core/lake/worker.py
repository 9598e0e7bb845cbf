"""The process that reads chunks beside its parent: `python -m flywheel_core.lake.worker`.

It takes frames on its standard input and answers on its standard output; a frame is its length in four bytes, then its
content. It ends when its input does.
"""

import gc
import sys
from typing import IO, Any

import msgspec
import pyarrow as pa

from flywheel_core.errors import StorageError
from flywheel_core.lake.chunks import Wanted, read_chunk
from flywheel_core.lake.raw_lines import Chunk


class Task(msgspec.Struct, frozen=True):
    """One chunk to be read."""

    chunk: Chunk
    wanted: Wanted


class Reply(msgspec.Struct, frozen=True):
    """What came of a task; without error, the frames of the batch's three tables follow."""

    path: str
    lines: int = 0
    blank: int = 0
    bytes_read: int = 0
    error: str | None = None


TASKS = msgspec.msgpack.Decoder(Task)
REPLIES = msgspec.msgpack.Decoder(Reply)
ENCODER = msgspec.msgpack.Encoder()


def main() -> None:
    """Answer tasks until the input ends."""
    gc.disable()  # nothing that is read here refers to itself
    tasks, replies = sys.stdin.buffer, sys.stdout.buffer
    while (frame := receive(tasks)) is not None:
        task = TASKS.decode(frame)
        try:
            batch = read_chunk(task.chunk, task.wanted)
        except StorageError as error:
            send(replies, ENCODER.encode(Reply(task.chunk.path, error=error.message)))
            continue
        send(replies, ENCODER.encode(Reply(batch.path, batch.lines, batch.blank, batch.bytes_read)))
        for table in (batch.points, batch.answers, batch.rejects):
            send(replies, _packed(table))


def send(pipe: IO[bytes], content: "bytes | pa.Buffer") -> None:
    """Write one frame. Raises BrokenPipeError when nobody reads."""
    pipe.write(len(content).to_bytes(4, "big"))
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytearray | None:
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


if __name__ == "__main__":
    main()
