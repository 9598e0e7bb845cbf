"""The prompt rule on every shape that gateways send, and on malformed ones."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_core import prompt as prompt_module
from flywheel_core.prompt import PROMPT_RULE, Prompt, clean, extract_prompt

USER = {"role": "user", "content": "What is 2 + 2?"}
SYSTEM = {"role": "system", "content": "Answer briefly."}


def text(*parts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": part} for part in parts]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": [USER]}, "What is 2 + 2?"),
        ({"messages": [SYSTEM, USER]}, "What is 2 + 2?"),
        ({"messages": [{"role": "developer", "content": "x"}, USER]}, "What is 2 + 2?"),
        ({"messages": [USER, SYSTEM]}, "What is 2 + 2?"),
        ({"messages": [{"role": "user", "content": text("a", "b")}]}, "a\nb"),
        ({"messages": [{"role": "user", "content": [{"text": "no type"}]}]}, "no type"),
        ({"messages": [{"role": "user", "content": ["plain", "strings"]}]}, "plain\nstrings"),
        ({"messages": [{"role": "user", "content": [{"type": ["text"], "text": "x"}, "b"]}]}, "b"),
        ({"messages": [{"role": "user", "content": None}]}, ""),
        ({"messages": [{"role": "user"}]}, ""),
        ({"messages": [{"role": "user", "content": ""}]}, ""),
        ({"messages": [{"role": "user", "content": " \n\t\u3000"}]}, ""),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, ""),
        ({"messages": [SYSTEM]}, ""),
        ({"messages": []}, ""),
        ({"messages": "hello"}, ""),
        ({"messages": [None, 3, "x", USER]}, "What is 2 + 2?"),
        ({"messages": [{"role": "user", "content": "  kept as it is \n"}]}, "  kept as it is \n"),
        ({"prompt": "complete this"}, "complete this"),
        ({"prompt": ["one"]}, "one"),
        ({"prompt": ["one", "two"]}, "one\ntwo"),
        ({"prompt": [1, 2, 3]}, ""),
        ({"input": "respond"}, "respond"),
        ({"input": "respond", "instructions": "shortly"}, "respond"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]}]}, "a"),
        ({"input": [{"type": "message", "role": "user", "content": "b"}]}, "b"),
        ({"input": [{"type": "input_text", "text": "c"}, {"type": "input_text", "text": "d"}]}, "c\nd"),
        ({}, ""),
        ([], ""),
        (None, ""),
        ("text", ""),
        (3.5, ""),
    ],
)
def test_the_prompt_of_each_shape(body: Any, expected: str) -> None:
    """One rule covers all shapes: the text of the last user turn, with its text parts joined by newlines."""
    assert extract_prompt(body).text == expected


def test_no_text_is_carried_over_from_an_earlier_turn() -> None:
    """If the last user turn has no text there is no prompt, whatever was said before."""
    body = {"messages": [USER, {"role": "assistant", "content": "4"}, {"role": "user", "content": []}]}
    assert extract_prompt(body).text == ""


CONVERSATION = [
    SYSTEM,
    {"role": "user", "content": "Name a prime."},
    {"role": "assistant", "content": "7"},
    {"role": "user", "content": [*text("And a larger one?"), {"type": "image_url", "image_url": {}}]},
]


def test_a_conversation_is_rendered_when_asked_for() -> None:
    """Each turn becomes `role: text`, without instructions; parts that are not text appear as their type."""
    prompt = extract_prompt({"messages": CONVERSATION}, conversation=True)
    assert prompt.text == "user: Name a prime.\n\nassistant: 7\n\nuser: And a larger one?\n[image_url]"
    assert extract_prompt({"messages": CONVERSATION}).text == "And a larger one?"


TEXTS_BY_RULE = {
    "v1": [
        "What is 2 + 2?",
        "And a larger one?",
        "user: Name a prime.\n\nassistant: 7\n\nuser: And a larger one?\n[image_url]",
        "respond",
        "one\ntwo",
    ]
}


def test_a_rule_that_gives_other_texts_has_another_name() -> None:
    """Data points, decisions and the cache know by the name alone how a text was made: add a name, change no text."""
    asked: list[tuple[Any, bool]] = [
        ({"messages": [SYSTEM, USER]}, True),
        ({"messages": CONVERSATION}, False),
        ({"messages": CONVERSATION}, True),
        ({"input": "respond", "instructions": "shortly"}, True),
        ({"prompt": ["one", "two"]}, False),
    ]
    texts = [extract_prompt(body, conversation=whole).text for body, whole in asked]
    assert texts == TEXTS_BY_RULE[PROMPT_RULE]
    assert f"Rule `{PROMPT_RULE}`" in str(prompt_module.__doc__)


def test_a_lone_question_is_the_same_with_and_without_conversation() -> None:
    """A question has one text, so the router and the scorer always see the same."""
    body = {"messages": [SYSTEM, USER]}
    assert extract_prompt(body, conversation=True) == extract_prompt(body)


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ({"messages": [SYSTEM, USER]}, ()),
        ({"messages": [USER, {"role": "assistant", "content": "4"}, USER]}, ("earlier_turns",)),
        ({"messages": [USER, USER]}, ("earlier_turns",)),
        ({"messages": [USER], "tools": [{"type": "function"}]}, ("tools",)),
        ({"messages": [USER], "tools": []}, ()),
        ({"messages": [USER], "functions": [{}]}, ("tools",)),
        ({"messages": [USER, {"role": "tool", "content": "4"}]}, ("earlier_turns", "tools")),
        ({"messages": [USER, {"role": "function", "content": "4"}]}, ("earlier_turns", "tools")),
        (
            {"messages": [{"role": "user", "content": [*text("a"), {"type": "input_audio"}]}]},
            ("not_only_text",),
        ),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, ("not_only_text",)),
        ({"messages": [USER], "modalities": ["text", "audio"]}, ("not_only_text",)),
        ({"messages": [USER], "modalities": ["text"]}, ()),
        ({"messages": [USER], "modalities": "audio"}, ()),
        ({"messages": [USER], "n": 2}, ("several_answers",)),
        ({"messages": [USER], "n": 1}, ()),
        ({"prompt": ["a", "b"]}, ("several_answers",)),
        ({"input": "x", "previous_response_id": "r1"}, ("earlier_turns",)),
        (
            {"input": [{"role": "user", "content": "x"}, {"type": "function_call_output", "output": "4"}]},
            ("earlier_turns", "tools"),
        ),
        (
            {"input": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "y"}]},
            ("not_only_text",),
        ),
    ],
)
def test_what_else_a_request_has(body: Any, features: tuple[str, ...]) -> None:
    """Everything that makes a request more than a lone question is named."""
    assert extract_prompt(body).features == features


def test_half_surrogate_pairs_become_replacement_characters() -> None:
    """JSON can hold text that UTF-8 cannot encode; a prompt is always valid UTF-8."""
    body = json.loads('{"messages": [{"role": "user", "content": "a\\ud83d b \\ud83d\\ude00"}]}')
    assert extract_prompt(body).text == "a� b \U0001f600"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PARTS = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "input_text", "image_url", "file"]) | JSON}, optional={"text": JSON}
    ),
)
MESSAGES = st.lists(
    st.one_of(
        JSON,
        st.fixed_dictionaries(
            {
                "role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
                | JSON
            },
            optional={"content": JSON | st.lists(PARTS, max_size=3), "type": JSON},
        ),
    ),
    max_size=5,
)
BODIES = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {},
        optional={
            "messages": MESSAGES | JSON,
            "input": MESSAGES | JSON,
            "prompt": JSON,
            "n": JSON,
            "tools": JSON,
        },
    ),
)


@given(BODIES, st.booleans())
def test_any_json_gives_a_prompt_that_is_utf8(body: Any, conversation: bool) -> None:
    """Nothing that a client sends can make the rule fail or produce text that cannot be stored."""
    prompt = extract_prompt(body, conversation=conversation)
    assert isinstance(prompt, Prompt)
    prompt.text.encode()
    assert prompt.text == "" or not prompt.text.isspace()
    for role, said in prompt.turns:
        (role + said).encode()
    assert prompt == extract_prompt(body, conversation=conversation)


@given(st.text().filter(lambda asked: asked and not asked.isspace()))
def test_a_question_comes_out_as_it_went_in(asked: str) -> None:
    """A plain question is unchanged, in whichever shape it comes."""
    for body in (
        {"messages": [{"role": "user", "content": asked}]},
        {"messages": [SYSTEM, {"role": "user", "content": text(asked)}]},
        {"prompt": asked},
        {"input": asked},
    ):
        assert extract_prompt(json.loads(json.dumps(body))).text == asked


@given(st.text(st.characters(exclude_categories=())))
def test_cleaning_is_idempotent(raw: str) -> None:
    """Cleaned text is valid UTF-8, and cleaning it again does not change it."""
    cleaned = clean(raw)
    assert clean(cleaned) == cleaned
    cleaned.encode()
