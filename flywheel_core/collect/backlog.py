"""The data points that an uploader has in memory: waiting for their batch, or held in one until it is settled."""

from collections import deque
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Batch:
    """Lines taken out of the queue together. What is settled leaves `lines` from the front on."""

    lines: list[bytes]


class Backlog:
    """A queue of encoded data points, and the batches cut from it; both count until they are settled.

    waiting: points in the queue; waiting_bytes: what they take.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[float, bytes]] = deque()
        self._held: set[Batch] = set()
        self.waiting_bytes = 0

    @property
    def waiting(self) -> int:
        """Points in the queue."""
        return len(self._queue)

    @property
    def points(self) -> int:
        """Points in the queue and in batches that are not settled."""
        return len(self._queue) + sum(len(batch.lines) for batch in self._held)

    @property
    def since(self) -> float | None:
        """The time at which the oldest waiting point came, or None."""
        return self._queue[0][0] if self._queue else None

    def add(self, line: bytes, now: float) -> None:
        """Put one more point at the end of the queue."""
        self._queue.append((now, line))
        self.waiting_bytes += len(line)

    def cut(self, max_points: int, max_bytes: int) -> Batch:
        """A batch of the oldest waiting points: at most `max_points`, and none after `max_bytes` are reached."""
        lines: list[bytes] = []
        size = 0
        while self._queue and len(lines) < max_points and size < max_bytes:
            _, line = self._queue.popleft()
            lines.append(line)
            size += len(line)
        self.waiting_bytes -= size
        batch = Batch(lines)
        self._held.add(batch)
        return batch

    def cut_all(self) -> Batch:
        """Everything that waits, as one batch."""
        return self.cut(len(self._queue), self.waiting_bytes + 1)

    def release(self, batch: Batch) -> None:
        """Forget a batch: its points are counted elsewhere now."""
        self._held.discard(batch)

    def put_back(self, batch: Batch, now: float) -> None:
        """Return what is left of a batch to the front of the queue."""
        self._held.discard(batch)
        self._queue.extendleft((now, line) for line in reversed(batch.lines))
        self.waiting_bytes += sum(map(len, batch.lines))

    def recall(self, now: float) -> None:
        """Return every batch that is still held to the queue."""
        for batch in list(self._held):
            self.put_back(batch, now)
