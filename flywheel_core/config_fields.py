"""Building blocks of the configuration sections: their base class and the types of values, with units and ranges."""

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
)

_VERSION = re.compile(r"/v\d+$")
_NOT_IN_PATH = re.compile(r"[^!-~]|[?#%\\]|/\.{1,2}(/|$)")


_SET_BY_FLYWHEEL = {"model", "messages", "stream", "stream_options", "n"}
_MOST_VALUES = 1_000


class Section(BaseModel):
    """Base class of all sections: unknown keys are errors, types are checked strictly, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Unit:
    """The unit of a number, as shown in documentation and messages."""

    name: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core_schema), "unit": self.name}


@dataclass(frozen=True)
class Kind:
    """A description of the accepted values, for fields whose Python type says too little."""

    name: str


def _http_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https") or not rest or any(mark.isspace() for mark in text):
        raise ValueError("an address begins with http:// or https:// and has no white space")
    address = urlsplit(text)
    if not address.hostname or address.port == 0:  # reading .port raises ValueError for an invalid port
        raise ValueError("an address names a host, and a port only from 1 to 65535")
    if address.hostname.isascii():
        # As at each connection: raises ValueError where a part is empty or too long.
        address.hostname.encode("idna")
    if "@" in address.netloc:
        raise ValueError("an address has no user or password in it: keys stay out of the file")
    return text.rstrip("/")


def _without_version(text: str) -> str:
    address = _http_url(text)
    if _VERSION.search(address):
        raise ValueError("the version of a model's API is not part of its address, but of api_path")
    return address


def _path(text: str) -> str:
    path = text.rstrip("/")
    if path and (path[0] != "/" or _NOT_IN_PATH.search(path)):
        raise ValueError("a path begins with /, and has neither white space nor ?, #, % or steps back")
    return path


def _fields_of_a_request(given: dict[str, Any]) -> dict[str, Any]:
    if _SET_BY_FLYWHEEL & given.keys():
        raise ValueError(f"{', '.join(sorted(_SET_BY_FLYWHEEL))} are set by Flywheel")
    left: list[Any] = [given]
    # Aliases in a small file can stand for more values than anybody can read. Two rounds more: the first takes the
    # mapping itself, the last finds nothing left.
    for _ in range(_MOST_VALUES + 2):
        if not left:
            return given
        value = left.pop()
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a name is not text")
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str):
            value.encode()  # half a surrogate pair raises a ValueError
        elif not (
            value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        ):
            raise ValueError("a value is not JSON")
    raise ValueError(f"there are more than {_MOST_VALUES} names and values")


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[
    str,
    AfterValidator(_http_url),
    Kind("an address that begins with http:// or https:// and names a host without user or password"),
]
ModelUrl = Annotated[
    str,
    AfterValidator(_without_version),
    Kind(
        "an address that begins with http:// or https://, names a host without user or password and does not end in a version such as /v1 (see api_path)"
    ),
]
ApiPath = Annotated[
    str,
    AfterValidator(_path),
    Kind("a path of printable ASCII that begins with / and has no ?, # or %, or nothing"),
]
ExtraBody = Annotated[
    dict[str, Any],
    AfterValidator(_fields_of_a_request),
    Kind(
        "a mapping of request fields to JSON values, with at most 1,000 names and values, without model, messages, stream, stream_options and n"
    ),
]
DayText = Annotated[str, AfterValidator(_day), Kind("a day, YYYY-MM-DD")]
VariableName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$"),
    Kind("the name of an environment variable (letters, digits and _)"),
]
"""Names the variable that holds a secret. Most secrets are not valid names, so one put here by mistake is refused."""
Seconds = Annotated[float, Unit("s")]
WholeSeconds = Annotated[int, Unit("s")]
Milliseconds = Annotated[int, Unit("ms")]
Bytes = Annotated[int, Unit("bytes")]
Megabytes = Annotated[int, Unit("MB")]
Days = Annotated[int, Unit("days")]
Money = Annotated[float, Field(ge=0), Unit("currency")]
