"""Everything else: facts, explanations, plans and daily life."""

from collections.abc import Callable
from random import Random

from simulation.question import Point, Question

Template = Callable[[Random, bool], Question]

_CAPITALS = (
    ("法国", "France", "巴黎", "Paris"), ("日本", "Japan", "东京", "Tokyo"), ("巴西", "Brazil", "巴西利亚", "Brasília"), ("加拿大", "Canada", "渥太华", "Ottawa"),
    ("澳大利亚", "Australia", "堪培拉", "Canberra"), ("土耳其", "Turkey", "安卡拉", "Ankara"), ("埃及", "Egypt", "开罗", "Cairo"), ("肯尼亚", "Kenya", "内罗毕", "Nairobi"),
    ("瑞士", "Switzerland", "伯尔尼", "Bern"), ("越南", "Vietnam", "河内", "Hanoi"), ("秘鲁", "Peru", "利马", "Lima"), ("挪威", "Norway", "奥斯陆", "Oslo"),
    ("新西兰", "New Zealand", "惠灵顿", "Wellington"), ("波兰", "Poland", "华沙", "Warsaw"), ("蒙古", "Mongolia", "乌兰巴托", "Ulaanbaatar"), ("摩洛哥", "Morocco", "拉巴特", "Rabat"),
)  # fmt: skip
_FACTS = (
    ("太阳系最大的行星是哪一颗", "Which planet of the solar system is the largest", ("木星", "Jupiter"), ("土星", "Saturn")),
    ("《红楼梦》的作者是谁", "Who wrote Dream of the Red Chamber", ("曹雪芹", "Cao Xueqin"), ("罗贯中", "Luo Guanzhong")),
    ("水的化学式是什么", "What is the chemical formula of water", ("H2O", "H2O"), ("HO2", "HO2")),
    ("世界上最长的河流通常认为是哪条", "Which river is usually called the longest in the world", ("尼罗河", "the Nile"), ("长江", "the Yangtze")),
    ("谁提出了相对论", "Who put forward the theory of relativity", ("爱因斯坦", "Einstein"), ("牛顿", "Newton")),
    ("金的元素符号是什么", "What is the chemical symbol of gold", ("Au", "Au"), ("Ag", "Ag")),
    ("第一个登上月球的人是谁", "Who was the first person on the moon", ("阿姆斯特朗", "Armstrong"), ("加加林", "Gagarin")),
    ("长城最早大规模连接于哪个朝代", "Under which dynasty was the Great Wall first joined up", ("秦", "Qin"), ("唐", "Tang")),
    ("植物进行光合作用吸收什么气体", "Which gas do plants take in for photosynthesis", ("二氧化碳", "carbon dioxide"), ("氮气", "nitrogen")),
    ("造纸术的改进者是谁", "Who improved paper making in the Han dynasty", ("蔡伦", "Cai Lun"), ("毕昇", "Bi Sheng")),
    ("世界最高峰是哪座", "Which mountain is the highest in the world", ("珠穆朗玛峰", "Everest"), ("乔戈里峰", "K2")),
    ("《哈姆雷特》是谁写的", "Who wrote Hamlet", ("莎士比亚", "Shakespeare"), ("狄更斯", "Dickens")),
)  # fmt: skip
_FRAMES_ZH = (
    "{}?",
    "知识竞赛:{}?",
    "孩子问我,{}?",
    "填空,{}?",
    "快问快答:{}?",
    "我记不清了,{}?",
    "旅行前想确认,{}?",
    "写报告需要,{}?",
)
_FRAMES_EN = (
    "{}?",
    "Pub quiz: {}?",
    "My child asks: {}?",
    "For a report: {}?",
    "Quick one: {}?",
    "I forgot: {}?",
    "Before the trip: {}?",
    "For a crossword: {}?",
)

_TOPICS = (
    ("通货膨胀", "inflation", (("物价", "prices"), ("货币", "money supply"), ("购买力", "purchasing power"))),
    ("潮汐", "the tides", (("月球", "the moon"), ("引力", "gravity"), ("自转", "rotation"))),
    ("彩虹", "rainbows", (("折射", "refraction"), ("水滴", "droplets"), ("光谱", "spectrum"))),
    ("碳中和", "carbon neutrality", (("排放", "emissions"), ("吸收", "absorption"), ("能源", "energy"))),
    ("区块链", "blockchains", (("分布式", "distributed"), ("哈希", "hash"), ("共识", "consensus"))),
    ("丝绸之路", "the Silk Road", (("贸易", "trade"), ("文化交流", "exchange of cultures"), ("中亚", "Central Asia"))),
    ("地震", "earthquakes", (("板块", "plates"), ("断层", "fault"), ("震级", "magnitude"))),
    ("复利", "compound interest", (("本金", "principal"), ("利率", "rate"), ("时间", "time"))),
    ("量子计算", "quantum computing", (("叠加", "superposition"), ("量子比特", "qubits"), ("退相干", "decoherence"))),
    ("民法与刑法的区别", "civil and criminal law", (("责任", "liability"), ("国家", "the state"), ("赔偿", "damages"))),
    ("生物多样性", "biodiversity", (("物种", "species"), ("栖息地", "habitat"), ("食物链", "food chain"))),
    ("垃圾分类", "sorting waste", (("可回收", "recyclable"), ("有害", "hazardous"), ("厨余", "kitchen waste"))),
)  # fmt: skip
_READERS_ZH = ("十岁孩子", "高中生", "完全不懂的人", "客户", "社区居民", "刚入职的同事", "我的奶奶", "研究生")
_READERS_EN = (
    "a ten-year-old",
    "a pupil",
    "someone new to it",
    "a customer",
    "the neighbours",
    "a new colleague",
    "my grandmother",
    "a graduate student",
)

_PLANS = (
    ("三口之家周末出游", "a weekend trip for a family of three", (("预算", "budget"), ("交通", "transport"), ("天气", "weather"))),
    ("搬家", "moving house", (("清单", "list"), ("打包", "packing"), ("地址变更", "change of address"))),
    ("准备马拉松", "training for a marathon", (("长跑", "long run"), ("休息", "rest"), ("补水", "hydration"))),
    ("开一家小店", "opening a small shop", (("选址", "location"), ("执照", "licence"), ("现金流", "cash flow"))),
    ("学一门外语", "learning a foreign language", (("词汇", "vocabulary"), ("听力", "listening"), ("坚持", "habit"))),
    ("办一场生日会", "a birthday party", (("嘉宾", "guests"), ("蛋糕", "cake"), ("场地", "venue"))),
    ("买二手车", "buying a used car", (("试驾", "test drive"), ("保养记录", "service record"), ("过户", "papers"))),
    ("阳台种菜", "growing vegetables on a balcony", (("光照", "sunlight"), ("土壤", "soil"), ("浇水", "watering"))),
    ("第一次面试", "a first job interview", (("了解公司", "research the company"), ("着装", "clothes"), ("提问", "questions"))),
    ("整理衣柜", "tidying a wardrobe", (("分类", "sorting"), ("捐赠", "donate"), ("换季", "season"))),
)  # fmt: skip
_LIMITS_ZH = (
    "预算有限",
    "时间只有{}天",
    "第一次做",
    "带着老人",
    "想尽量环保",
    "在北方冬天",
    "一个人完成",
    "不想太累",
)
_LIMITS_EN = (
    "on a small budget",
    "in {} days",
    "for the first time",
    "with elderly parents",
    "as green as possible",
    "in a northern winter",
    "on my own",
    "without stress",
)


def _points(rng: Random, zh: bool, pairs: tuple[tuple[str, str], ...]) -> tuple[Point, ...]:
    ways = (
        ("首先要看{}", "{}是其中的关键", "还要考虑{}", "离不开{}")
        if zh
        else (
            "first look at {}",
            "{} is at the heart of it",
            "then there is {}",
            "it does not work without {}",
        )
    )
    return tuple(Point(pair, rng.choice(ways).format(pair[0] if zh else pair[1])) for pair in pairs)


def capital(rng: Random, zh: bool) -> Question:
    i, j, k, f = *rng.sample(range(len(_CAPITALS)), 3), rng.randrange(8)
    row = _CAPITALS[i]
    text = (
        _FRAMES_ZH[f].format(f"{row[0]}的首都是哪里")
        if zh
        else _FRAMES_EN[f].format(f"what is the capital of {row[1]}")
    )
    work = (
        (f"{row[0]}的行政中心与最大城市不一定相同",)
        if zh
        else ("The seat of government need not be the largest city",)
    )
    wrong = tuple(_CAPITALS[n][2 if zh else 3] for n in (j, k))
    return Question(
        text=text,
        domain="general",
        language="zh" if zh else "en",
        difficulty=-1.0,
        kind="text",
        accepted=(row[2], row[3]),
        wrong=wrong,
        work=work,
    )


def fact(rng: Random, zh: bool) -> Question:
    ask_zh, ask_en, right, wrong = rng.choice(_FACTS)
    f = rng.randrange(8)
    text = _FRAMES_ZH[f].format(ask_zh) if zh else _FRAMES_EN[f].format(ask_en)
    work = ("这是常识性问题,有公认的答案",) if zh else ("There is an accepted answer to this",)
    return Question(
        text=text,
        domain="general",
        language="zh" if zh else "en",
        difficulty=-0.8,
        kind="text",
        accepted=right,
        wrong=(wrong[0 if zh else 1],),
        work=work,
    )


def explain(rng: Random, zh: bool) -> Question:
    topic_zh, topic_en, pairs = rng.choice(_TOPICS)
    r = rng.randrange(8)
    text = (
        rng.choice(
            (
                "请向{r}解释{t}",
                "什么是{t}?讲给{r}听",
                "{t}是怎么形成的、有什么影响?对象是{r}",
                "用生活中的例子说明{t},让{r}听懂",
            )
        ).format(r=_READERS_ZH[r], t=topic_zh)
        if zh
        else rng.choice(
            (
                "Explain {t} to {r}.",
                "What is the idea behind {t}? It is for {r}.",
                "How would you describe {t} to {r}, with an example?",
                "{t}: causes and consequences, for {r}.",
            )
        ).format(r=_READERS_EN[r], t=topic_en)
    )
    return Question(
        text=text,
        domain="general",
        language="zh" if zh else "en",
        difficulty=0.1 + 0.6 * (r == 7),
        kind="points",
        points=_points(rng, zh, pairs),
    )


def plan(rng: Random, zh: bool) -> Question:
    plan_zh, plan_en, pairs = rng.choice(_PLANS)
    k, m, n = *rng.sample(range(8), 2), rng.randint(2, 9)
    text = (
        rng.choice(
            ("帮我规划{p},{a},{b}", "{p}需要注意什么?{a},而且{b}", "{a}的情况下怎么{p}?另外{b}")
        ).format(p=plan_zh, a=_LIMITS_ZH[k].format(n), b=_LIMITS_ZH[m].format(n))
        if zh
        else rng.choice(
            (
                "Help me plan {p}, {a} and {b}.",
                "What should I know about {p} {a}, {b}?",
                "Give me a plan for {p}: {a}, {b}.",
            )
        ).format(p=plan_en, a=_LIMITS_EN[k].format(n), b=_LIMITS_EN[m].format(n))
    )
    return Question(
        text=text,
        domain="general",
        language="zh" if zh else "en",
        difficulty=-0.1,
        kind="points",
        points=_points(rng, zh, pairs),
    )


def weigh(rng: Random, zh: bool) -> Question:
    a, b = rng.sample(_TOPICS, 2)
    r = rng.randrange(8)
    text = (
        rng.choice(
            (
                "{a}和{b}之间有什么联系?请结合例子全面分析,读者是{r}",
                "辩论题:对{r}来说,了解{a}比了解{b}更重要吗?",
            )
        ).format(a=a[0], b=b[0], r=_READERS_ZH[r])
        if zh
        else rng.choice(
            (
                "How are {a} and {b} connected? Analyse it thoroughly for {r}.",
                "Debate: for {r}, does {a} matter more than {b}?",
            )
        ).format(a=a[1], b=b[1], r=_READERS_EN[r])
    )
    return Question(
        text=text,
        domain="general",
        language="zh" if zh else "en",
        difficulty=0.9,
        kind="points",
        points=_points(rng, zh, (*a[2][:2], *b[2][:2])),
        tags=frozenset({"hard"}),
    )


TEMPLATES: tuple[tuple[float, Template], ...] = (
    (1.5, capital),
    (1.5, fact),
    (3, explain),
    (4, plan),
    (2, weigh),
)
"""Weight and function of each template; it takes a random generator and whether to write Chinese."""
