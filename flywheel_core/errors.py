"""The tree of errors: every error that a user can meet has a stable code, a message and, where possible, a hint.

FlywheelError
├── ConfigError            the configuration is not usable
│   └── ConfigIncompleteError   it is valid, but does not set a field that the command needs
├── UsageError             a command or function was called with an invalid argument
├── PointError             a data point is not acceptable (one code per reason, see `POINT_CODES`)
├── RequestError           an HTTP request is refused (status and code, see `REQUEST_CODES`)
├── StorageError           a file cannot be read, written or synced, or its content is not valid
├── NoDataError            there is nothing to work on
├── UpstreamError          a model, the scorer or the collector did not answer according to its contract
├── SkippedError           a request is not collected (one code per reason, see `SKIP_CODES`)
├── DatasetError           a dataset is missing, damaged or cannot be built
└── RouterError            a router is missing, damaged or cannot be trained
"""

from collections.abc import Sequence

POINT_CODES = {
    "point_not_object": "the data point is not a JSON object (for instance null)",
    "point_not_json": "the text is not one complete JSON value",
    "point_not_utf8": "the text is not valid UTF-8",
    "point_too_deep": "objects or lists are nested more than 32 deep",
    "point_too_large": "the data point is larger than one line may be",
    "key_duplicate": "two keys mean the same field, for instance question and Question",
    "question_missing": "there is no question",
    "question_empty": "the question is empty or white space only",
    "question_too_long": "the question is longer than 64 KiB of UTF-8",
    "question_invalid": "the question is not a string",
    "responses_missing": "there are no responses",
    "responses_invalid": "responses is not an object from at most 256 model names to response objects",
    "response_invalid": "a field of a response has the wrong type or range",
    "scores_invalid": "scores is not an object from at most 256 model names to scores",
    "score_invalid": "a score is not a number in 0..1, -1 or null",
    "timestamp_invalid": "the timestamp is not unix seconds or an RFC 3339 time between 1970 and 2100",
    "id_invalid": "the id is not a string of 1 to 128 characters",
    "field_invalid": "an optional field has the wrong type or range",
}
"""Why a data point is rejected: code -> meaning. The codes are metric labels and are stored in `data/rejected/`."""

REQUEST_CODES = {
    "request_malformed": (400, "what came is not an HTTP/1.1 request"),
    "body_unreadable": (400, "the body is not the JSON object that this address takes"),
    "encoding_invalid": (400, "the body cannot be unpacked as its Content-Encoding says"),
    "key_missing": (401, "an Authorization header with a key is needed"),
    "key_invalid": (401, "the key is not known"),
    "key_revoked": (403, "the key was revoked"),
    "page_refused": (403, "web pages of other sites, and names that lead to this machine, need a key here"),
    "not_found": (404, "there is nothing at this address"),
    "method_not_allowed": (405, "this address does not take that method"),
    "body_timeout": (408, "the body did not arrive in time"),
    "body_too_large": (413, "the body, as sent or unpacked, is larger than allowed"),
    "batch_too_large": (413, "the batch has more data points than allowed"),
    "media_type_unsupported": (415, "the Content-Type or Content-Encoding is not taken here"),
    "headers_too_large": (431, "the request line and headers are larger than allowed"),
    "nothing_acceptable": (422, "not one data point of the batch is acceptable"),
    "storage_unavailable": (503, "the data could not be stored now; send it again later"),
    "queue_full": (503, "too much is waiting at once; send it again later"),
    "disk_full": (503, "the disk has less free space than the floor; send it again later"),
    "connections_full": (503, "too many connections are open; try again later"),
    "shutting_down": (503, "the server is shutting down; send it again later"),
    "model_unknown": (404, "there is no model of that name"),
    "loop_detected": (508, "the request has been at this gateway before: a model's address leads back to it"),
    "upstream_failed": (502, "no model gave an answer"),
    "upstream_timeout": (504, "no model gave an answer in time"),
    "internal_error": (500, "the server failed; the log has the details"),
}
"""Why a request is refused: code -> (HTTP status, meaning). The codes label the metric and are in the response body."""

SKIP_CODES = {
    "disabled": "data_collection.enabled is false",
    "sampled_out": "the hash of the request id is not below the sampling rate",
    "marked": "the request carries the mark of our own calls",
    "not_chat": "the body is not a chat body with messages",
    "empty_prompt": "there is no user message, or none with text",
    "question_too_long": "the question is longer than 64 KiB of UTF-8",
    "request_too_large": "the whole request is larger than 1 MiB of JSON",
    "earlier_turns": "there are turns before the question, and data_collection.multi_turn is false",
    "tools": "the request has tools, and data_collection.multi_turn is false",
    "not_only_text": "the question has images, audio or files, or the answer is to have them, and data_collection.multi_turn is false",
    "several_answers": "n is above 1, and data_collection.multi_turn is false",
    "busy": "data_collection.max_in_flight data points are being collected",
    "model_busy": "a model has max_concurrency calls under way",
    "cost_limit": "data_collection.max_cost_per_day is spent",
    "closed": "the fan-out is closed",
}
"""Why a request is routed but not collected: code -> meaning. The codes are metric labels."""


class FlywheelError(Exception):
    """Base class of every error that Flywheel raises deliberately.

    code: a stable name in snake_case. message: what is wrong, and where. hint: what to do, or None. exit_status: the
    exit status of a command that fails with this error.
    """

    code = "flywheel_error"
    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


class ConfigError(FlywheelError):
    """The configuration is not usable: it cannot be read, or has unknown keys or invalid values."""

    code = "config_invalid"
    exit_status = 2


class ConfigIncompleteError(ConfigError):
    """The configuration is valid but does not set a field that the command needs."""

    code = "config_incomplete"


class UsageError(FlywheelError):
    """A command or function was called with an invalid argument."""

    code = "usage_invalid"
    exit_status = 2


class PointError(FlywheelError):
    """A data point is not acceptable. `code` is one of `POINT_CODES`, or of the `REJECT_CODES` of ingest."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or POINT_CODES[code], code=code)


class RequestError(FlywheelError):
    """An HTTP request is refused. `code` is one of `REQUEST_CODES`, which gives the HTTP status.

    retry_after: seconds for the Retry-After header; headers: additional headers of the response.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        status, meaning = REQUEST_CODES[code]
        super().__init__(message or meaning, code=code)
        self.status = status
        self.retry_after = retry_after
        self.headers = headers


class StorageError(FlywheelError):
    """A file cannot be read, written or synced, or its content is not valid."""

    code = "storage_failed"


class NoDataError(FlywheelError):
    """There is nothing to work on: no day, no example, no file."""

    code = "no_data"


class UpstreamError(FlywheelError):
    """A model, the scorer or the collector did not answer according to its contract."""

    code = "upstream_failed"


class SkippedError(FlywheelError):
    """A request is routed but not collected. `code` is one of `SKIP_CODES`."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or SKIP_CODES[code], code=code)


class DatasetError(FlywheelError):
    """A dataset is missing, damaged or cannot be built."""

    code = "dataset_invalid"


class RouterError(FlywheelError):
    """A router is missing, damaged or cannot be trained."""

    code = "router_invalid"
