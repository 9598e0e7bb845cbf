"""Every service is asked once: it says that it works, or why it does not, and nothing is stored."""

from flywheel_core.collect.trial import QUESTION, Trial, try_services
from flywheel_core.config import Config
from tests.core.collect.asking import run
from tests.core.collect.outside import Outside, Reply, as_json, chat


def found(trials: list[Trial]) -> dict[str, tuple[bool | None, str]]:
    """Return service, or model name -> (result, message)."""
    return {
        trial.name if trial.service == "model" else trial.service: (trial.ok, trial.says) for trial in trials
    }


def taken(count: int = 0) -> Reply:
    return as_json({"status": "success", "count": count, "message": "ok", "rejected": []})


def test_what_works_is_asked_once_and_says_so() -> None:
    async def act(world: Outside) -> None:
        world.model("code", lambda _: chat("two", tokens=None))
        world.collector(lambda _: taken())
        trials = await try_services(world.config())
        assert found(trials) == {
            "general": (True, "answers, cost 0.000050"),
            "math": (True, "answers, cost 0.000050"),
            "code": (True, "answers without token counts: what it costs stays unknown"),
            "scorer": (True, "score 0.5"),
            "collector": (True, "takes batches"),
        }
        assert all(trial.seconds is not None for trial in trials)
        assert len(world.asked("/chat/completions")) == 3
        (scored,) = world.asked("/v1/evaluate")
        assert scored.json == {"question": QUESTION, "answer": f"an answer to {QUESTION}"}
        (sent,) = world.asked("/collect")
        assert sent.json["data_points"] == []

    run(act)


def test_a_model_that_nothing_needs_is_tried_if_it_has_an_address_and_by_its_name_there() -> None:
    async def act(world: Outside) -> None:
        world.collector(lambda _: taken())
        config = world.config(["general", "math"], model={"upstream_name": "theirs"})
        config.data_collection.training.candidate_models[:] = ["general"]
        assert found(await try_services(config))["math"] == (True, "answers, cost 0.000050")
        assert [asked.json["model"] for asked in world.asked("/chat/completions")] == ["theirs"] * 2

    run(act)


def test_a_model_without_prices_is_said_to_count_as_free() -> None:
    """A forgotten price spends nothing of max_cost_per_day, wins ties and seems to save everything."""

    async def act(world: Outside) -> None:
        config = world.config(["general"], model={"input_price": 0.0, "output_price": 0.0})
        assert found(await try_services(config))["general"] == (
            True,
            "answers; without prices it counts as free",
        )

    run(act)


def test_what_fails_says_why_and_is_not_tried_again() -> None:
    async def act(world: Outside) -> None:
        world.model("general", lambda _: as_json({"error": {"message": "no such key"}}, status=401))
        world.model("math", lambda _: Reply(503))
        world.model("code", lambda _: chat(""))
        world.scorer(lambda _: as_json({"score": -1}))
        world.collector(lambda _: as_json({"code": "key_invalid", "message": "not known"}, status=401))
        result = found(await try_services(world.config()))
        assert {name: ok for name, (ok, _) in result.items()} == dict.fromkeys(result, False)
        assert "401" in result["general"][1]
        assert "no such key" in result["general"][1]
        assert "503" in result["math"][1]
        assert result["code"][1].startswith("empty")
        assert result["scorer"][1].startswith("invalid")
        assert "status 401" in result["collector"][1]
        assert len(world.asked("/math/v1/chat/completions")) == 1
        (scored,) = world.asked("/v1/evaluate")
        assert scored.json["answer"] == "2", "without an answer of a model there is one to score all the same"

    run(act)


def test_keys_that_are_not_set_are_named_and_sent_where_they_are() -> None:
    async def act(world: Outside) -> None:
        world.collector(lambda _: taken())
        config = world.config(model={"api_key_env": "MODELS_KEY"}, api_key_env="COLLECTOR_KEY")
        result = found(await try_services(config, {"COLLECTOR_KEY": "c.s"}))
        assert result["general"][0] is False
        assert "MODELS_KEY" in result["general"][1]
        assert not world.asked("/chat/completions")
        assert world.asked("/collect")[0].headers["authorization"] == "Bearer c.s"
        result = found(await try_services(config, {"MODELS_KEY": "m"}))
        assert world.asked("/chat/completions")[0].headers["authorization"] == "Bearer m"
        assert "COLLECTOR_KEY" in result["collector"][1]

    run(act)


def test_keys_that_no_header_can_hold_are_reported_but_not_shown() -> None:
    """One example is two keys, one below the other."""

    async def act(world: Outside) -> None:
        config = world.config(model={"api_key_env": "MODELS_KEY"}, api_key_env="COLLECTOR_KEY")
        result = found(
            await try_services(config, {"COLLECTOR_KEY": "c.hidden\nd", "MODELS_KEY": "hidden\nd"})
        )
        for name in ("general", "collector"):
            assert result[name][0] is False
            assert "line end" in result[name][1]
            assert "hidden" not in result[name][1]
        assert result["scorer"][0] is True

    run(act)


def test_services_that_nothing_needs_are_not_asked_and_are_no_failure() -> None:
    """The defaults have no address for any model. With collection off, only the default model is needed."""

    async def act(_: Outside) -> None:
        off = Config.model_validate({"data_collection": {"enabled": False}})
        result = found(await try_services(off, {}))
        default = off.routing.default_model
        assert result.pop(default) == (False, f"the configuration leaves models.{default}.base_url open")
        assert {ok for ok, _ in result.values()} == {None}
        result = found(await try_services(Config(), {}))
        candidates = Config().data_collection.training.candidate_models
        assert all(result[name][0] is False for name in [*candidates, "scorer"])
        assert "evaluate_endpoint open" in result["scorer"][1]

    run(act)
