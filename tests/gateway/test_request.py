"""Bodies of requests: how much a body may hold, and what stands for its user."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from flywheel_core.config_file import secret
from flywheel_core.errors import RequestError
from flywheel_gateway.request import MAX_PARTS, parse_object, user_hash


def test_a_body_holds_exactly_the_permitted_number_of_values() -> None:
    """The object, its name, the list and a comma between two values are parts."""
    body = b'{"a":[%b]}'
    assert len(parse_object(body % b",".join([b"0"] * (MAX_PARTS - 2)))["a"]) == MAX_PARTS - 2
    with pytest.raises(RequestError, match="too many values"):
        parse_object(body % b",".join([b"0"] * (MAX_PARTS - 1)))


@pytest.mark.parametrize("text", [b"[{,", b'\\"', b"\\\\"], ids=["code", "quotes", "backslashes"])
def test_a_long_text_is_one_value_whatever_is_in_it(text: bytes) -> None:
    assert len(parse_object(b'{"a":"%b"}' % (text * MAX_PARTS))["a"]) >= MAX_PARTS


def test_the_same_user_has_the_same_pseudonym_in_all_data_of_a_secret() -> None:
    """Half of the HMAC-SHA256, so that who has the secret can find a user's data points."""
    assert user_hash("ann@example.org", b"pepper") == "ab650937c930feefa1f955f68ff27ab9"
    assert user_hash("ann@example.org", b"salt") != user_hash("ann@example.org", b"pepper")
    assert user_hash("", b"pepper") is not None
    assert user_hash(None, b"pepper") is None
    assert user_hash("ann@example.org", None) is None


@pytest.mark.parametrize("value", ["pepper", "pepper\n"], ids=["plain", "made from a file"])
def test_the_documented_command_prints_the_pseudonym_that_is_stored(value: str) -> None:
    """Another one would find nothing, as if nothing of the person were stored."""
    page = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text("utf-8")
    (command,) = re.findall(r"^python3 .*$", page, re.MULTILINE)
    environment = {"USER_SECRET": value}
    printed = subprocess.run(
        ["sh", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    key = secret("USER_SECRET", "gateway.user_secret_env", environment).encode()
    assert printed.stdout == f"{user_hash('ann@example.com', key)}\n"
