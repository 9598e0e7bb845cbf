"""Turns validation errors into messages: which setting is wrong, where it is set, its value and what is allowed."""

import difflib
import re
import reprlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flywheel_core.config import Config
from flywheel_core.config_schema import find, keys_at, settings

Place = tuple[str | int, ...]
"""The path to a value: section keys and list indexes."""

_USER = re.compile(r"//[^/?#]*@")

_SHORT = reprlib.Repr()
"""Reads no more of a value than is shown: a small file of nested aliases would otherwise take forever."""
_SHORT.maxlevel = 3
_SHORT.maxdict = _SHORT.maxlist = 20
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 400

SECRETS_VARIABLE = "_env"
"""Suffix of the settings that name the environment variable of a secret."""

VARIABLE_PLACE = "environment variable "
"""Prefix of a value's location when the value comes from an environment variable."""


@dataclass(frozen=True)
class Problem:
    """One problem: the setting's dotted path, where it is set (file and line, or variable), and what is wrong."""

    path: str
    where: str
    message: str

    def __str__(self) -> str:
        """Return, for example, `flywheel.yaml:3: labelling.min_score: must be a number, 0..1; the file has 1.5`."""
        return f"{self.where}: {self.path}: {self.message}" if self.path else f"{self.where}: {self.message}"


def find_problems(
    error: ValidationError, values: dict[str, Any], places: Mapping[Place, str], origin: str
) -> list[Problem]:
    """Return every problem in `values`.

    places: where each value is set; origin: what to name for a value that is set nowhere. Pydantic checks model names
    only when everything else is valid, so they are checked again with the malformed settings removed.
    """
    details = error.errors(include_url=False)
    paths = [tuple(detail["loc"]) for detail in details]
    if all(path and not (path[0] == "models" and len(path) < 3) for path in paths):
        try:
            Config.model_validate(_without(values, paths))
        except ValidationError as rest:
            details += [
                detail for detail in rest.errors(include_url=False) if detail["type"] == "unknown_models"
            ]
    problems: list[Problem] = []
    for detail in details:
        if detail["type"] == "unknown_models":
            problems += _unknown_models(detail, paths, places, origin)
        else:
            problems.append(_problem(detail, places, origin))
    return problems


def _names_models(path: Place) -> bool:
    """Return whether the setting at `path` may determine which models are named."""
    return "candidate_models" in path or path[0] == "routing"


def _without(values: dict[str, Any], paths: list[Place]) -> dict[str, Any]:
    """Return a copy of `values` without the settings at `paths`.

    A list with a bad entry is removed whole: removing the entry alone would shift the indexes of the others.
    """
    kept = deepcopy(values)
    for path in paths:
        node: Any = kept
        for place, part in enumerate(path, 1):
            if not isinstance(node.get(part), dict) or place == len(path):
                node.pop(part, None)
                break
            node = node[part]
    return kept


def _where(at: Place, places: Mapping[Place, str], origin: str) -> str:
    if at not in places:
        # a variable with too many parts created a section here: only the path below has a location
        below = next((places[place] for place in places if place[: len(at)] == at), None)
        if below is not None:
            return below
    return next((places[at[:size]] for size in range(len(at), -1, -1) if at[:size] in places), origin)


def _unknown_models(
    detail: ErrorDetails, malformed: list[Place], places: Mapping[Place, str], origin: str
) -> list[Problem]:
    """Return one problem per unknown name that was configured, and one per setting whose defaults are unknown.

    Settings in `malformed` are already reported and are skipped. Defaults are not reported when a malformed setting may
    have named the models: the defaults then apply only because that setting could not be read.
    """
    context = detail["ctx"]
    known = f"known are {', '.join(context['known'])}"
    defaults_are_meant = not any(map(_names_models, filter(None, malformed)))
    problems = []
    defaults: dict[Place, list[str]] = {}
    for path, name in context["unknown"]:
        at: Place = tuple(int(part) if part.isdigit() else part for part in path.split("."))
        setting = at[:-1] if isinstance(at[-1], int) else at
        if any(bad and bad[: len(setting)] == setting[: len(bad)] for bad in malformed):
            continue
        if at not in places and setting not in places:
            if defaults_are_meant:
                defaults.setdefault(setting, []).append(repr(name))
            continue
        nearest = difflib.get_close_matches(name, context["known"], n=1)
        way_on = f"did you mean {nearest[0]}?" if nearest else known
        problems.append(Problem(path, _where(at, places, origin), f"{name!r} is not in models; {way_on}"))
    for setting, names in defaults.items():
        said = f"the default{'s' * (len(names) > 1)} {', '.join(names)} {'is' if len(names) == 1 else 'are'} not in models"
        path = ".".join(map(str, setting))
        problems.append(Problem(path, _where(setting, places, origin), f"{said}; {known}"))
    return problems


def _problem(detail: ErrorDetails, places: Mapping[Place, str], origin: str) -> Problem:
    at: Place = tuple(detail["loc"])
    where = _where(at, places, origin)
    path = ".".join(map(str, at))
    if detail["type"] == "extra_forbidden":
        return Problem(path, where, f"there is no such setting{_suggestion(at)}")
    if at[-1:] == ("[key]",):
        return Problem(
            ".".join(map(str, at[:-2])),
            where,
            f"the name {detail['input']!r} must be text, 1..200 characters",
        )
    allowed = find(at)
    message = f"must be {allowed}" if allowed else detail["msg"]
    source = "the variable" if where.startswith(VARIABLE_PLACE) else "the file"
    if str(at[-1]).endswith(SECRETS_VARIABLE):
        return Problem(
            path, where, f"{message}; the value in {source} is not shown: it may be the secret itself"
        )
    return Problem(path, where, f"{message}; {source} has {_shown(detail['input'])}")


def _shown(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else _SHORT.repr(value)
    text = _USER.sub("//***@", text)  # never repeat a user and password written into an address
    return text if len(text) <= 80 else text[:77] + "..."


def _suggestion(at: Place) -> str:
    """Return a hint: a similar key of this section, else settings elsewhere with this key, else all keys of this section."""
    key = str(at[-1])
    known = keys_at(at[:-1])
    elsewhere = [setting.path for setting in settings() if setting.path.endswith(f".{key}")]
    nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.7) or elsewhere[:3]
    nearest = nearest or difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    if nearest:
        return f"; did you mean {' or '.join(nearest)}?"
    return f"; known here: {', '.join(known)}" if known else ""
