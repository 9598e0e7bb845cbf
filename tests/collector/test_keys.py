"""Keys: created, listed and revoked by commands, noticed by a running collector, and never stored in plain text."""

import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from flywheel_cli.main import main
from flywheel_core.errors import RequestError, UsageError
from flywheel_core.serve.access import Access, is_loopback
from flywheel_core.serve.keys import KeyStore

from .conftest import Process, Start, point


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def eventually(collector: Process, key: str | None, status: int) -> httpx.Response:
    """Send a data point until the answer has `status`, because a running collector re-reads the keys with a delay.

    Returns that answer. Raises AssertionError when none of 300 attempts gets it.
    """
    for _ in range(300):
        answer = collector.collect(point(1), headers=bearer(key) if key else {})
        if answer.status_code == status:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"never answered {status}, last {answer.status_code}")


def test_no_key_means_loopback_only(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    with pytest.raises(UsageError, match="no key is configured"):
        Access(store, "0.0.0.0", allow_anonymous=False)
    assert Access(store, "0.0.0.0", allow_anonymous=True).source({}) == "anonymous"
    assert Access(store, "127.0.0.1", allow_anonymous=False).source({}) == "local"
    key = store.create("east")
    store._next_check = 0.0
    access = Access(store, "0.0.0.0", allow_anonymous=False)
    assert access.source({b"authorization": f"Bearer {key}".encode()}) == "east"
    with pytest.raises(RequestError) as caught:
        access.source({})
    assert caught.value.code == "key_missing"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_no_others_are_let_in_while_the_file_of_keys_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    """As on a disk that is unmounted. A proxy on the same machine hands strangers' requests to loopback."""
    store = KeyStore(tmp_path / "keys.json")
    key, old = store.create("east"), store.create("west")
    access = Access(store, host, allow_anonymous=False)
    away = store.path.rename(tmp_path / "away")
    for _ in range(2):
        store._next_check = 0.0
        for headers in ({}, {b"authorization": b"Bearer a.b"}):
            with pytest.raises(RequestError) as caught:
                access.source(headers)
            assert caught.value.status == 401
        assert access.source({b"authorization": f"Bearer {key}".encode()}) == "east"
    assert [record.message for record in caplog.records] == ["keys_unreadable"]
    KeyStore(away).revoke(old.partition(".")[0])
    away.rename(store.path)
    store._next_check = 0.0
    with pytest.raises(RequestError, match="revoked"):
        access.source({b"authorization": f"Bearer {old}".encode()})


@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", "local"), ("0.0.0.0", "anonymous")])
def test_without_keys_a_key_that_a_client_sends_anyway_is_not_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, source: str
) -> None:
    """Clients of the OpenAI API always send one. That anyone may come in is logged where it is so."""
    access = Access(KeyStore(tmp_path / "keys.json"), host, allow_anonymous=source == "anonymous")
    assert access.source({b"authorization": b"Bearer sk-any"}) == source
    logged = [record.message for record in caplog.records]
    assert logged == (["anonymous_requests_allowed"] if source == "anonymous" else [])


def test_a_key_is_still_checked_when_anonymous_requests_are_allowed(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    key = store.create("east")
    access = Access(store, "0.0.0.0", allow_anonymous=True)
    assert (access.source({b"authorization": f"Bearer {key}".encode()}), access.source({})) == (
        "east",
        "anonymous",
    )
    with pytest.raises(RequestError):
        access.source({b"authorization": b"Bearer a.b"})


PAGES = {
    "another site": {"origin": "http://evil.example"},
    "a sandbox": {"origin": "null"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "an image": {"sec-fetch-site": "cross-site"},
    "a name that leads here": {"host": "evil.example:8080", "origin": "http://evil.example:8080"},
    "the same, that reads": {"host": "evil.example"},
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_requests_from_pages_of_other_sites_are_refused(collector: Process, page: dict[str, str]) -> None:
    before = len(collector.raw())
    answer = collector.collect(point(1), headers=page)
    assert (answer.status_code, answer.json()["code"]) == (403, "page_refused")
    assert len(collector.raw()) == before


@pytest.mark.parametrize(
    "host", ["localhost:80", "[::1]:80", "10.0.0.1", "collector:8080", "a.localhost", ""]
)
def test_requests_addressed_to_this_machine_are_accepted(tmp_path: Path, host: str) -> None:
    access = Access(KeyStore(tmp_path / "keys.json"), "127.0.0.1", allow_anonymous=False)
    own = {b"host": host.encode(), b"origin": b"http://" + host.encode(), b"sec-fetch-site": b"same-origin"}
    assert access.source(own) == access.source({b"host": host.encode()}) == "local"


def test_a_page_of_any_site_is_accepted_with_a_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    access = Access(store, "127.0.0.1", allow_anonymous=False)
    key = store.create("east")
    store._next_check = 0.0
    page = {b"origin": b"http://chat.example", b"host": b"gateway.example"}
    assert access.source({**page, b"authorization": f"Bearer {key}".encode()}) == "east"


def test_anonymous_requests_from_pages_are_refused_too(tmp_path: Path) -> None:
    access = Access(KeyStore(tmp_path / "keys.json"), "0.0.0.0", allow_anonymous=True)
    assert access.source({b"host": b"collector.example"}) == "anonymous"
    with pytest.raises(RequestError, match="pages"):
        access.source({b"host": b"collector.example", b"origin": b"http://evil.example"})


def test_loopback_is_recognised() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    for host in ("no such host.invalid", "a..b", "x" * 64):  # the last two cannot even be looked up
        with pytest.raises(UsageError, match="cannot listen on"):
            is_loopback(host)


def test_a_name_is_loopback_only_if_all_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (family, socket.SOCK_STREAM, 6, "", (address, 0))
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "10.0.0.7"))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert not is_loopback("both")
    del found[1]
    assert is_loopback("both")


def test_creating_a_key_names_the_file_that_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key created in a different working folder than the collector's is refused there for no visible reason."""
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(main, ["keys", "create", "east", "--data-dir", "data"])
    assert made.exit_code == 0
    assert str(tmp_path / "data" / "keys.json") in made.stderr


def test_a_running_collector_notices_changed_keys(launch: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    collector = launch(data)
    assert collector.collect(point(1)).status_code == 200
    runner = CliRunner()
    made = runner.invoke(main, ["keys", "create", "east", "--json", "--data-dir", str(data)])
    key = json.loads(made.stdout)["key"]
    refused = eventually(collector, None, 401)
    assert (refused.json()["code"], refused.headers["www-authenticate"]) == ("key_missing", "Bearer")
    assert collector.collect(point(2), headers=bearer(key)).status_code == 200
    assert [line["source"] for line in collector.raw() if line["id"] == "p-2"] == ["east"]
    assert collector.collect(point(3), headers=bearer("0.wrong")).json()["code"] == "key_invalid"
    listed = runner.invoke(main, ["keys", "list", "--data-dir", str(data)])
    assert key.partition(".")[0] in listed.stdout
    assert "east" in listed.stdout
    assert (
        runner.invoke(main, ["keys", "revoke", key.partition(".")[0], "--data-dir", str(data)]).exit_code == 0
    )
    revoked = eventually(collector, key, 403)
    assert revoked.json()["code"] == "key_revoked"
    secret = key.partition(".")[2]
    assert secret not in collector.log.read_text()
    assert secret not in collector.client.get("/metrics").text


def test_outside_loopback_a_key_is_needed_to_start(launch: Start) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)status 2.*no key is configured.*flywheel keys create"):
        launch(arguments=("--host", "0.0.0.0"))


def test_anonymous_must_be_allowed_and_is_warned_about(launch: Start) -> None:
    collector = launch(arguments=("--host", "0.0.0.0"), allow_anonymous=True)
    address = f"http://127.0.0.1:{collector.port}/collect"
    assert httpx.post(address, json={"data_points": [point(1)]}).status_code == 200
    assert [line["source"] for line in collector.raw()] == ["anonymous"]
    assert "anonymous_requests_allowed" in collector.log.read_text()
