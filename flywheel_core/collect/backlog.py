"""The data points that an uploader has in memory: queued for a batch, or in a batch that is not settled."""

from collections import deque
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Batch:
    """Lines taken from the queue together. Settled lines are removed from the front of `lines`.

    size: total size of the lines when they were taken.
    """

    lines: list[bytes]
    size: int


class Backlog:
    """A queue of encoded data points, and the batches cut from it; points count until they are settled.

    waiting_bytes: total size of the points in the queue.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[float, bytes]] = deque()
        self._held: set[Batch] = set()
        self.waiting_bytes = 0

    @property
    def waiting(self) -> int:
        """Number of points in the queue."""
        return len(self._queue)

    @property
    def points(self) -> int:
        """Number of points in the queue and in unsettled batches."""
        return len(self._queue) + sum(len(batch.lines) for batch in self._held)

    @property
    def total_bytes(self) -> int:
        """Total size of the points in the queue and in batches, of which settled points count until `release`."""
        return self.waiting_bytes + sum(batch.size for batch in self._held)

    @property
    def since(self) -> float | None:
        """The time at which the oldest queued point was added, or None."""
        return self._queue[0][0] if self._queue else None

    def add(self, line: bytes, now: float) -> None:
        """Add one point to the end of the queue."""
        self._queue.append((now, line))
        self.waiting_bytes += len(line)

    def cut(self, max_points: int, max_bytes: int) -> Batch:
        """Cut a batch of the oldest queued points: at most `max_points`, none after reaching `max_bytes`."""
        lines: list[bytes] = []
        size = 0
        while self._queue and len(lines) < max_points and size < max_bytes:
            _, line = self._queue.popleft()
            lines.append(line)
            size += len(line)
        self.waiting_bytes -= size
        batch = Batch(lines, size)
        self._held.add(batch)
        return batch

    def cut_all(self) -> Batch:
        """Cut everything in the queue as one batch."""
        return self.cut(len(self._queue), self.waiting_bytes + 1)

    def release(self, batch: Batch) -> None:
        """Forget a batch, whose points are counted elsewhere from here on."""
        self._held.discard(batch)

    def put_back(self, batch: Batch, now: float) -> None:
        """Return the rest of a batch to the front of the queue."""
        self._held.discard(batch)
        self._queue.extendleft((now, line) for line in reversed(batch.lines))
        self.waiting_bytes += sum(map(len, batch.lines))

    def recall(self, now: float) -> None:
        """Return every unsettled batch to the queue."""
        for batch in list(self._held):
            self.put_back(batch, now)
