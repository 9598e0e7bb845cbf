"""Loads the configuration from YAML and environment variables; no other module reads the environment.

Sources, later ones override earlier ones: the defaults; the file named by `path`, else by FLYWHEEL_CONFIG, else
`flywheel.yaml` in the working directory if it exists; variables `FLYWHEEL__SECTION__FIELD`, whose values are parsed
as YAML.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from yaml.constructor import ConstructorError

from flywheel_core.config import Config
from flywheel_core.config_problems import VARIABLE_PLACE, Place, Problem, find_problems
from flywheel_core.errors import ConfigError, ConfigIncompleteError

DEFAULT_FILE = "flywheel.yaml"
FILE_VARIABLE = "FLYWHEEL_CONFIG"
VARIABLE_PREFIX = "FLYWHEEL__"
MAX_FILE_BYTES = 1_048_576


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that keeps dates as text, so that 2026-02-30 is reported as a bad value, not as a broken file."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value. Raises ConstructorError, with the line, where PyYAML's own functions fail on a tag."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise ConstructorError(None, None, f"no value of type {tag}", node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_config(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Load the configuration; `environment` defaults to os.environ.

    Raises ConfigError when the file or a variable cannot be read or a value is not valid; it lists every invalid value
    with its line and the allowed range.
    """
    variables = os.environ if environment is None else environment
    file = find_file(path, variables)
    values: dict[str, Any] = {}
    places: dict[Place, str] = {}
    problems: list[Problem] = []
    if file is not None:
        values, places, problems = _read_file(file)
    _apply_variables(values, places, variables)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems += find_problems(error, values, places, str(file) if file else "defaults")
    else:
        if not problems:
            return config
    listing = "\n".join(f"  {problem}" for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise ConfigError(f"the configuration has {count}:\n{listing}")


def find_file(path: Path | None, environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the configuration file to load, or None when there is none. `environment` defaults to os.environ."""
    variables = os.environ if environment is None else environment
    if path is not None:
        return path
    if variables.get(FILE_VARIABLE):
        return Path(variables[FILE_VARIABLE])
    try:
        # not is_file: ignored, a folder as Docker makes where a file to mount is missing, or a link that leads
        # nowhere, would put the defaults in force without a word; reading them is an error
        Path(DEFAULT_FILE).lstat()
    except FileNotFoundError:
        return None
    return Path(DEFAULT_FILE)


def secret(variable: str, needed_by: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the secret in an environment variable, without line ends after it: one that was made from a file has some.

    Raises ConfigIncompleteError, naming the setting `needed_by`, when the variable is unset or empty.
    """
    value = (os.environ if environment is None else environment).get(variable, "").rstrip("\r\n")
    if not value:
        raise ConfigIncompleteError(
            f"{needed_by} names the environment variable {variable}, which is not set",
            hint=f"export {variable}=... and try again",
        )
    return value


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of this process's environment with `changes` applied, for a child process."""
    return {**os.environ, **changes}


def environment_without_settings() -> dict[str, str]:
    """Return this process's environment without Flywheel's variables, for a child that must use only its file."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != FILE_VARIABLE and not name.startswith(VARIABLE_PREFIX)
    }


def to_yaml(config: Config) -> str:
    """Return the whole configuration as YAML that `load_config` accepts."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text


def _read_file(path: Path) -> tuple[dict[str, Any], dict[Place, str], list[Problem]]:
    """Return the file's values, where each stands, and the settings that stand twice."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes: that is not a configuration")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror}",
            hint=f"--config or {FILE_VARIABLE} names it; `flywheel config show > {shlex.quote(str(path))}` writes the defaults there"
            if isinstance(error, FileNotFoundError)
            else None,
        ) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: this is not UTF-8",
            hint="save the file as UTF-8; one in GBK is turned into it by iconv -f GB18030 -t UTF-8",
        ) from None
    try:
        tree = yaml.compose(text, Loader=_Loader)
        places: dict[Place, str] = {}
        repeats: list[Problem] = []
        if tree is not None:
            _note_places(tree, (), path, places, repeats, set())
        values = yaml.load(text, Loader=_Loader)  # noqa: S506  # the loader is a safe one
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(
            f"{path}:{line}: this is not YAML: {error.problem}",
            hint="look at this line and the one before: an indent, a bracket or a quote that is not closed",
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if values is None:
        return {}, places, repeats
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds one value instead of sections", hint="see `flywheel config show`")
    return values, places, repeats


def _note_places(
    node: yaml.Node,
    at: Place,
    file: Path,
    places: dict[Place, str],
    repeats: list[Problem],
    visited: set[int],
) -> None:
    places.setdefault(at, f"{file}:{node.start_mark.line + 1}")
    if id(node) in visited:
        return  # an alias: a small file of nested aliases would otherwise take forever
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            where = f"{file}:{key.start_mark.line + 1}"
            if name in seen:
                repeats.append(Problem(".".join(map(str, (*at, name))), where, "stands twice in the file"))
            seen.add(name)
            places[(*at, name)] = where
            _note_places(value, (*at, name), file, places, repeats, visited)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_places(value, (*at, index), file, places, repeats, visited)


def _apply_variables(values: dict[str, Any], places: dict[Place, str], variables: Mapping[str, str]) -> None:
    ours = sorted(name for name in variables if name.startswith(VARIABLE_PREFIX))
    named = {name: name.removeprefix(VARIABLE_PREFIX).split("__") for name in ours}
    if "models" not in values:
        defaults = {name: model.model_dump(mode="json") for name, model in Config().models.items()}
        if any(p[0].lower() == "models" and p[1].lower() in defaults for p in named.values() if len(p) > 2):
            values["models"] = defaults  # a variable sets one value of a default model: all models stay
    for variable, parts in named.items():
        try:
            value = yaml.load(variables[variable], Loader=_Loader)  # noqa: S506  # the loader is a safe one
        except (yaml.YAMLError, ValueError, RecursionError):
            # the reasons quote the value, which may be a secret in place of its variable's name
            raise ConfigError(
                f"the environment variable {variable} is not YAML", hint="quote its value"
            ) from None
        section = values
        for at, part in enumerate(parts):
            parts[at] = _key(section, part)
            if at == len(parts) - 1:
                break
            inner = section.setdefault(parts[at], {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"the environment variable {variable} reaches into {parts[at]}, which is one value"
                )
            section = inner
        section[parts[-1]] = value
        places[tuple(parts)] = VARIABLE_PLACE + variable


def _key(section: Mapping[str, Any], part: str) -> str:
    """Return the key that one part of a variable's name stands for.

    Case is ignored: an existing key keeps its spelling, since model names may have capitals; a new key is lower case.
    """
    fitting = [key for key in section if isinstance(key, str) and key.lower() == part.lower()]
    return part if part in fitting else (*fitting, part.lower())[0]
