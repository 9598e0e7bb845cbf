"""Writing: a text of a given form on a given subject, checked for what it has to mention."""

from collections.abc import Callable
from random import Random

from simulation.question import Point, Question

Template = Callable[[Random, bool], Question]

_FORMS = (
    # zh, en, difficulty, what the form needs as (zh, en)
    ("一首短诗", "a short poem", 0.1, (("意象", "image"),)),
    ("一封感谢信", "a thank-you letter", -0.7, (("此致", "sincerely"), ("感谢", "thank"))),
    ("一篇演讲稿", "a speech", 0.0, (("各位", "everyone"), ("谢谢大家", "thank you all"))),
    ("一则广告文案", "an advertisement", -0.3, (("立即", "today"),)),
    ("一个小故事", "a short story", 0.3, (("从前", "once"), ("最后", "in the end"))),
    ("一封求职信", "a cover letter", -0.4, (("应聘", "apply"), ("经验", "experience"))),
    ("一篇读后感", "a book review", 0.0, (("作者", "author"), ("启发", "insight"))),
    ("一份道歉声明", "a public apology", -0.2, (("抱歉", "sorry"), ("改进", "improve"))),
    ("一段相声", "a comic dialogue", 0.8, (("甲", "A:"), ("乙", "B:"))),
    ("一副对联加横批", "a rhyming couplet", 1.1, (("上联", "first line"), ("下联", "second line"))),
    ("一篇新闻稿", "a press release", 0.1, (("本报讯", "for immediate release"),)),
    ("一篇游记", "a travel essay", -0.1, (("沿途", "along the way"),)),
    ("一首十四行诗", "a sonnet", 1.3, (("韵", "rhyme"),)),
)  # fmt: skip
_SUBJECTS = (
    ("春天的雨", "spring rain"), ("外婆的厨房", "grandmother's kitchen"), ("城市的清晨", "a city at dawn"), ("第一次离家", "leaving home for the first time"),
    ("社区图书馆", "the local library"), ("一只流浪猫", "a stray cat"), ("毕业典礼", "graduation day"), ("新开的咖啡馆", "a new café"),
    ("环保出行", "greener travel"), ("老邻居", "an old neighbour"), ("雪夜的车站", "a station on a snowy night"), ("团队合作", "working as a team"),
    ("海边的灯塔", "a lighthouse by the sea"), ("丢失的日记", "a lost diary"), ("中秋月圆", "the autumn moon"), ("父亲的手表", "father's watch"),
)  # fmt: skip
_CROSS = (
    ("快速排序算法", "the quicksort algorithm", "code"), ("一位急诊医生", "an emergency doctor", "medicine"), ("圆周率", "the number pi", "math"),
    ("深夜修复的程序错误", "a bug fixed at midnight", "code"), ("流感疫苗接种", "flu vaccination", "medicine"), ("勾股定理", "the theorem of Pythagoras", "math"),
)  # fmt: skip
_TONES_ZH = ("温暖", "幽默", "正式", "诗意", "简洁", "激昂", "含蓄", "怀旧")
_TONES_EN = ("warm", "humorous", "formal", "poetic", "plain", "rousing", "restrained", "nostalgic")
_READERS_ZH = ("小学生", "同事", "老年读者", "客户", "年轻父母", "评委", "外国朋友")
_READERS_EN = (
    "schoolchildren",
    "colleagues",
    "older readers",
    "customers",
    "young parents",
    "a jury",
    "friends from abroad",
)
_MENTIONS = (
    ("灯光", "light"), ("脚步声", "footsteps"), ("茶香", "tea"), ("约定", "promise"), ("晚风", "evening wind"), ("旧照片", "old photograph"),
    ("微笑", "smile"), ("钟声", "bells"), ("归途", "the way home"), ("种子", "seed"), ("窗台", "windowsill"), ("星空", "stars"),
)  # fmt: skip
_EDITS = (
    ("润色", "polish", (("更通顺", "smoother"), ("用词", "word choice"))), ("缩写", "shorten", (("删去", "cut"), ("保留要点", "keep the main points"))),
    ("改写成口语", "make more colloquial", (("口语", "colloquial"), ("语气", "tone"))), ("改写成书面语", "make more formal", (("书面", "formal"), ("句式", "sentence structure"))),
    ("扩写", "expand", (("细节", "detail"), ("描写", "description"))), ("换一种开头", "give a new opening", (("开头", "opening"), ("悬念", "suspense"))),
)  # fmt: skip


def _mention(zh: bool, pair: tuple[str, str]) -> Point:
    return Point(
        (pair[0] if zh else pair[1],),
        f"远处的{pair[0]}让人停下了脚步" if zh else f"And then there it was again: {pair[1]}",
    )


def _form_point(zh: bool, pair: tuple[str, str]) -> Point:
    return Point(
        (pair[0] if zh else pair[1],),
        f"{pair[0]},写到这里,心里有许多话" if zh else f"{pair[1]}, as the form asks for it".capitalize(),
    )


def compose(rng: Random, zh: bool) -> Question:
    form_zh, form_en, difficulty, needs = rng.choice(_FORMS)
    crossed = rng.random() < 0.12
    subject_zh, subject_en, other = rng.choice(_CROSS) if crossed else (*rng.choice(_SUBJECTS), "")
    t, r = rng.randrange(8), rng.randrange(7)
    a, b = rng.sample(_MENTIONS, 2)
    words = rng.choice((100, 200, 300, 500))
    text = (
        rng.choice((
            "写{f},主题是{s},风格{t},写给{r},文中要提到{a}和{b}", "以“{s}”为题写{f},语气{t},不超过{n}字,包含{a}、{b}", "帮我写{f},关于{s},读者是{r},要有{a}与{b}",
            "请用{t}的笔调为{r}创作{f}:{s}。须出现{a}和{b}",
        )).format(f=form_zh, s=subject_zh, t=_TONES_ZH[t], r=_READERS_ZH[r], a=a[0], b=b[0], n=words)
        if zh
        else rng.choice((
            "Write {f} about {s} in a {t} tone for {r}. Mention {a} and {b}.", "I need {f} on {s}, no more than {n} words, with {a} and {b} in it.",
            "Compose {f}: {s}. Readers: {r}. Keep it {t}, and let {a} and {b} appear.",
        )).format(f=form_en, s=subject_en, t=_TONES_EN[t], r=_READERS_EN[r], a=a[1], b=b[1], n=words)
    )  # fmt: skip
    points = (
        *(_form_point(zh, pair) for pair in needs),
        _mention(zh, a),
        _mention(zh, b),
        Point(
            (subject_zh if zh else subject_en,),
            f"这就是{subject_zh}给我的感受" if zh else f"This is what {subject_en} means to me",
        ),
    )
    return Question(
        text=text, domain="writing", language="zh" if zh else "en", difficulty=difficulty, kind="points", points=points,
        blend=((other, 0.2),) if crossed else (), tags=frozenset({"hard", "mixed"}) if crossed else frozenset(),
    )  # fmt: skip


def edit(rng: Random, zh: bool) -> Question:
    does_zh, does_en, needs = rng.choice(_EDITS)
    a, b = rng.sample(_MENTIONS, 2)
    subject = rng.choice(_SUBJECTS)
    t = rng.randrange(8)
    text = (
        rng.choice(
            (
                "请{d}下面这段话,语气要{t}:“说起{s},我总想起{a},还有{b}。”",
                "把这句话{d}一下:“{a}和{b},就是我记忆里的{s}。”要{t}一些",
            )
        ).format(d=does_zh, s=subject[0], a=a[0], b=b[0], t=_TONES_ZH[t])
        if zh
        else rng.choice(
            (
                "Please {d} this passage and keep it {t}: 'When I think of {s}, I think of {a} and of {b}.'",
                "Could you {d} the following? '{a} and {b}: that is {s} to me.' The tone should be {t}.",
            )
        ).format(d=does_en, s=subject[1], a=a[1], b=b[1], t=_TONES_EN[t])
    )
    points = (
        *(
            Point(pair, f"修改时注意了{pair[0]}" if zh else f"The edit looks after {pair[1]}")
            for pair in needs
        ),
        _mention(zh, a),
        _mention(zh, b),
    )
    return Question(
        text=text,
        domain="writing",
        language="zh" if zh else "en",
        difficulty=-0.3,
        kind="points",
        points=points,
    )


def mail(rng: Random, zh: bool) -> Question:
    """An everyday mail, close to what a general model does well."""
    r, t = rng.randrange(7), rng.randrange(8)
    why = rng.choice(
        (
            ("推迟会议", "postpone a meeting"),
            ("催促付款", "remind of a payment"),
            ("请一天假", "ask for a day off"),
            ("邀请参加活动", "invite to an event"),
            ("婉拒邀请", "decline an invitation"),
            ("介绍新同事", "introduce a new colleague"),
        )
    )
    a = rng.choice(_MENTIONS)
    text = (
        rng.choice(
            ("给{r}写一封邮件,目的是{w},语气{t}", "帮忙起草邮件:{w},收件人是{r},{t}一点,顺便提到{a}")
        ).format(r=_READERS_ZH[r], w=why[0], t=_TONES_ZH[t], a=a[0])
        if zh
        else rng.choice(
            (
                "Draft an e-mail to {r} to {w}, in a {t} tone.",
                "Write a {t} e-mail to {w}; it goes to {r}. Work in {a}.",
            )
        ).format(r=_READERS_EN[r], w=why[1], t=_TONES_EN[t], a=a[1])
    )
    pairs = (("您好", "dear"), why, ("期待回复", "look forward"), ("祝好", "regards"))
    points = tuple(
        Point(
            (pair[0] if zh else pair[1],),
            f"{pair[0]},一并说明缘由" if zh else f"{pair[1].capitalize()}, and the reason with it",
        )
        for pair in pairs
    )
    return Question(
        text=text,
        domain="writing",
        language="zh" if zh else "en",
        difficulty=-1.0,
        kind="points",
        points=points,
        blend=(("general", 0.3),),
    )


TEMPLATES: tuple[tuple[float, Template], ...] = ((6, compose), (2, edit), (1.5, mail))
"""Weight and function of each template; it takes a random generator and whether to write Chinese."""
