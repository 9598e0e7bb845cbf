"""Send one batch to the collector, and work out what its reply means for the points in it."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from flywheel_core.collect.answer import is_json_type, reason_in
from flywheel_core.collect.http import Endpoint, Http, Reply
from flywheel_core.collect.retries import retry_after
from flywheel_core.collect.sampling import MARK_HEADER
from flywheel_core.config import Config
from flywheel_core.config_file import secret
from flywheel_core.errors import UpstreamError
from flywheel_core.lake.atomic import sync_folder
from flywheel_core.records import NULL, DataPoint, encode_point

UPLOAD_TIMEOUT = 30.0
MAX_REPLY_BYTES = 4_194_304
MAX_REJECTED_BYTES = 67_108_864
MAX_TOLD_CHARS = 300
"""Most characters kept of a code or message of the collector."""
LARGE_POINT = 2_097_152
"""Points larger than this, encoded, are sent without the models' raw responses."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A data point that the collector rejects: its index in the batch, and the collector's reply."""

    index: int
    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a batch.

    taken: every point is either on the collector's disk or in `rejected` for good. smaller: it must be sent
    in halves. later: nothing is known to be stored; send it again after at least `wait` seconds. reason: for
    people; the part before the first colon has few values and is a metric label.
    """

    kind: Literal["taken", "smaller", "later"]
    rejected: Sequence[Rejection] = ()
    wait: float = 0.0
    reason: str = ""


class _Rejected(msgspec.Struct):
    index: int
    code: str = "rejected"
    message: str = ""


class _Success(msgspec.Struct):
    status: str
    count: int
    rejected: list[_Rejected] = []


class _Failure(msgspec.Struct):
    code: str = "rejected"
    message: str = ""
    rejected: list[_Rejected] = []


_SUCCESS = msgspec.json.Decoder(_Success)
_FAILURE = msgspec.json.Decoder(_Failure)


def collector_endpoint(config: Config, environment: Mapping[str, str] | None = None) -> Endpoint:
    """Return where data points go. Raises ConfigIncompleteError when the key is named but not set."""
    settings = config.data_collection
    headers = {"accept": "application/json", MARK_HEADER: "1"}
    if settings.api_key_env is not None:
        key = secret(settings.api_key_env, "data_collection.api_key_env", environment)
        headers["authorization"] = f"Bearer {key}"
    return Endpoint(settings.storage_endpoint, headers)


async def deliver(http: Http, endpoint: Endpoint, lines: Sequence[bytes]) -> Verdict:
    """Send encoded data points once. Raises nothing but cancellation."""
    body = b'{"data_points":[%b],"count":%d,"timestamp":%d}' % (b",".join(lines), len(lines), time.time())
    try:
        reply = await http.post(endpoint, body, timeout=UPLOAD_TIMEOUT, max_bytes=MAX_REPLY_BYTES)
    except UpstreamError as error:
        return Verdict("later", reason=f"{error.code}: {error.message}")
    except httpx.HTTPError as error:
        return Verdict("later", reason=f"{type(error).__name__}: {error}")
    return judge(reply, len(lines))


def judge(reply: Reply, sent: int) -> Verdict:
    """Return what the collector's reply to a batch of `sent` points means.

    200 counts only with the body that the contract prescribes, and if stored and rejected points add up. 413
    and 400 lead to halving, down to the faulty point. 422 rejects every point. Everything else (401, 403,
    404, 429, 5xx, redirects) may be fixed on the collector's side without changing the points, so they wait.
    """
    if reply.status == 200:
        return _stored(reply, sent)
    if reply.status in (400, 413) and sent > 1:
        return Verdict("smaller", reason=f"status {reply.status}")
    if reply.status in (400, 413, 422):
        return Verdict("taken", _all_rejected(reply, sent))
    words = reason_in(reply.body) if is_json_type(reply.headers.get("content-type")) else ""
    said = f":{words}" if words else ""
    return Verdict("later", wait=retry_after(reply), reason=f"status {reply.status}{said}")


def _stored(reply: Reply, sent: int) -> Verdict:
    try:
        answer = _SUCCESS.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Verdict("later", reason="status 200: the body is not a collector's")
    rejected = [_rejection(one.index, 200, one) for one in answer.rejected]
    places = {one.index for one in rejected}
    whole = len(places) == len(rejected) and all(0 <= place < sent for place in places)
    if answer.status != "success" or not whole or answer.count + len(rejected) != sent:
        return Verdict(
            "later",
            reason=f"status 200: {answer.count} stored and {len(rejected)} rejected of {sent} do not add up",
        )
    return Verdict("taken", rejected)


def _all_rejected(reply: Reply, sent: int) -> list[Rejection]:
    try:
        failure = _FAILURE.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        failure = _Failure(message=reply.body[:MAX_TOLD_CHARS].decode("utf-8", "replace"))
    named = {one.index: one for one in failure.rejected}
    why = (named.get(index, failure) for index in range(sent))
    return [_rejection(index, reply.status, one) for index, one in enumerate(why)]


def _rejection(index: int, status: int, said: _Rejected | _Failure) -> Rejection:
    """Return the rejection of one point; long words are cut off, because they are kept once for each point."""
    return Rejection(index, status, said.code[:MAX_TOLD_CHARS], said.message[:MAX_TOLD_CHARS])


def encode_line(point: DataPoint) -> bytes:
    """Return a point as one line without its newline; if it is large, without the raw responses."""
    line = encode_point(point)
    if len(line) > LARGE_POINT:
        slim = {
            model: msgspec.structs.replace(response, raw_response=NULL)
            for model, response in point.responses.items()
        }
        line = encode_point(msgspec.structs.replace(point, responses=slim))
    return msgspec.json.format(line, indent=-1) if b"\n" in line else line


def keep_rejected(path: Path, batch: Sequence[bytes], rejected: Sequence[Rejection]) -> None:
    """Append rejected points to a file, each with the collector's reply, and sync file and name.

    Raises OSError. A file larger than `MAX_REJECTED_BYTES` is first renamed to `.old`, replacing an earlier
    one, so only one thread at a time may call this.
    """
    if path.exists() and path.stat().st_size > MAX_REJECTED_BYTES:
        path.replace(path.with_name(path.name + ".old"))
    created = not path.exists()
    lines = b"".join(
        b'{"status":%d,"code":%b,"message":%b,"point":%b}\n'
        % (one.status, msgspec.json.encode(one.code), msgspec.json.encode(one.message), batch[one.index])
        for one in rejected
    )
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            lines = b"\n" + lines  # a crash or a full disk cut off the last line
        while lines:
            lines = lines[os.write(handle, lines) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if created:
        sync_folder(path.parent)
