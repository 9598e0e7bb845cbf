"""Describes what the configuration accepts, for messages, for `flywheel config schema` and for the documentation."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic.fields import FieldInfo

from flywheel_core.config import Config
from flywheel_core.config_fields import Kind, Section, Unit

NAMED = "NAME"
"""Placeholder in a setting's path for a name that the user chooses, such as a model's."""


@dataclass(frozen=True)
class Allowed:
    """The values that a setting accepts: kind, range and unit; range and unit are "" when there is none."""

    kind: str
    bounds: str = ""
    unit: str = ""

    def __str__(self) -> str:
        """Return, for example, `a whole number, 1..600000 ms`."""
        words = f"{self.kind}, {self.bounds}" if self.bounds else self.kind
        return f"{words} {self.unit}" if self.unit and self.bounds else words


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted path, accepted values, default as Markdown text, and one-sentence description."""

    path: str
    allowed: Allowed
    default: str
    sentence: str


def settings(section: type[Section] = Config, prefix: str = "") -> Iterator[Setting]:
    """Yield every setting, a section's own before those of its inner sections; a model's appear as `models.NAME`."""
    sections: list[tuple[str, type[Section]]] = []
    for name, field in section.model_fields.items():
        inner = _section_in(field.annotation)
        if inner is None:
            allowed = _describe(field.annotation, list(field.metadata))
            yield Setting(prefix + name, allowed, _default(field), field.description or "")
        else:
            named = f".{NAMED}." if get_origin(field.annotation) is dict else "."
            sections.append((prefix + name + named, inner))
    for below, inner in sections:
        yield from settings(inner, below)


def find(path: tuple[str | int, ...]) -> Allowed | None:
    """Return what the value at a path may be, list items and named entries included; None when there is no such path."""
    annotation: Any = Config
    metadata: list[Any] = []
    for part in path:
        annotation, metadata = _bare(annotation, metadata)
        if isinstance(annotation, type) and issubclass(annotation, Section):
            field = annotation.model_fields.get(str(part))
            if field is None:
                return None
            annotation, metadata = field.annotation, list(field.metadata)
        elif get_origin(annotation) in (list, dict):
            annotation, metadata = get_args(annotation)[-1], []
        else:
            return None
    return _describe(annotation, metadata)


def keys_at(path: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the section at a path accepts; an empty list when there is no section."""
    annotation: Any = Config
    for part in path:
        section = _section_in(annotation)
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif section is not None and str(part) in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
        else:
            return []
    section = None if get_origin(annotation) is dict else _section_in(annotation)
    return list(section.model_fields) if section else []


def json_schema() -> dict[str, Any]:
    """Return the configuration as JSON Schema, units included."""
    return Config.model_json_schema()


def markdown() -> str:
    """Return all settings as Markdown, one table per section."""
    parts: list[str] = []
    section = None
    for setting in settings():
        head, _, name = setting.path.rpartition(".")
        if head != section:
            section = head
            parts.append(f"\n## `{head}`\n\n{_section_sentence(head)}\n")
            parts.append("| setting | type, unit | range | default | meaning |")
            parts.append("| --- | --- | --- | --- | --- |")
        rule = setting.allowed
        kind = rule.kind.removeprefix("a ").removeprefix("an ") + (f", {rule.unit}" if rule.unit else "")
        parts.append(f"| `{name}` | {kind} | {rule.bounds or '-'} | {setting.default} | {setting.sentence} |")
    return "\n".join(parts).strip() + "\n"


def _bare(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Return an annotation without `Annotated` and `| None`, and all metadata found while removing them."""
    found = list(metadata)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            found += more
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (kind for kind in get_args(annotation) if kind is not type(None))
        else:
            break
    flat: list[Any] = []
    for item in found:
        flat += item.metadata if isinstance(item, FieldInfo) else [item]
    return annotation, flat


def _describe(annotation: Any, metadata: list[Any]) -> Allowed:
    optional = get_origin(annotation) in (Union, types.UnionType)
    bare, notes = _bare(annotation, metadata)
    unit = next((note.name for note in notes if isinstance(note, Unit)), "")
    kind = next((note.name for note in notes if isinstance(note, Kind)), None) or _kind(bare)
    return Allowed(kind + (" or null" if optional else ""), _bounds(bare, notes), unit)


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(get_args(annotation))
    if get_origin(annotation) is list:
        inner = get_args(annotation)[0]
        return "a list of names" if get_origin(inner) is not Literal else f"a list of {_kind(inner)}"
    if get_origin(annotation) is dict:
        return "a section for each name"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return names.get(annotation, "a section")


def _bounds(annotation: Any, notes: list[Any]) -> str:
    def first(kind: type, name: str) -> Any:
        return next((getattr(note, name) for note in notes if isinstance(note, kind)), None)

    shortest, longest = first(MinLen, "min_length"), first(MaxLen, "max_length")
    low, high = first(Ge, "ge"), first(Le, "le")
    above = first(Gt, "gt")
    if shortest is not None or longest is not None:
        things = "characters" if annotation is str else "entries"
        span = f"{shortest} or more" if longest is None else f"{shortest or 0}..{longest}"
        return f"{span} {things}"
    if low is not None and high is not None:
        return f"{low:g}..{high:g}" if isinstance(high, float) else f"{low}..{high}"
    words = [
        f"{word} {bound}"
        for word, bound in (("above", above), ("at least", low), ("at most", high))
        if bound is not None
    ]
    return ", ".join(words)


def _section_in(annotation: Any) -> type[Section] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section)), None)


def _section_sentence(path: str) -> str:
    annotation: Any = Config
    for part in path.split("."):
        section = _section_in(annotation)
        if section is not None and part != NAMED:
            annotation = section.model_fields[part].annotation
    section = _section_in(annotation)
    return (section.__doc__ or "").splitlines()[0] if section else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return ", ".join(f"`{item}`" for item in value) or "empty"
    if isinstance(value, str | PurePath):
        return f"`{value}`"
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)
