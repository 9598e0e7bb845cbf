"""The official OpenAI client works unchanged; the test suite turns its warnings into errors."""

from collections.abc import Callable, Iterator

import openai
import pytest

from tests.gateway.scripted import DONE, STREAM_END, STREAM_HEAD, chunk, event, reply
from tests.gateway.world import Outside, RunningGateway, by_user, until

Start = Callable[..., RunningGateway]


@pytest.fixture
def client(outside: Outside, start: Start) -> Iterator[openai.OpenAI]:
    first = outside.chat
    pieces = [event("two"), event(" is the answer"), event(None, "stop"), DONE]
    outside.chat = lambda asked: (
        [STREAM_HEAD, *map(chunk, pieces), STREAM_END] if asked.json.get("stream") else first(asked)
    )
    gateway = start(outside.config())
    with openai.OpenAI(base_url=f"{gateway.address}/v1", api_key="any", max_retries=0) as made:
        yield made


def test_a_whole_answer(client: openai.OpenAI, outside: Outside) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "1 + 1?"}], user="ann"
    )
    assert answer.choices[0].message.content == "I am big"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 30
    until(lambda: outside.points)


def test_a_stream(client: openai.OpenAI, outside: Outside) -> None:
    words = []
    with client.chat.completions.create(
        model="math", messages=[{"role": "user", "content": "1 + 1?"}], stream=True
    ) as stream:
        words = [piece.choices[0].delta.content for piece in stream if piece.choices]
    assert words == ["two", " is the answer", None]
    assert until(lambda: outside.points)[0]["responses"]["math"]["answer"] == "two is the answer"


def test_a_stream_whose_client_leaves_at_its_last_event_is_collected(
    client: openai.OpenAI, outside: Outside
) -> None:
    """The client closes the connection when `[DONE]` comes, and does not wait for the model to end the response."""
    begun = [STREAM_HEAD, *map(chunk, (event("two"), event(None, "stop"), DONE))]
    first = outside.chat
    outside.chat = lambda asked: [*begun, 30.0] if by_user(asked) else first(asked)
    with client.chat.completions.create(
        model="math", messages=[{"role": "user", "content": "1 + 1?"}], stream=True
    ) as stream:
        assert len(list(stream)) == 2
    assert outside.server.left.wait(20)
    response = until(lambda: outside.points)[0]["responses"]["math"]
    assert (response["answer"], response["error"]) == ("two", None)


def test_the_client_sees_the_gateways_headers(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "1 + 1?"}]
    )
    assert raw.headers["x-flywheel-model"] == "big"
    assert raw.parse().choices[0].message.content == "I am big"


def test_the_list_of_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["auto", "big", "math", "code"]


def test_errors_become_the_clients_own_exceptions(client: openai.OpenAI, outside: Outside) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-17", messages=[{"role": "user", "content": "1 + 1?"}])
    assert caught.value.code == "model_unknown"
    limited = b'{"error": {"message": "slow down", "type": "requests", "code": "rate_limit"}}'
    outside.chat = lambda _: reply(limited, "429 Too Many Requests")
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "1 + 1?"}])
    assert refused.value.code == "rate_limit"


def test_other_paths_of_the_api(client: openai.OpenAI, outside: Outside) -> None:
    outside.other = lambda _: reply(
        b'{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.5]}],'
        b'"usage":{"prompt_tokens":1,"total_tokens":1}}'
    )
    answer = client.embeddings.create(model="e", input="text", encoding_format="float")
    assert answer.data[0].embedding == [0.5]
    assert outside.asked("/v1/embeddings")[0].json["model"] == "e"
