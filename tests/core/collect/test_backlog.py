"""The queue in memory: what is cut from it, what comes back, and since when the oldest point waits."""

from flywheel_core.collect.backlog import Backlog


def filled(*lines: bytes) -> Backlog:
    """Return a backlog that received one line each second, from second 1 on."""
    backlog = Backlog()
    for second, line in enumerate(lines, 1):
        backlog.add(line, float(second))
    return backlog


def test_the_oldest_point_says_since_when_there_is_something_to_send() -> None:
    backlog = filled(b"one", b"two", b"three")
    assert backlog.since == 1.0
    backlog.release(backlog.cut(1, 100))
    assert backlog.since == 2.0
    backlog.release(backlog.cut_all())
    assert backlog.since is None


def test_a_batch_has_the_oldest_points_and_ends_where_its_size_is_reached() -> None:
    backlog = filled(b"one", b"two", b"three", b"four")
    assert backlog.cut(2, 100).lines == [b"one", b"two"]
    assert backlog.cut(10, 5).lines == [b"three"]
    assert (backlog.waiting, backlog.waiting_bytes, backlog.points) == (1, 4, 4)


def test_what_is_left_of_a_batch_comes_back_to_the_front() -> None:
    backlog = filled(b"one", b"two", b"three")
    batch = backlog.cut(2, 100)
    del batch.lines[:1]
    backlog.put_back(batch, 9.0)
    assert (backlog.waiting_bytes, backlog.points, backlog.since) == (8, 2, 9.0)
    assert backlog.cut_all().lines == [b"two", b"three"]


def test_batches_that_are_not_settled_are_called_back() -> None:
    backlog = filled(b"one", b"two", b"three")
    settled, held = backlog.cut(1, 100), backlog.cut(1, 100)
    backlog.release(settled)
    backlog.recall(9.0)
    assert backlog.points == backlog.waiting == 2
    assert held.lines == [b"two"]
    assert backlog.cut_all().lines == [b"two", b"three"]
