"""Bodies are read within their limits: as sent, unpacked, and all requests together."""

import asyncio
import gzip
import itertools
import tracemalloc

import pytest

from flywheel_core.errors import RequestError
from flywheel_core.serve.body import MAX_MEMBERS, SMALL, Budget, Hold, Message, Pieces, read_body

PACKED = {b"content-encoding": b"gzip"}
LIMIT = 100_000


def read(body: bytes, headers: dict[bytes, bytes], budget: Budget) -> tuple[bytes, int]:
    """Return the body as read, in two pieces, and how much of the budget it held."""
    pieces = [body[:10], body[10:]]

    async def receive() -> Message:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def whole() -> tuple[bytes, int]:
        with Hold(budget) as hold:
            found = await read_body(
                headers, receive, hold, lambda _: None, max_bytes=LIMIT, max_unpacked_bytes=LIMIT
            )
            return found, budget.held

    return asyncio.run(whole())


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_holds_what_it_takes_until_its_request_ends(packed: bool) -> None:
    """Packed and unpacked bytes are in memory at the same time."""
    content = b"x" * 5_000
    sent = gzip.compress(content) if packed else content
    budget = Budget(10_000)
    found, held = read(sent, PACKED if packed else {}, budget)
    assert found == content
    assert held == len(sent) + (len(content) if packed else 0)
    assert budget.held == 0


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_that_exceeds_the_budget_waits_for_the_others(packed: bool) -> None:
    content = b"x" * 5_000
    budget = Budget(4_999)
    with pytest.raises(RequestError) as caught:
        read(gzip.compress(content) if packed else content, PACKED if packed else {}, budget)
    assert (caught.value.code, budget.held) == ("queue_full", 0)


@pytest.mark.parametrize(("size", "taken"), [(SMALL, True), (SMALL + 1, False)])
def test_small_bodies_may_take_the_spare_too_however_a_larger_one_arrives(size: int, taken: bool) -> None:
    """Else a large body that comes in small pieces would take what is kept for others."""
    budget = Budget(0, spare=LIMIT)
    if taken:
        assert read(b"x" * size, {}, budget)[1] == size
    else:
        with pytest.raises(RequestError, match="waiting at once"):
            read(b"x" * size, {}, budget)
    assert budget.held == 0


def test_the_empty_end_of_a_large_body_is_taken_while_small_ones_use_the_spare() -> None:
    """The end of a body that is sent in chunks may come later and alone; it needs no memory."""
    budget = Budget(2 * SMALL, spare=SMALL)
    with Hold(budget) as large, Hold(budget) as small:
        large.take(2 * SMALL)
        small.take(SMALL)
        large.take(0)
        assert budget.held == 3 * SMALL
        with pytest.raises(RequestError, match="waiting at once"):
            large.take(1)
    assert budget.held == 0


@pytest.mark.parametrize("packed", [False, True])
def test_the_largest_body_is_taken_and_one_byte_more_refused(packed: bool) -> None:
    for size, code in ((LIMIT, None), (LIMIT + 1, "body_too_large")):
        content = b"x" * size
        sent, headers = (gzip.compress(content), PACKED) if packed else (content, {})
        if code is None:
            assert read(sent, headers, Budget(10 * LIMIT))[0] == content
        else:
            with pytest.raises(RequestError) as caught:
                read(sent, headers, Budget(10 * LIMIT))
            assert caught.value.code == code


def test_a_body_of_very_many_gzip_members_is_refused() -> None:
    """Each costs time, however small it is."""
    member = gzip.compress(b"")
    assert read(member * MAX_MEMBERS, PACKED, Budget(10 * LIMIT))[0] == b""
    with pytest.raises(RequestError, match="members") as caught:
        read(member * (MAX_MEMBERS + 1), PACKED, Budget(10 * LIMIT))
    assert caught.value.code == "encoding_invalid"


def test_pieces_of_any_size_are_joined_in_order() -> None:
    content = bytes(range(256)) * 400
    ends = [0, 1, 5_000, 5_001, 5_010, 9_106, 13_201, 60_000, 60_001, 60_001, len(content)]
    pieces = Pieces()
    for start, end in itertools.pairwise(ends):
        pieces.add(content[start:end])
    assert pieces.joined() == content
    pieces.clear()
    assert pieces.joined() == b""


def test_a_body_of_very_short_pieces_takes_no_more_memory_than_its_bytes() -> None:
    pieces = Pieces()
    tracemalloc.start()
    try:
        for number in range(LIMIT):
            pieces.add(b"%04d" % (number % 10_000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8 * LIMIT
