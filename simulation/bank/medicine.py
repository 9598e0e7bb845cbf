"""Medicine: general knowledge for testing, not medical advice."""

from collections.abc import Callable
from random import Random

from simulation.question import Point, Question, numbers, off_by

Template = Callable[[Random, bool], Question]

_SYMPTOMS = (
    # zh, en, likely causes (zh, en), warning sign (zh, en)
    ("头皮上长了疙瘩", "lumps on the scalp", (("毛囊炎", "folliculitis"), ("皮脂腺囊肿", "sebaceous cyst"), ("脂溢性皮炎", "seborrhoeic dermatitis")), ("迅速增大", "rapid growth")),
    ("反复头痛", "headaches that keep coming back", (("紧张性头痛", "tension headache"), ("偏头痛", "migraine"), ("高血压", "high blood pressure")), ("突发剧烈头痛", "a sudden very severe headache")),
    ("干咳", "a dry cough", (("病毒感染", "viral infection"), ("过敏", "allergy"), ("胃食管反流", "reflux")), ("咯血", "coughing up blood")),
    ("心慌", "palpitations", (("焦虑", "anxiety"), ("早搏", "extra beats"), ("甲亢", "overactive thyroid")), ("晕厥", "fainting")),
    ("膝盖疼", "knee pain", (("骨关节炎", "osteoarthritis"), ("半月板损伤", "meniscus tear"), ("髌腱炎", "patellar tendinitis")), ("关节红肿发热", "a hot swollen joint")),
    ("胃胀", "bloating", (("功能性消化不良", "functional dyspepsia"), ("乳糖不耐受", "lactose intolerance"), ("幽门螺杆菌", "helicobacter")), ("体重下降", "weight loss")),
    ("手脚发麻", "numb hands and feet", (("颈椎病", "cervical spondylosis"), ("糖尿病神经病变", "diabetic neuropathy"), ("维生素B缺乏", "vitamin B deficiency")), ("一侧肢体无力", "weakness on one side")),
    ("失眠", "trouble sleeping", (("压力", "stress"), ("作息不规律", "irregular hours"), ("咖啡因", "caffeine")), ("情绪低落", "low mood")),
    ("皮疹瘙痒", "an itchy rash", (("湿疹", "eczema"), ("荨麻疹", "hives"), ("接触性皮炎", "contact dermatitis")), ("呼吸困难", "trouble breathing")),
    ("眼睛干涩", "dry eyes", (("用眼过度", "screen use"), ("干眼症", "dry eye disease"), ("空调环境", "dry air")), ("视力突然下降", "sudden loss of vision")),
    ("口腔溃疡", "mouth ulcers", (("局部创伤", "local injury"), ("铁缺乏", "iron deficiency"), ("免疫因素", "immune factors")), ("超过三周不愈", "no healing in three weeks")),
    ("小腿抽筋", "calf cramps", (("疲劳", "fatigue"), ("电解质紊乱", "electrolyte imbalance"), ("脱水", "dehydration")), ("单侧小腿肿胀", "one swollen calf")),
    ("尿频尿急", "frequent urination", (("尿路感染", "urinary tract infection"), ("膀胱过度活动", "overactive bladder"), ("血糖升高", "raised blood sugar")), ("血尿", "blood in the urine")),
    ("耳鸣", "ringing in the ears", (("噪声损伤", "noise damage"), ("耵聍栓塞", "ear wax"), ("药物影响", "drug effects")), ("突发耳聋", "sudden deafness")),
    ("发热伴咽痛", "fever with a sore throat", (("扁桃体炎", "tonsillitis"), ("流感", "influenza"), ("链球菌感染", "streptococcus")), ("吞咽困难", "trouble swallowing")),
    ("腰疼", "low back pain", (("肌肉劳损", "muscle strain"), ("椎间盘突出", "disc herniation"), ("久坐", "long sitting")), ("大小便失禁", "loss of bladder control")),
    ("脱发", "hair loss", (("雄激素性脱发", "androgenetic alopecia"), ("产后", "recent childbirth"), ("缺铁", "low iron")), ("斑片状脱落", "bald patches")),
    ("腹泻", "diarrhoea", (("病毒性肠炎", "viral gastroenteritis"), ("食物中毒", "food poisoning"), ("肠易激综合征", "irritable bowel")), ("便血", "blood in the stool")),
)  # fmt: skip

_WHO_ZH = (
    "六岁的孩子",
    "怀孕的妻子",
    "年过七旬的父亲",
    "经常熬夜的程序员",
    "有糖尿病的母亲",
    "刚跑完马拉松的朋友",
    "哺乳期妈妈",
    "长期吸烟的叔叔",
    "高三学生",
    "退休教师",
    "建筑工人",
    "我自己",
)
_WHO_EN = (
    "my six-year-old",
    "my pregnant wife",
    "my father, over seventy",
    "a programmer who works nights",
    "my mother, who has diabetes",
    "a friend after a marathon",
    "a nursing mother",
    "an uncle who smokes",
    "a teenager before exams",
    "a retired teacher",
    "a construction worker",
    "I, an adult in good health",
)
_HARD_WHO = (1, 4, 7)
_SINCE_ZH = ("持续了{}天", "断断续续{}周", "昨天突然开始", "每到换季就出现", "已经{}个月", "晚上更明显")
_SINCE_EN = (
    "for {} days",
    "on and off for {} weeks",
    "suddenly since yesterday",
    "every change of season",
    "for {} months",
    "mostly at night",
)

_CHOICES = (
    # zh question, en question, right, wrong ones; each option as (zh, en)
    ("缺乏哪种维生素会引起坏血病", "Lack of which vitamin causes scurvy", ("维生素C", "vitamin C"), (("维生素A", "vitamin A"), ("维生素K", "vitamin K"), ("维生素D", "vitamin D"))),
    ("胰岛素由哪个器官分泌", "Which organ secretes insulin", ("胰腺", "the pancreas"), (("肝脏", "the liver"), ("脾脏", "the spleen"), ("肾上腺", "the adrenal gland"))),
    ("二甲双胍主要用于治疗什么", "What is metformin mainly used for", ("2型糖尿病", "type 2 diabetes"), (("高血压", "hypertension"), ("哮喘", "asthma"), ("痛风", "gout"))),
    ("对乙酰氨基酚过量主要损伤哪里", "Which organ does a paracetamol overdose mainly damage", ("肝脏", "the liver"), (("肺", "the lungs"), ("心脏", "the heart"), ("骨髓", "the bone marrow"))),
    ("华法林的效果用什么指标监测", "Which value monitors warfarin", ("INR", "the INR"), (("血沉", "the ESR"), ("肌酐", "creatinine"), ("白蛋白", "albumin"))),
    ("疟疾由什么传播", "What transmits malaria", ("按蚊", "the Anopheles mosquito"), (("跳蚤", "fleas"), ("蜱虫", "ticks"), ("虱子", "lice"))),
    ("急性过敏性休克首选药物是什么", "What is the first drug in anaphylaxis", ("肾上腺素", "adrenaline"), (("阿莫西林", "amoxicillin"), ("阿托品", "atropine"), ("呋塞米", "furosemide"))),
    ("人体最大的器官是什么", "What is the largest organ of the body", ("皮肤", "the skin"), (("肝脏", "the liver"), ("大肠", "the colon"), ("肺", "the lungs"))),
    ("心电图P波代表什么", "What does the P wave of an ECG show", ("心房除极", "atrial depolarisation"), (("心室除极", "ventricular depolarisation"), ("心室复极", "ventricular repolarisation"), ("窦性停搏", "sinus arrest"))),
    ("妊娠期补充叶酸主要预防什么", "What does folic acid in pregnancy prevent", ("神经管缺陷", "neural tube defects"), (("贫血性心脏病", "anaemic heart disease"), ("早产", "preterm birth"), ("妊娠糖尿病", "gestational diabetes"))),
    ("痛风与哪种物质升高有关", "Which substance is raised in gout", ("尿酸", "uric acid"), (("肌酸", "creatine"), ("乳酸", "lactic acid"), ("胆红素", "bilirubin"))),
    ("ACE抑制剂常见的副作用是什么", "What is a common side effect of ACE inhibitors", ("干咳", "a dry cough"), (("脱发", "hair loss"), ("多毛", "hair growth"), ("黄视", "yellow vision"))),
)  # fmt: skip

_DRUGS_ZH = ("阿莫西林", "布洛芬", "对乙酰氨基酚", "头孢克肟", "氯雷他定", "奥司他韦")
_DRUGS_EN = ("amoxicillin", "ibuprofen", "paracetamol", "cefixime", "loratadine", "oseltamivir")


def complaint(rng: Random, zh: bool) -> Question:
    symptom_zh, symptom_en, causes, warning = rng.choice(_SYMPTOMS)
    w, s, n = rng.randrange(12), rng.randrange(6), rng.randint(2, 9)
    since = (_SINCE_ZH if zh else _SINCE_EN)[s].format(n)
    text = (
        rng.choice(
            (
                "{w}{x},{s},可能是什么原因?",
                "{x}是怎么回事?{w},{s}",
                "{w}最近{x}({s}),需要去医院吗?",
                "{s},{w}总是{x},应该做哪些检查、怎么处理?",
            )
        ).format(w=_WHO_ZH[w], x=symptom_zh, s=since)
        if zh
        else rng.choice(
            (
                "{w}: {x} {s}. What could it be?",
                "What causes {x}? It concerns {w}, {s}.",
                "{x} {s} ({w}). Is a doctor needed?",
                "{w} has had {x} {s}. Which tests make sense, and what helps?",
            )
        ).format(w=_WHO_EN[w], x=symptom_en, s=since)
    )
    ways = (
        ("常见原因包括{}", "要考虑{}的可能", "其次需要排除{}")
        if zh
        else ("a common cause is {}", "consider {}", "{} should be ruled out")
    )
    points = [Point(pair, ways[i].format(pair[0] if zh else pair[1])) for i, pair in enumerate(causes)]
    points.append(
        Point(
            warning,
            f"如果出现{warning[0]},应立即就医" if zh else f"in case of {warning[1]}, see a doctor at once",
        )
    )
    return Question(
        text=text, domain="medicine", language="zh" if zh else "en", difficulty=0.0 + 0.7 * (w in _HARD_WHO), kind="points",
        points=tuple(points), tags=frozenset({"hard"}) if w in _HARD_WHO else frozenset(),
    )  # fmt: skip


def choice(rng: Random, zh: bool) -> Question:
    ask_zh, ask_en, right, wrong = rng.choice(_CHOICES)
    options = [right, *wrong]
    rng.shuffle(options)
    side = 0 if zh else 1
    lines = "\n".join(f"{letter}. {option[side]}" for letter, option in zip("ABCD", options, strict=True))
    frame = (
        rng.choice(("{}?", "单选题:{}?", "护士考试题,{}?", "执业医师考试:{}?"))
        if zh
        else rng.choice(("{}?", "Choose one: {}?", "Board exam: {}?", "Nursing quiz: {}?"))
    )
    letter = "ABCD"[options.index(right)]
    others = tuple(other for other in "ABCD" if other != letter)
    work = (
        (f"{right[0]}符合题意", "其余选项与题干不符")
        if zh
        else (f"It is {right[1]}", "The other options do not fit")
    )
    return Question(
        text=f"{frame.format(ask_zh if zh else ask_en)}\n{lines}", domain="medicine", language="zh" if zh else "en",
        difficulty=-0.6, kind="text", accepted=(letter,), wrong=others, work=work,
    )  # fmt: skip


def dose(rng: Random, zh: bool) -> Question:
    """A dosage question: worded as medicine, but half of the work is arithmetic."""
    d, weight, per_kg, times = (
        rng.randrange(6),
        rng.randint(8, 30),
        rng.choice((5, 10, 15, 20)),
        rng.randint(2, 4),
    )
    total = weight * per_kg
    value = total * times
    ward_zh, ward_en = (
        ("儿科门诊", "急诊", "社区诊所", "住院部"),
        ("paediatric clinic", "emergency room", "village surgery", "ward"),
    )
    k = rng.randrange(4)
    text = (
        rng.choice(
            (
                "{k}:患儿体重{w}千克,{d}每次每千克{p}毫克,每日{t}次,一天共多少毫克?",
                "{d}按每千克{p}毫克给药,每天{t}次,{k}里一名{w}千克的患儿每日总量是多少毫克?",
            )
        ).format(k=ward_zh[k], w=weight, d=_DRUGS_ZH[d], p=per_kg, t=times)
        if zh
        else rng.choice(
            (
                "In the {k}, a child of {w} kg is given {d} at {p} mg/kg per dose, {t} times a day. What is the daily total in mg?",
                "{d} is dosed at {p} mg/kg {t} times daily. For a patient of {w} kg in the {k}, how many mg a day?",
            )
        ).format(k=ward_en[k], w=weight, d=_DRUGS_EN[d], p=per_kg, t=times)
    )
    work = (
        (f"每次剂量 {weight}×{per_kg} = {total} 毫克", f"每日 {times} 次")
        if zh
        else (f"One dose is {weight}*{per_kg} = {total} mg", f"Given {times} times a day")
    )
    return Question(
        text=text, domain="medicine", language="zh" if zh else "en", difficulty=0.3, kind="numbers", accepted=numbers(value),
        wrong=(*numbers(total), *off_by(rng, value)[:2]), work=work, blend=(("math", 0.45),), tags=frozenset({"hard", "mixed"}),
    )  # fmt: skip


def compare(rng: Random, zh: bool) -> Question:
    a, b = rng.sample(range(len(_SYMPTOMS)), 2)
    first, second = rng.choice(_SYMPTOMS[a][2]), rng.choice(_SYMPTOMS[b][2])
    w = rng.randrange(12)
    text = (
        rng.choice(
            (
                "{a}和{b}怎么区分?患者是{w}",
                "{w}被怀疑{a}或{b},鉴别要点是什么?",
                "请比较{a}与{b}的症状、检查和治疗({w})",
            )
        ).format(a=first[0], b=second[0], w=_WHO_ZH[w])
        if zh
        else rng.choice(
            (
                "How does one tell {a} from {b} in {w}?",
                "{w}: is it {a} or {b}? What separates them?",
                "Compare {a} with {b}: symptoms, tests, treatment ({w}).",
            )
        ).format(a=first[1], b=second[1], w=_WHO_EN[w])
    )
    pairs = (first, second, ("病史", "history"), ("检查", "tests"))
    points = tuple(Point(pair, (f"要结合{pair[0]}来判断" if zh else f"judge by {pair[1]}")) for pair in pairs)
    return Question(
        text=text,
        domain="medicine",
        language="zh" if zh else "en",
        difficulty=0.8,
        kind="points",
        points=points,
        tags=frozenset({"hard"}),
    )


TEMPLATES: tuple[tuple[float, Template], ...] = ((6, complaint), (1.5, choice), (1.5, dose), (2, compare))
"""Weight and function of each template; it takes a random generator and whether to write Chinese."""
