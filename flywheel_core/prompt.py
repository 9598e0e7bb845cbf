"""Extracts the prompt text from an OpenAI-style request body, by one rule for collection, training and serving.

Rule `v1`. The turns of a body are its user, assistant, tool and function messages; system and developer messages
are instructions, not turns. The text of a turn is its string content, or the text parts of its content joined by
newlines. The prompt is the text of the last user turn. When the conversation is requested and there is more than one
turn, the prompt is every turn as `role: text`, joined by blank lines, with non-text parts as `[type]`.
A body of /v1/completions has its prompt as its only user turn; the turns of a /v1/responses body are its input items.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PROMPT_RULE = "v1"
"""Version of the rule in this module, recorded in every data point and decision. It must change whenever the results change.

Datasets take the questions of all rules, and a router does not record by which rule its texts were made: a second rule
needs both, or a router chooses by texts of another kind than those it was trained on.
"""

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
"""The types of content parts that are text."""

_HALVES = re.compile("[\ud800-\udfff]")
_TURNS = frozenset({"user", "assistant", "tool", "function"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of one request, and what distinguishes the request from a single question.

    text: what is routed and scored; empty when there is no user turn or the text would be blank. turns:
    `(role, text)` of every turn and instruction, in order. features: those of `earlier_turns`, `tools`,
    `not_only_text` and `several_answers` that apply, in this order.
    """

    text: str
    turns: tuple[tuple[str, str], ...] = ()
    features: tuple[str, ...] = ()


def extract_prompt(body: object, *, conversation: bool = False) -> Prompt:
    """Return the prompt of a decoded JSON body of /v1/chat/completions, /v1/completions or /v1/responses.

    With `conversation`, all turns are rendered when there is more than one, not only the last user turn. Accepts any
    JSON value: one of unknown shape gives an empty prompt. Never raises.
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
"""Role, texts, and the types of the non-text parts."""


def _messages(body: Mapping[str, Any]) -> Iterator[_Message]:
    """Yield the messages of a body of any of the three shapes, in order."""
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
    """Yield the messages of a list of items.

    Content parts outside a message form one user turn at the end; other items (calls and their outputs) are tool turns.
    """
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
    """Return the texts of a message's content and the types of its other parts."""
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
    wanted = body.get("modalities")
    not_only_text_wanted = isinstance(wanted, list) and any(kind != "text" for kind in wanted)
    if not_only_text_wanted or any(others for _, _, others in turns):
        yield "not_only_text"
    answers = body.get("n")
    prompts = body.get("prompt")
    if (isinstance(answers, int) and answers > 1) or (isinstance(prompts, list) and len(prompts) > 1):
        yield "several_answers"


def clean(text: str) -> str:
    """Return `text` with unpaired surrogates, which UTF-8 cannot encode, replaced by U+FFFD."""
    if text.isascii() or not _HALVES.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
