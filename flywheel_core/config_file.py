"""Reads the configuration from YAML and the environment; the only place that reads the environment.

Order, later wins: defaults; the file named by `path`, else by FLYWHEEL_CONFIG, else `flywheel.yaml` in the working
folder if there is one; variables `FLYWHEEL__SECTION__FIELD`, whose values are read as YAML.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from flywheel_core.config import Config
from flywheel_core.errors import ConfigError, ConfigIncompleteError

DEFAULT_FILE = "flywheel.yaml"
FILE_VARIABLE = "FLYWHEEL_CONFIG"
VARIABLE_PREFIX = "FLYWHEEL__"
MAX_FILE_BYTES = 1_048_576

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a configuration: dotted path, place in the file or variable, value, what is allowed."""

    path: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path}: {self.message}" if self.path else f"{self.where}: {self.message}"


def load_config(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in force. `environment` is os.environ unless given.

    Raises ConfigError that lists every problem with its line, value and allowed range.
    """
    variables = os.environ if environment is None else environment
    file = find_file(path, variables)
    values: dict[str, Any] = {}
    places: dict[Path_, str] = {}
    if file is not None:
        values, places = _read_file(file)
    _apply_variables(values, places, variables)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        origin = str(file) if file else "environment"
        problems = [_problem(detail, places, origin) for detail in error.errors(include_url=False)]
        listing = "\n".join(f"  {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"the configuration has {count}:\n{listing}") from None


def find_file(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The configuration file in force, or None for the defaults."""
    if path is not None:
        return path
    if environment.get(FILE_VARIABLE):
        return Path(environment[FILE_VARIABLE])
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None


def secret(variable: str, needed_by: str, environment: Mapping[str, str] | None = None) -> str:
    """The secret in an environment variable. Raises ConfigIncompleteError, naming the setting, when it is not set."""
    value = (os.environ if environment is None else environment).get(variable, "")
    if not value:
        raise ConfigIncompleteError(
            f"{needed_by} names the environment variable {variable}, which is not set",
            hint=f"export {variable}=... and try again",
        )
    return value


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with some variables changed, for a child process."""
    return {**os.environ, **changes}


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML that `load_config` takes."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _read_file(path: Path) -> tuple[dict[str, Any], dict[Path_, str]]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes: that is no configuration")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})") from None
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        places: dict[Path_, str] = {}
        if tree is not None:
            _note_places(tree, (), path, places)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if values is None:
        return {}, places
    if not isinstance(values, dict):
        raise ConfigError(f"{path} does not hold sections but one value", hint="see `flywheel config show`")
    return values, places


def _note_places(node: yaml.Node, at: Path_, file: Path, places: dict[Path_, str]) -> None:
    places.setdefault(at, f"{file}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen:
                raise ConfigError(
                    f"{file}:{line}: {'.'.join(map(str, (*at, name)))} stands twice in the file"
                )
            seen.add(name)
            places[(*at, name)] = f"{file}:{line}"
            _note_places(value, (*at, name), file, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_places(value, (*at, index), file, places)


def _apply_variables(values: dict[str, Any], places: dict[Path_, str], variables: Mapping[str, str]) -> None:
    for variable in sorted(variables):
        if not variable.startswith(VARIABLE_PREFIX):
            continue
        parts = variable.removeprefix(VARIABLE_PREFIX).lower().split("__")
        try:
            value = yaml.safe_load(variables[variable])
        except yaml.YAMLError as error:
            raise ConfigError(f"the environment variable {variable} is not YAML: {error}") from None
        section = values
        for part in parts[:-1]:
            inner = section.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"the environment variable {variable} reaches into {part}, which is one value"
                )
            section = inner
        section[parts[-1]] = value
        places[tuple(parts)] = f"environment variable {variable}"


def _problem(detail: ErrorDetails, places: Mapping[Path_, str], origin: str) -> Problem:
    at: Path_ = tuple(detail["loc"])
    context = detail.get("ctx", {})
    if "path" in context:
        at = tuple(str(context["path"]).split("."))
    where = next((places[at[:size]] for size in range(len(at), -1, -1) if at[:size] in places), origin)
    path = ".".join(map(str, at))
    if detail["type"] == "extra_forbidden":
        return Problem(path, where, f"there is no such setting{_suggestion(at)}")
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "unknown_model":
        return Problem(path, where, message)
    return Problem(path, where, f"{message}; the file has {_shown(detail['input'])}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _suggestion(at: Path_) -> str:
    known = _known_keys(at[:-1])
    nearest = difflib.get_close_matches(str(at[-1]), known, n=1, cutoff=0.5)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _known_keys(at: Path_) -> list[str]:
    """The keys that the section at `at` takes."""
    section: type[BaseModel] = Config
    parts = list(at)
    while parts:
        part = str(parts.pop(0))
        if part not in section.model_fields:
            return []
        annotation = section.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
            continue
        inner = [
            kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not inner or not parts:
            return []
        section = inner[0]
        parts.pop(0)
    return list(section.model_fields)
