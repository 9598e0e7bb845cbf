"""Mathematics in symbols: equations, derivatives, differential equations; every answer is computed."""

from collections.abc import Callable
from random import Random

from simulation.question import Question, numbers, off_by

Template = Callable[[Random, bool], Question]


def _signed(value: int, term: str) -> str:
    if value == 0:
        return ""
    size = "" if abs(value) == 1 and term else str(abs(value))
    return f" {'+' if value > 0 else '-'} {size}{term}"


def quadratic(rng: Random, zh: bool) -> Question:
    a, p, q = rng.choice((1, 1, 1, 2, 3)), rng.randint(-9, 9), rng.randint(-9, 9)
    x = rng.choice("xytzuwmn")
    left = f"{'' if a == 1 else a}{x}^2{_signed(-a * (p + q), x)}{_signed(a * p * q, '')}"
    ask = (
        rng.choice(
            (
                "求解方程 {}",
                "解方程:{}",
                "方程 {} 的所有实数根是多少?",
                "用因式分解法解 {}",
                "已知 {},求未知数的值",
                "求一元二次方程 {} 的解",
            )
        )
        if zh
        else rng.choice(
            (
                "Solve {}.",
                "Find all real roots of {}.",
                "Factor and solve {}.",
                "What are the solutions of the equation {}?",
                "For which values does {} hold?",
            )
        )
    )
    root = f"({x}{_signed(-p, '') or ' - 0'})({x}{_signed(-q, '') or ' - 0'})"
    work = (
        (f"把左边因式分解,得到 {'' if a == 1 else a}{root} = 0", "令每个因式等于零,分别求出根")
        if zh
        else (
            f"Factoring the left side gives {'' if a == 1 else a}{root} = 0",
            "Set each factor to zero and read off the roots",
        )
    )
    wrong = (
        f"{x} = {-p}, {x} = {-q}" if p or q else f"{x} = 1",
        f"{x} = {p + 1}, {x} = {q}",
        f"{x} = {p}, {x} = {q - 1}",
    )
    return Question(
        text=ask.format(f"{left} = 0"), domain="math", language="zh" if zh else "en", difficulty=-0.6 + 0.4 * (a > 1),
        kind="numbers", accepted=numbers(*sorted({p, q})), wrong=wrong, work=work,
    )  # fmt: skip


def derivative(rng: Random, zh: bool) -> Question:
    x, f = rng.choice("xtsu"), rng.choice("fghp")
    a, b, c, at = rng.randint(2, 6), rng.randint(2, 9), rng.randint(1, 9), rng.randint(0, 4)
    order = rng.choice((1, 1, 2))
    form = rng.choice(("poly", "poly4", "exp", "sin"))
    body, value = {
        "poly": (
            f"{a}{x}^3 - {b}{x}^2 + {c}{x}",
            3 * a * at**2 - 2 * b * at + c if order == 1 else 6 * a * at - 2 * b,
        ),
        "poly4": (f"{x}^4 + {b}{x}^2 - {c}", 4 * at**3 + 2 * b * at if order == 1 else 12 * at**2 + 2 * b),
        "exp": (f"{a}e^{x} + {b}{x}^2", a + (0 if order == 1 else 2 * b)),
        "sin": (f"{b}sin({x}) + {c}{x}", b + c if order == 1 else 0),
    }[form]
    at = 0 if form in ("exp", "sin") else at
    mark = "'" * order
    ask = (
        rng.choice(
            (
                "设 {f}({x}) = {body},求 {f}{m}({at})",
                "函数 {f}({x}) = {body} 在 {x} = {at} 处的{n}阶导数值是多少?",
                "计算 {body} 关于 {x} 的{n}阶导数在 {at} 处的值",
            )
        )
        if zh
        else rng.choice(
            (
                "Let {f}({x}) = {body}. Find {f}{m}({at}).",
                "What is the {n} derivative of {body} with respect to {x} at {x} = {at}?",
                "Differentiate {f}({x}) = {body} ({n} derivative) and evaluate at {at}.",
            )
        )
    )
    nth = ("一", "二")[order - 1] if zh else ("first", "second")[order - 1]
    work = (
        ("逐项求导", f"代入 {x} = {at}") if zh else ("Differentiate term by term", f"Substitute {x} = {at}")
    )
    return Question(
        text=ask.format(f=f, x=x, body=body, m=mark, at=at, n=nth), domain="math", language="zh" if zh else "en",
        difficulty=0.2 + 0.4 * (order == 2) + 0.3 * (form != "poly"), kind="numbers",
        accepted=numbers(value), wrong=off_by(rng, value), work=work,
    )  # fmt: skip


def ode(rng: Random, zh: bool) -> Question:
    y, x = rng.choice("yuzqw"), rng.choice("xts")
    k, c = rng.choice((-5, -4, -3, -2, 2, 3, 4, 5)), rng.randint(2, 9)
    equation = rng.choice((f"{y}' = {k}{y}", f"d{y}/d{x} = {k}{y}", f"{y}'{_signed(-k, y)} = 0"))
    ask = (
        rng.choice(
            (
                "求解常微分方程 {},初始条件 {y}(0) = {c}",
                "解微分方程 {},已知 {y}(0) = {c},写出 {y}({x})",
                "初值问题 {},{y}(0) = {c} 的解是什么?",
                "请严格求出满足 {} 且 {y}(0) = {c} 的函数 {y}({x})",
            )
        )
        if zh
        else rng.choice(
            (
                "Solve the initial value problem {}, {y}(0) = {c}.",
                "Find {y}({x}) if {} and {y}(0) = {c}.",
                "Which function satisfies the differential equation {} with {y}(0) = {c}?",
            )
        )
    )
    form = f"{c}e^({k}{x})"
    work = (
        ("这是可分离变量的方程,分离后两边积分", f"通解为 {y} = C e^({k}{x}),代入初始条件得 C = {c}")
        if zh
        else (
            "The equation is separable; integrate both sides",
            f"The general solution is {y} = C e^({k}{x}); the condition gives C = {c}",
        )
    )
    return Question(
        text=ask.format(equation, y=y, x=x, c=c), domain="math", language="zh" if zh else "en", difficulty=0.9, kind="text",
        accepted=(form, f"{c}e^{{{k}{x}}}", f"{c}exp({k}{x})"), wrong=(f"{c}e^({-k}{x})", f"e^({k}{x}) + {c - 1}", f"{c + 1}e^({k}{x})"),
        work=work,
    )  # fmt: skip


TEMPLATES: tuple[tuple[float, Template], ...] = ((3, quadratic), (2.5, derivative), (2, ode))
"""Weight and function of each template; it takes a random generator and whether to write Chinese."""
