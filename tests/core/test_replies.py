"""The headers of a refusal."""

import pytest

from flywheel_core.errors import RequestError
from flywheel_core.serve.replies import headers_of


@pytest.mark.parametrize(("code", "wait", "said"), [("body_timeout", 7, b"7"), ("disk_full", 30, b"30")])
def test_a_wait_is_in_retry_after_whatever_the_status(code: str, wait: int, said: bytes) -> None:
    assert (b"retry-after", said) in headers_of(RequestError(code, retry_after=wait))


def test_without_a_wait_only_a_503_asks_for_one() -> None:
    named = {code: dict(headers_of(RequestError(code))) for code in ("storage_unavailable", "body_timeout")}
    assert [headers.get(b"retry-after") for headers in named.values()] == [b"1", None]
