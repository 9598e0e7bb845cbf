"""From an OpenAI-style request body to the prompt text: one rule for collecting, training and serving.

Rule `v1`. The turns of a body are its user, assistant, tool and function messages; system and developer messages
are instructions, not turns. A turn's text is its string content, or the text parts of its content joined by a
newline. The prompt is the text of the last user turn. Asked for the conversation, the prompt of a body with
earlier or later turns is every turn as `role: text`, joined by a blank line, parts that are not text as `[type]`.
A body of /v1/completions has one user turn, its prompt; a body of /v1/responses has its input items as turns.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PROMPT_RULE = "v1"
"""Version of the rule in this module, recorded in every data point. Changes with any change of its results."""

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
"""Types of the parts of a content list that are text."""

_HALVES = re.compile("[\ud800-\udfff]")
_TURNS = frozenset({"user", "assistant", "tool", "function"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of one request, and what else the request has that a lone question has not.

    text: what is routed and scored; empty when there is no user turn with text. turns: `(role, text)` of each turn
    and instruction, in order. features: of `earlier_turns`, `tools`, `not_only_text`, `several_answers`, in this
    order, those that hold.
    """

    text: str
    turns: tuple[tuple[str, str], ...] = ()
    features: tuple[str, ...] = ()


def extract_prompt(body: object, *, conversation: bool = False) -> Prompt:
    """The prompt of a decoded JSON body of /v1/chat/completions, /v1/completions or /v1/responses.

    `conversation` renders every turn instead of the last question alone, where there is more than one. Takes any
    JSON value: what has no known shape gives an empty prompt. Raises nothing.
    """
    if not isinstance(body, Mapping):
        return Prompt("")
    messages = list(_messages(body))
    turns = [message for message in messages if message[0] in _TURNS]
    last = next((at for at in reversed(range(len(turns))) if turns[at][0] == "user"), None)
    features = tuple(_features(body, turns))
    spoken = tuple((role, "\n".join(texts)) for role, texts, _ in messages)
    if last is None:
        return Prompt("", spoken, features)
    text = "\n".join(turns[last][1])
    if conversation and len(turns) > 1:
        text = "\n\n".join(f"{role}: {_rendered(texts, others)}" for role, texts, others in turns)
    return Prompt("" if text.isspace() else text, spoken, features)


_Message = tuple[str, list[str], list[str]]
"""Role, texts, and the types of the parts that are not text."""


def _messages(body: Mapping[str, Any]) -> Iterator[_Message]:
    """The messages of a body of any of the three shapes, in order."""
    if isinstance(body.get("messages"), list):
        yield from _from_items(body["messages"])
    elif isinstance(body.get("input"), str | list):
        if isinstance(body.get("instructions"), str):
            yield "system", [clean(body["instructions"])], []
        if isinstance(body["input"], str):
            yield "user", [clean(body["input"])], []
        else:
            yield from _from_items(body["input"])
    elif isinstance(body.get("prompt"), str):
        yield "user", [clean(body["prompt"])], []
    elif isinstance(body.get("prompt"), list):
        yield "user", [clean(item) for item in body["prompt"] if isinstance(item, str)], []


def _from_items(items: list[Any]) -> Iterator[_Message]:
    """Messages; bare content parts are one user turn, everything else (calls and their outputs) is a tool's."""
    parts = []
    for item in items:
        if not isinstance(item, Mapping):
            continue
        role, kind = item.get("role"), item.get("type")
        if isinstance(role, str):
            yield clean(role), *_content(item.get("content"))
        elif isinstance(kind, str) and kind.startswith("input_"):
            parts.append(item)
        else:
            yield "tool", *_content(item.get("output"))
    if parts:
        yield "user", *_content(parts)


def _content(content: object) -> tuple[list[str], list[str]]:
    """The texts of a message's content, and the types of its other parts."""
    if isinstance(content, str):
        return [clean(content)], []
    texts: list[str] = []
    others: list[str] = []
    for part in content if isinstance(content, list) else []:
        if isinstance(part, str):
            texts.append(clean(part))
        elif isinstance(part, Mapping):
            kind = part.get("type", "text")
            if not isinstance(kind, str):
                continue
            if kind not in TEXT_PARTS:
                others.append(clean(kind))
            elif isinstance(part.get("text"), str):
                texts.append(clean(part["text"]))
    return texts, others


def _rendered(texts: list[str], others: list[str]) -> str:
    return "\n".join([*texts, *(f"[{kind}]" for kind in others)])


def _features(body: Mapping[str, Any], turns: list[_Message]) -> Iterator[str]:
    if len(turns) > 1 or body.get("previous_response_id") is not None:
        yield "earlier_turns"
    if (
        body.get("tools")
        or body.get("functions")
        or any(role in ("tool", "function") for role, _, _ in turns)
    ):
        yield "tools"
    if any(others for _, _, others in turns):
        yield "not_only_text"
    answers = body.get("n")
    prompts = body.get("prompt")
    if (isinstance(answers, int) and answers > 1) or (isinstance(prompts, list) and len(prompts) > 1):
        yield "several_answers"


def clean(text: str) -> str:
    """`text` with half surrogate pairs, which UTF-8 cannot hold, replaced by U+FFFD."""
    if text.isascii() or not _HALVES.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
