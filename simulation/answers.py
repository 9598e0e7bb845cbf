"""What a simulated model answers: a checkable text, right or wrong by the model's seeded chance."""

import re
from dataclasses import dataclass

from simulation.models import Model
from simulation.question import Question, wide_marks
from simulation.seeded import generator, total, uniform

_WORD = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")

_INTRO = {
    "zh": ("这个问题可以这样看。", "好的,下面逐步说明。", "先说结论再展开。", "我们来分析一下。"),
    "en": (
        "Let us take this one step at a time.",
        "Here is how I would look at it.",
        "Good question.",
        "Sure, see below.",
    ),
}
_REMARK = {
    "zh": (
        "具体情况可能有所不同,需要结合实际再判断。",
        "如果条件改变,结论也可能随之变化,建议先确认前提。",
        "这里只列出主要的方面,更多细节可以继续讨论。",
        "以上内容仅供参考,重要的决定请再核实一次。",
        "可以先从最简单的一步做起,再逐步完善。",
        "遇到不确定的地方,不妨换一个角度重新看一遍。",
        "很多人容易忽略前后条件之间的联系,这一点值得留意。",
        "如果需要,我可以再给出一个更详细的例子。",
    ),
    "en": (
        "Details depend on the circumstances, so check them before you rely on this.",
        "If the conditions change, the conclusion may well change with them.",
        "Only the main aspects are listed here; there is more to say about each.",
        "It often helps to begin with the simplest step and refine it afterwards.",
        "Tell me more about your situation if you would like me to go deeper.",
        "People tend to overlook how the conditions hang together, so look at that twice.",
        "Please verify anything important against a source that you trust.",
        "I can add a longer worked example if that is useful.",
    ),
}
_VAGUE = {
    "zh": ("这方面还要看个人情况。", "其他因素也会有一定影响。", "一般来说问题不大。"),
    "en": ("Other factors play a part as well.", "In general this is fine.", "It varies from case to case."),
}  # fmt: skip
METHOD = {"zh": "思路", "en": "Method"}
STEPS = {"zh": "步骤", "en": "Steps"}
CHECK = {"zh": "验证", "en": "Check"}
_SKETCH = (
    "```\nfunction run(input):\n    checked = check(input)\n    return build(checked)\n```",
    "```\nresult = start()\nfor each item of input:\n    result = step(result, item)\nreturn result\n```",
    "```\ntry:\n    work(input)\nfinally:\n    clean_up()\n```",
)
FINAL = {"zh": "答案", "en": "Final answer"}
SUMMARY = {"zh": "总结", "en": "In short"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer. latency_ms: in milliseconds; cost: in US dollars."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    latency_ms: int
    cost: float


def count_tokens(text: str) -> int:
    """Estimate the tokens of `text`: 1 per Chinese character or punctuation mark, 1.33 per word."""
    words = _WORD.findall(text)
    return round(total(1.33 if word.isascii() and word.isalnum() else 1.0 for word in words))


def answer(seed: int, model: Model, question: Question, *, max_tokens: int | None = None) -> Answer:
    """Return what `model` answers to `question`, which depends on the arguments alone.

    If the answer has more than `max_tokens` tokens, the text is cut off and `finish_reason` is `length`.
    """
    text = _open(seed, model, question) if question.kind == "points" else _checkable(seed, model, question)
    text = wide_marks(text)
    tokens, finish = count_tokens(text), "stop"
    if max_tokens is not None and tokens > max_tokens:
        text, finish = text[: max(1, len(text) * max_tokens // tokens)], "length"
        tokens = max_tokens
    asked = count_tokens(question.text) + 8
    latency = model.latency_ms(seed, question.key, tokens)
    return Answer(text, finish, asked, tokens, latency, model.cost(asked, tokens))


def _checkable(seed: int, model: Model, question: Question) -> str:
    """Compose method, steps, check and final answer; the stronger the model, the more of them it shows."""
    language, key = question.language, question.key
    chance = model.chance(question)
    right = uniform("right", seed, model.name, key) < chance
    rng = generator("checkable", seed, model.name, key)
    lines = [rng.choice(_INTRO[language])]
    if right:
        final = question.accepted[0] if question.kind == "text" else _join(question)
        care = 0.15 + 0.8 * chance
        if rng.random() < care:
            lines.append(f"{METHOD[language]}: {question.work[0]}")
        if rng.random() < care:
            lines.append(f"{STEPS[language]}: {'; '.join(question.work)}")
        if rng.random() < care - 0.15:
            lines.append(
                f"{CHECK[language]}: "
                + ("代入原题,结果成立。" if language == "zh" else "putting it back, the result holds.")
            )
    else:
        final = rng.choice(question.wrong)
        if rng.random() < 0.5:
            lines.append(f"{STEPS[language]}: {question.work[0]}")
    lines += rng.sample(_REMARK[language], model.verbosity - 1)
    lines.append(f"{FINAL[language]}: {final}")
    return "\n".join(lines)


def _join(question: Question) -> str:
    return (" 或 " if question.language == "zh" else " or ").join(question.accepted)


def _open(seed: int, model: Model, question: Question) -> str:
    """Compose a list of the points that the model thinks of, with remarks around it."""
    language, key = question.language, question.key
    chance = model.chance(question)
    rng = generator("open", seed, model.name, key)
    stop = "。" if language == "zh" else "."
    said = [
        point.sentence + stop
        if uniform("point", seed, model.name, key, index) < chance
        else rng.choice(_VAGUE[language])
        for index, point in enumerate(question.points)
    ]
    lines = [
        rng.choice(_INTRO[language]),
        *(f"{number}. {sentence}" for number, sentence in enumerate(said, 1)),
    ]
    if question.domain == "code":
        lines.append(rng.choice(_SKETCH))
    lines += rng.sample(_REMARK[language], model.verbosity)
    if rng.random() < 0.2 + 0.7 * chance:
        lines.append(
            f"{SUMMARY[language]}: "
            + ("按照以上几点来处理即可。" if language == "zh" else "the points above are what counts.")
        )
    return "\n".join(lines)
