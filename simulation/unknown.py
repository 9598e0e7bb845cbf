"""Questions outside the bank: whatever a curious person types gets an answer and a meaningful score.

Equations and sums are solved, so that the answer can be checked. Anything else becomes an open question whose
points are the content words of the text: an answer scores by how many of them it mentions.
"""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

from simulation.question import DOMAINS, Language, Point, Question
from simulation.seeded import generator, normal

_CJK = re.compile(r"[\u3400-\u9fff]+")
_WORD = re.compile(r"[A-Za-z][A-Za-z+#-]{2,}")
_TERM = r"(?:\d+(?:\.\d+)?\s?\*?\s?)?[a-z](?:\^\d|[²³])?|\d+(?:\.\d+)?"
_POLYNOMIAL = rf"[-+]?\s*(?:{_TERM})(?:\s*[-+]\s*(?:{_TERM}))*"
_LEFT = re.compile(rf"(?<![A-Za-z0-9/(^*.'])({_POLYNOMIAL})\s*$", re.IGNORECASE)
_RIGHT = re.compile(rf"\s*({_POLYNOMIAL})(?![A-Za-z0-9/(^*'])", re.IGNORECASE)
_MONOMIAL = re.compile(r"([-+]?)(\d+(?:\.\d+)?)?\*?(?:([a-z])(?:\^(\d)|([²³]))?)?")
_SUM = re.compile(r"[-(0-9][-+*/×÷().0-9 ]{1,100}[0-9)]")
_ASKS_SUM = re.compile(
    "计算|算|等于|多少|=|what is|what's|compute|calculate|how much|evaluate", re.IGNORECASE
)
_WINDOW = 100
_MAX_POINTS = 5

_HINTS: dict[str, tuple[str, ...]] = {
    "math": ("方程", "求解", "计算", "概率", "证明", "导数", "积分", "几何", "函数值", "多少", "solve", "equation", "probability", "derivative", "integral", "prove", "sum of", "how many", "theorem"),
    "code": ("代码", "编程", "函数", "程序", "报错", "算法", "数据库", "接口", "脚本", "python", "java", "php", "sql", "golang", "rust", "code", "function", "bug", "script", "mysql", "api", "compile", "docker", "git "),
    "medicine": ("症状", "治疗", "疼", "药", "医生", "医院", "感冒", "发烧", "疾病", "血压", "怀孕", "疙瘩", "symptom", "doctor", "pain", "disease", "treatment", "dose", "fever", "patient", "medicine"),
    "writing": ("写一", "作文", "诗", "润色", "文案", "邮件", "续写", "演讲稿", "故事", "散文", "write a", "poem", "essay", "story", "letter", "rewrite", "polish", "e-mail", "speech"),
}  # fmt: skip
_STOP = re.compile(
    r"\b(?:the|and|for|with|that|this|what|which|how|why|are|was|were|does|did|can|could|would|should|please|about|into|from|have|has|you|your|not|but|any|all|help|tell|who|when|where|there)\b",
    re.IGNORECASE,
)
_STOP_ZH = re.compile(
    "请问|帮我|一下|什么|怎么|如何|为什么|可以|我们|你们|一个|这个|那个|是否|应该|多少|的|了|吗|呢|是|在|和|与|我|你|他|她|有|把|被|给|请"
)

_OPERATORS: dict[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def understand(seed: int, text: str) -> Question:
    """Return a `Question` for any non-empty `text`, always the same for the same text."""
    language: Language = "zh" if _CJK.search(text) else "en"
    difficulty = round(0.6 * normal("unknown", seed, text), 3)
    solved = _solve_equation(text) or _solve_sum(text)
    if solved is not None:
        accepted, work = solved
        wrong = (f"{accepted[0]}1", str(Fraction(accepted[0]) + 3))
        return Question(
            text,
            "math",
            language,
            difficulty - 0.6,
            "numbers",
            accepted,
            wrong,
            work=(work[0 if language == "zh" else 1],),
        )
    domain, blend = _domain(text)
    return Question(
        text, domain, language, difficulty, "points", points=_points(seed, text, language), blend=blend
    )


def _domain(text: str) -> tuple[str, tuple[tuple[str, float], ...]]:
    lower = text.casefold()
    hits = {domain: sum(hint in lower for hint in hints) for domain, hints in _HINTS.items()}
    ranked = sorted(DOMAINS[1:], key=lambda domain: -hits[domain])
    if hits[ranked[0]] == 0:
        return "general", ()
    if hits[ranked[1]] == 0:
        return ranked[0], ()
    return ranked[0], ((ranked[1], round(0.5 * hits[ranked[1]] / (hits[ranked[0]] + hits[ranked[1]]), 3)),)


def _points(seed: int, text: str, language: Language) -> tuple[Point, ...]:
    terms = _WORD.findall(_STOP.sub(" ", text))
    for run in _CJK.findall(_STOP_ZH.sub(" ", text)):
        terms += [
            run[start : start + 4] for start in range(0, len(run), 4) if len(run[start : start + 4]) > 1
        ]
    unique = list(dict.fromkeys(terms)) or [text.strip()[:40]]
    if len(unique) > _MAX_POINTS:
        unique = generator("terms", seed, text).sample(unique, _MAX_POINTS)
    say = "关于“{}”,需要先弄清背景再回答" if language == "zh" else 'On "{}" it is worth being clear first'
    return tuple(Point((term,), say.format(term)) for term in unique)


def _solve_sum(text: str) -> tuple[tuple[str, ...], tuple[str, str]] | None:
    """Solve the first sum in the start of a text that asks for one; return None if there is none."""
    match = _SUM.search(text[:_WINDOW])
    if match is None or not (_ASKS_SUM.search(text[:_WINDOW]) or match.group() == text.strip()):
        return None
    expression = match.group().replace("×", "*").replace("÷", "/")
    if not re.search(r"[-+*/]", expression[1:]):
        return None
    try:
        value = _evaluate(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None  # not a sum after all, for instance a date: treat it as an open question
    return (str(value),), ("按先乘除后加减的顺序计算", "Multiply and divide before you add and subtract")


def _evaluate(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    raise ValueError("not a sum")


def _solve_equation(text: str) -> tuple[tuple[str, ...], tuple[str, str]] | None:
    """Return the rational roots of the first linear or quadratic equation in one letter, or None."""
    at = text.find("=")
    if at < 0 or _domain(text)[0] == "code":
        return None
    sides = _LEFT.search(text[max(0, at - _WINDOW) : at]), _RIGHT.match(text[at + 1 : at + 1 + _WINDOW])
    if sides[0] is None or sides[1] is None:
        return None
    left, right = (_coefficients(side.group(1)) for side in sides if side is not None)
    if left is None or right is None or len(left[1] | right[1]) != 1:
        return None
    c, b, a = (left[0][power] - right[0][power] for power in range(3))
    if a == 0 and b != 0:
        return (str(-c / b),), (
            "移项,合并同类项,再除以系数",
            "Collect the terms and divide by the coefficient",
        )
    root = _square_root(b * b - 4 * a * c)
    if a == 0 or root is None:
        return None
    roots = sorted({(-b - root) / (2 * a), (-b + root) / (2 * a)})
    return tuple(str(value) for value in roots), (
        "用求根公式或因式分解",
        "Use the quadratic formula or factor the left side",
    )


def _coefficients(side: str) -> tuple[list[Fraction], set[str]] | None:
    """Return a polynomial's coefficients of powers 0 to 2 and its letters; None if its degree is higher."""
    powers, letters = [Fraction(0)] * 3, set()
    for sign, size, letter, power_text, small in _MONOMIAL.findall(re.sub(r"\s+", "", side).casefold()):
        if not size and not letter:
            continue
        power = int(power_text) if power_text else {"²": 2, "³": 3, "": 1}[small]
        power = power if letter else 0
        if power > 2:
            return None
        letters |= {letter} - {""}
        powers[power] += Fraction(size or 1) * (-1 if sign == "-" else 1)
    return powers, letters


def _square_root(value: Fraction) -> Fraction | None:
    """Return the rational square root of `value`, or None if it has none."""
    if value < 0:
        return None
    top, bottom = _integer_root(value.numerator), _integer_root(value.denominator)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _integer_root(value: int) -> int | None:
    root = round(value**0.5) if value < 2**50 else -1
    return root if root * root == value else None
