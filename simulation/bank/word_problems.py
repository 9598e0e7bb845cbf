"""Mathematics as word problems: people, places and goods vary, every answer is computed."""

import math
from collections.abc import Callable
from random import Random

from simulation.question import Question, numbers, off_by

Template = Callable[[Random, bool], Question]

_PEOPLE_ZH = (
    "小明",
    "李老师",
    "王芳",
    "张伟",
    "陈师傅",
    "赵阿姨",
    "刘洋",
    "周同学",
    "吴经理",
    "孙奶奶",
    "郑工",
    "冯叔叔",
)
_PEOPLE_EN = (
    "Maya",
    "Tom",
    "Priya",
    "Oscar",
    "Mr. Li",
    "Elena",
    "Kofi",
    "Hanna",
    "Ravi",
    "Ms. Grant",
    "Yuki",
    "Bruno",
)
_GOODS_ZH = (
    "苹果",
    "练习本",
    "铅笔",
    "矿泉水",
    "面包",
    "篮球",
    "图书",
    "鸡蛋",
    "螺丝",
    "门票",
    "毛巾",
    "花盆",
)
_GOODS_EN = (
    "apples",
    "notebooks",
    "pencils",
    "bottles",
    "loaves",
    "tickets",
    "books",
    "eggs",
    "screws",
    "towels",
    "tiles",
    "lamps",
)
_PLACES_ZH = ("学校", "仓库", "超市", "农场", "图书馆", "工厂", "体育馆", "书店", "食堂", "车站")
_PLACES_EN = (
    "school",
    "warehouse",
    "market",
    "farm",
    "library",
    "factory",
    "gym",
    "bookshop",
    "canteen",
    "station",
)


def shopping(rng: Random, zh: bool) -> Question:
    k = rng.randrange(len(_GOODS_ZH))
    m = (k + rng.randint(1, len(_GOODS_ZH) - 1)) % len(_GOODS_ZH)
    n1, n2, c1, c2 = rng.randint(2, 15), rng.randint(2, 12), rng.randint(2, 20), rng.randint(2, 30)
    who, place = rng.randrange(12), rng.randrange(10)
    spent, paid = n1 * c1 + n2 * c2, 0
    paid = (spent // 100 + 1) * 100
    text = (
        f"{_PEOPLE_ZH[who]}在{_PLACES_ZH[place]}买了{n1}件{_GOODS_ZH[k]},每件{c1}元,又买了{n2}件{_GOODS_ZH[m]},每件{c2}元,付了{paid}元,应找回多少元?"
        if zh
        else f"At the {_PLACES_EN[place]}, {_PEOPLE_EN[who]} buys {n1} {_GOODS_EN[k]} at {c1} dollars each and {n2} {_GOODS_EN[m]} at {c2} dollars each, and pays with {paid} dollars. How much change is due?"
    )
    work = (
        (f"总价 = {n1}×{c1} + {n2}×{c2} = {spent}", f"找回 = {paid} - {spent}") if zh
        else (f"The total is {n1}*{c1} + {n2}*{c2} = {spent}", f"The change is {paid} - {spent}")
    )  # fmt: skip
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=-1.3, kind="numbers",
        accepted=numbers(paid - spent), wrong=off_by(rng, paid - spent), work=work, blend=(("general", 0.15),),
    )  # fmt: skip


def journey(rng: Random, zh: bool) -> Question:
    i, j = rng.sample(range(10), 2)
    v1, v2, hours = rng.randint(30, 70), rng.randint(30, 70), rng.randint(2, 6)
    who1, who2 = rng.sample(range(12), 2)
    far = (v1 + v2) * hours
    text = (
        f"{_PEOPLE_ZH[who1]}从{_PLACES_ZH[i]}出发,{_PEOPLE_ZH[who2]}从{_PLACES_ZH[j]}出发,两地相距{far}千米,两人同时相向而行,速度分别是每小时{v1}千米和{v2}千米,几小时后相遇?"
        if zh
        else f"{_PEOPLE_EN[who1]} leaves the {_PLACES_EN[i]} and {_PEOPLE_EN[who2]} leaves the {_PLACES_EN[j]}, {far} km apart, driving towards each other at {v1} km/h and {v2} km/h. After how many hours do they meet?"
    )
    work = (
        (f"速度和为 {v1 + v2} 千米/时", f"时间 = {far} ÷ {v1 + v2}")
        if zh
        else (f"They close the gap at {v1 + v2} km/h", f"Time is {far} / {v1 + v2}")
    )
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=-0.7, kind="numbers",
        accepted=numbers(hours), wrong=off_by(rng, hours), work=work, blend=(("general", 0.1),),
    )  # fmt: skip


def draw_balls(rng: Random, zh: bool) -> Question:
    colours = rng.sample(range(6), 2)
    box = rng.randrange(6)
    zh_c, en_c = ("红", "蓝", "白", "黑", "绿", "黄"), ("red", "blue", "white", "black", "green", "yellow")
    zh_b, en_b = (
        ("袋子", "盒子", "抽屉", "箱子", "罐子", "篮子"),
        ("bag", "box", "drawer", "crate", "jar", "basket"),
    )
    things = rng.randrange(4)
    zh_t, en_t = ("球", "珠子", "卡片", "袜子"), ("balls", "beads", "cards", "socks")
    a, b = rng.randint(3, 9), rng.randint(3, 9)
    top, bottom = a * (a - 1), (a + b) * (a + b - 1)
    common = math.gcd(top, bottom)
    value = f"{top // common}/{bottom // common}"
    c1, c2 = colours
    text = (
        f"{zh_b[box]}里有{a}个{zh_c[c1]}色{zh_t[things]}和{b}个{zh_c[c2]}色{zh_t[things]},不放回地抽取两个,两个都是{zh_c[c1]}色的概率是多少?"
        if zh
        else f"A {en_b[box]} holds {a} {en_c[c1]} and {b} {en_c[c2]} {en_t[things]}. Two are drawn without replacement. What is the probability that both are {en_c[c1]}?"
    )
    work = (
        (f"第一次概率 {a}/{a + b}", f"第二次概率 {a - 1}/{a + b - 1},相乘并约分") if zh
        else (f"The first draw has probability {a}/{a + b}", f"The second {a - 1}/{a + b - 1}; multiply and reduce")
    )  # fmt: skip
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=0.3, kind="numbers", accepted=(value,),
        wrong=(f"{a * a}/{(a + b) ** 2}", f"{a}/{a + b}", f"{a - 1}/{a + b}"), work=work,
    )  # fmt: skip


def common_multiple(rng: Random, zh: bool) -> Question:
    a, b = rng.randint(4, 18), rng.randint(4, 18)
    i, j = rng.sample(range(10), 2)
    things_zh, things_en = (
        ("公交车", "班车", "信号灯", "广播", "喷泉", "闹钟"),
        ("buses", "shuttles", "lamps", "bells", "fountains", "alarms"),
    )
    t = rng.randrange(6)
    value = math.lcm(a, b)
    text = (
        f"{_PLACES_ZH[i]}和{_PLACES_ZH[j]}的{things_zh[t]}分别每{a}分钟和每{b}分钟启动一次,刚刚同时启动,最少再过多少分钟会再次同时启动?"
        if zh
        else f"The {things_en[t]} at the {_PLACES_EN[i]} and at the {_PLACES_EN[j]} start every {a} and every {b} minutes. They have just started together. How many minutes until that happens again?"
    )
    work = (
        (f"最大公约数 gcd({a}, {b}) = {math.gcd(a, b)}", f"最小公倍数 = {a}×{b} ÷ {math.gcd(a, b)}")
        if zh
        else (f"gcd({a}, {b}) = {math.gcd(a, b)}", f"lcm = {a}*{b} / {math.gcd(a, b)}")
    )
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=-0.3, kind="numbers",
        accepted=numbers(value), wrong=off_by(rng, value), work=work,
    )  # fmt: skip


def committee(rng: Random, zh: bool) -> Question:
    n, k = rng.randint(7, 14), rng.randint(2, 4)
    m, j = rng.randint(4, 9), rng.randint(1, 3)
    groups_zh, groups_en = (
        ("教师", "学生", "工程师", "医生", "编辑", "程序员", "护士", "律师", "画家", "会计"),
        (
            "teachers",
            "students",
            "engineers",
            "doctors",
            "editors",
            "programmers",
            "nurses",
            "lawyers",
            "painters",
            "clerks",
        ),
    )
    a, b = rng.sample(range(10), 2)
    text = (
        f"从{n}名{groups_zh[a]}和{m}名{groups_zh[b]}中选出{k}名{groups_zh[a]}和{j}名{groups_zh[b]}组成小组,共有多少种选法?"
        if zh
        else f"In how many ways can a panel of {k} {groups_en[a]} and {j} {groups_en[b]} be chosen from {n} {groups_en[a]} and {m} {groups_en[b]}?"
    )
    value = math.comb(n, k) * math.comb(m, j)
    work = (
        (f"C({n},{k}) = {math.comb(n, k)}", f"C({m},{j}) = {math.comb(m, j)},两者相乘")
        if zh
        else (f"C({n},{k}) = {math.comb(n, k)}", f"C({m},{j}) = {math.comb(m, j)}; multiply")
    )
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=0.5, kind="numbers",
        accepted=numbers(value), wrong=(*numbers(math.comb(n, k) + math.comb(m, j), math.comb(n + m, k + j)), *off_by(rng, value)[:1]), work=work,
    )  # fmt: skip


def screening(rng: Random, zh: bool) -> Question:
    """A screening question: worded as medicine, but solved by Bayes' rule."""
    sick, sens, false = rng.choice((1, 2, 5, 10)), rng.choice((80, 90, 95)), rng.choice((5, 10, 20))
    ill = rng.randrange(6)
    ill_zh, ill_en = (
        ("糖尿病", "甲状腺病", "乙肝", "贫血", "结核", "青光眼"),
        ("diabetes", "thyroid disease", "hepatitis B", "anaemia", "tuberculosis", "glaucoma"),
    )
    who_zh, who_en = (
        ("某社区", "某工厂", "某学校", "某医院"),
        ("In a town", "In a plant", "At a school", "At a clinic"),
    )
    w = rng.randrange(4)
    value = sick * sens / (sick * sens + (100 - sick) * false) * 100
    text = (
        f"{who_zh[w]}{ill_zh[ill]}的患病率是{sick}%,检测的灵敏度为{sens}%,假阳性率为{false}%。一个人检测呈阳性,他真正患病的概率是百分之几?(四舍五入到整数)"
        if zh
        else f"{who_en[w]}, {sick}% of people have {ill_en[ill]}. A test has sensitivity {sens}% and a false positive rate of {false}%. Given a positive result, what is the probability of disease in percent, to the nearest integer?"
    )
    work = (
        ("用贝叶斯公式", "分母是真阳性与假阳性的概率之和")
        if zh
        else ("Use Bayes' rule", "The denominator adds true and false positives")
    )
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=1.3, kind="numbers", accepted=numbers(round(value)),
        wrong=numbers(sens, 100 - false, round(value) + 7), work=work, blend=(("medicine", 0.35),), tags=frozenset({"hard", "mixed"}),
    )  # fmt: skip


def sequence_sum(rng: Random, zh: bool) -> Question:
    a, d, n = rng.randint(1, 20), rng.randint(2, 9), rng.randint(8, 30)
    place, who = rng.randrange(10), rng.randrange(12)
    k = rng.randrange(12)
    value = n * a + d * n * (n - 1) // 2
    text = (
        f"{_PEOPLE_ZH[who]}第一天在{_PLACES_ZH[place]}数了{a}个{_GOODS_ZH[k]},以后每天比前一天多数{d}个,{n}天一共数了多少个?"
        if zh
        else f"On day one {_PEOPLE_EN[who]} counts {a} {_GOODS_EN[k]} at the {_PLACES_EN[place]}, and each day {d} more than the day before. How many in {n} days together?"
    )
    work = (
        (f"等差数列,首项 {a},公差 {d}", "求和公式 S = n·a + n(n-1)d/2")
        if zh
        else (f"An arithmetic series with first term {a} and difference {d}", "The sum is n*a + n(n-1)d/2")
    )
    return Question(
        text=text, domain="math", language="zh" if zh else "en", difficulty=0.0, kind="numbers",
        accepted=numbers(value), wrong=off_by(rng, value), work=work,
    )  # fmt: skip


TEMPLATES: tuple[tuple[float, Template], ...] = (
    (2, shopping),
    (1.5, journey),
    (1.5, draw_balls),
    (1.5, common_multiple),
    (1.5, committee),
    (1, screening),
    (1.5, sequence_sum),
)
"""Weight and function of each template; it takes a random generator and whether to write Chinese."""
