"""Programming: output and complexity questions are checked by value, API questions by the right call."""

from collections.abc import Callable
from random import Random

from simulation.question import Point, Question, numbers, off_by

Template = Callable[[Random, bool], Question]

_CALLS = (
    # language, what it does (zh, en), call that does it, plausible wrong calls
    ("PHP", "关闭 MySQL 连接", "close a MySQL connection", "mysqli_close($conn)", ("mysql_stop($conn)", "unset_connection($conn)")),
    ("PHP", "把数组转成 JSON 字符串", "turn an array into a JSON string", "json_encode($array)", ("json_dump($array)", "to_json($array)")),
    ("PHP", "防止输出中的 XSS", "escape output against XSS", "htmlspecialchars($text)", ("strip_xss($text)", "html_safe($text)")),
    ("Python", "反转一个列表而不复制", "reverse a list in place", "items.reverse()", ("reversed_inplace(items)", "items.flip()")),
    ("Python", "读取 JSON 文件", "read a JSON file", "json.load(handle)", ("json.read(handle)", "json.parse_file(handle)")),
    ("Python", "按键对字典列表排序", "sort a list of dicts by a key", "sorted(rows, key=lambda row: row[name])", ("rows.sort_by(name)", "sort(rows, name)")),
    ("Python", "统计元素出现次数", "count how often each item occurs", "collections.Counter(items)", ("items.tally()", "count_all(items)")),
    ("JavaScript", "去除数组中的重复元素", "remove duplicates from an array", "[...new Set(values)]", ("values.distinct()", "values.unique()")),
    ("JavaScript", "等待多个 Promise 全部完成", "wait for several promises", "Promise.all(promises)", ("Promise.join(promises)", "await.every(promises)")),
    ("JavaScript", "深拷贝一个对象", "deep-copy an object", "structuredClone(value)", ("Object.deep(value)", "value.cloneAll()")),
    ("Go", "等待一组 goroutine 结束", "wait for a group of goroutines", "wg.Wait()", ("go.Join(wg)", "runtime.WaitAll()")),
    ("Go", "把整数转成字符串", "turn an integer into a string", "strconv.Itoa(n)", ("string.From(n)", "n.String10()")),
    ("Go", "延迟关闭文件", "close a file when the function returns", "defer file.Close()", ("finally file.Close()", "file.AutoClose()")),
    ("Java", "比较两个字符串的内容", "compare the contents of two strings", "first.equals(second)", ("first == second", "String.same(first, second)")),
    ("Java", "创建不可变列表", "make an immutable list", "List.of(first, second)", ("new ConstList(first)", "List.freeze(first)")),
    ("Rust", "把字符串解析为整数", "parse a string into an integer", "text.parse::<i32>()", ("i32::read(text)", "text.to_int()")),
    ("Rust", "在线程间共享所有权", "share ownership between threads", "Arc::clone(&shared)", ("Rc::send(&shared)", "share!(shared)")),
    ("C", "释放堆内存", "release heap memory", "free(pointer)", ("delete pointer", "release(pointer)")),
    ("C++", "转移对象所有权", "transfer ownership of an object", "std::move(object)", ("std::give(object)", "object.transfer()")),
    ("SQL", "删除表但保留结构", "empty a table but keep its structure", "TRUNCATE TABLE orders", ("DROP TABLE orders", "CLEAR TABLE orders")),
    ("Bash", "查找大于一百兆的文件", "find files larger than a hundred megabytes", "find . -size +100M", ("ls --bigger 100M", "grep -size 100M .")),
    ("Bash", "只看日志的最后几行并持续跟踪", "follow the end of a log", "tail -f app.log", ("cat --follow app.log", "head -f app.log")),
    ("Git", "撤销最近一次提交但保留修改", "undo the last commit but keep the changes", "git reset --soft HEAD~1", ("git undo --keep", "git revert --soft")),
    ("Git", "把提交移到另一分支", "take one commit over to another branch", "git cherry-pick", ("git move-commit", "git transplant")),
)  # fmt: skip

_SETTINGS_ZH = (
    "在一个老项目里",
    "在生产环境",
    "写单元测试时",
    "做数据迁移时",
    "在定时任务中",
    "面试题",
    "重构代码时",
    "在微服务里",
)
_SETTINGS_EN = (
    "in a legacy project",
    "in production",
    "in a unit test",
    "during a data migration",
    "in a cron job",
    "for an interview",
    "while refactoring",
    "in a microservice",
)

_ALGORITHMS = (
    ("归并排序", "merge sort", "O(n log n)"), ("二分查找", "binary search", "O(log n)"), ("冒泡排序", "bubble sort", "O(n^2)"),
    ("堆排序", "heapsort", "O(n log n)"), ("哈希表平均查找", "an average hash table lookup", "O(1)"), ("深度优先遍历(邻接表)", "depth-first search on adjacency lists", "O(V+E)"),
    ("朴素矩阵乘法", "naive matrix multiplication", "O(n^3)"), ("弗洛伊德最短路", "the Floyd-Warshall algorithm", "O(V^3)"), ("建堆", "building a heap", "O(n)"),
    ("平衡树插入", "insertion into a balanced tree", "O(log n)"), ("全排列枚举", "enumerating all permutations", "O(n!)"), ("子集枚举", "enumerating all subsets", "O(2^n)"),
)  # fmt: skip

_TASKS = (
    # zh, en, key points as (keywords, zh sentence, en sentence)
    ("判断字符串是否为回文", "checks whether a string is a palindrome", (("双指针", "two pointers"), ("大小写", "case"), ("空字符串", "empty string"))),
    ("合并两个有序数组", "merges two sorted arrays", (("两个指针", "two indices"), ("剩余元素", "left-over items"), ("线性时间", "linear time"))),
    ("实现 LRU 缓存", "implements an LRU cache", (("哈希表", "hash map"), ("双向链表", "doubly linked list"), ("淘汰", "evict"), ("容量", "capacity"))),
    ("限制接口调用频率", "limits the rate of calls", (("令牌桶", "token bucket"), ("时钟", "monotonic clock"), ("并发", "lock"), ("突发", "burst"))),
    ("带指数退避的重试", "retries with exponential backoff", (("上限", "upper bound"), ("抖动", "jitter"), ("可重试", "retryable"), ("最大次数", "attempts"))),
    ("逐行处理大文件", "processes a large file line by line", (("迭代器", "iterator"), ("缓冲", "buffer"), ("编码", "encoding"), ("关闭", "close"))),
    ("解析命令行参数", "parses command-line arguments", (("默认值", "default"), ("帮助", "help"), ("校验", "validate"))),
    ("反转链表", "reverses a linked list", (("前驱", "previous"), ("循环", "loop"), ("头结点", "new head"))),
    ("线程安全的单例", "gives a thread-safe singleton", (("锁", "lock"), ("双重检查", "double check"), ("延迟初始化", "lazy"))),
    ("校验邮箱格式", "validates an e-mail address", (("正则", "regular expression"), ("长度", "length"), ("域名", "domain part"))),
    ("深度比较两个对象", "compares two objects deeply", (("递归", "recursion"), ("循环引用", "cycles"), ("类型", "types"))),
    ("拓扑排序", "sorts a graph topologically", (("入度", "in-degree"), ("队列", "queue"), ("环", "cycle"))),
    ("流式计算移动平均", "computes a moving average over a stream", (("窗口", "window"), ("累计和", "running sum"), ("浮点误差", "rounding"))),
    ("批量写入数据库", "writes to a database in batches", (("事务", "transaction"), ("批大小", "batch size"), ("回滚", "rollback"), ("参数化", "parameterised"))),
)  # fmt: skip

_LANGUAGES = ("Python", "Go", "Java", "TypeScript", "Rust", "C++", "Kotlin", "C#")

_BUGS = (
    ("程序偶尔死锁", "the program deadlocks now and then", (("加锁顺序", "lock order"), ("超时", "timeout"), ("线程转储", "thread dump"))),
    ("内存不断上涨", "memory keeps growing", (("堆快照", "heap snapshot"), ("缓存", "unbounded cache"), ("引用", "reference"))),
    ("数据库连接池耗尽", "the connection pool runs dry", (("归还", "returned"), ("慢查询", "slow query"), ("池大小", "pool size"))),
    ("接口返回中文乱码", "the API returns garbled Chinese", (("UTF-8", "UTF-8"), ("响应头", "Content-Type"), ("数据库字符集", "charset"))),
    ("浮点数比较失败", "comparing floats fails", (("误差", "tolerance"), ("十进制", "decimal"), ("二进制", "binary"))),
    ("空指针异常", "there is a null pointer exception", (("判空", "null check"), ("堆栈", "stack trace"), ("初始化", "initialised"))),
    ("跨域请求被拒绝", "a cross-origin request is refused", (("CORS", "CORS"), ("预检", "preflight"), ("允许的来源", "allowed origin"))),
    ("定时任务重复执行", "the cron job runs twice", (("分布式锁", "distributed lock"), ("幂等", "idempotent"), ("时区", "time zone"))),
)  # fmt: skip

_SYSTEMS_ZH = ("订单系统", "聊天服务", "支付网关", "数据看板", "爬虫", "推荐服务", "库存系统", "日志平台")
_SYSTEMS_EN = (
    "order system",
    "chat service",
    "payment gateway",
    "dashboard",
    "crawler",
    "recommender",
    "stock system",
    "log platform",
)


def _points(rng: Random, zh: bool, pairs: tuple[tuple[str, str], ...]) -> tuple[Point, ...]:
    ways = (
        ("需要处理好{}", "实现时用到{}", "关键在于{}", "先确认{}")
        if zh
        else ("take care of the {}", "the {} matters here", "start from the {}", "make the {} explicit")
    )
    return tuple(
        Point((pair[0], pair[1]), rng.choice(ways).format(pair[0] if zh else pair[1])) for pair in pairs
    )


def call(rng: Random, zh: bool) -> Question:
    language, does_zh, does_en, right, wrong = rng.choice(_CALLS)
    k = rng.randrange(len(_SETTINGS_ZH))
    text = (
        rng.choice(
            (
                "{s},{l} 怎么{d}?",
                "用 {l} {d}的正确写法是什么?({s})",
                "{s}需要用 {l} {d},给出一行代码",
                "{l}:{d},应该调用什么?{s}",
            )
        ).format(s=_SETTINGS_ZH[k], l=language, d=does_zh)
        if zh
        else rng.choice(
            (
                "How do I {d} in {l} {s}?",
                "What is the {l} call to {d} {s}?",
                "I need to {d} {s}. Give one line of {l}.",
                "{l}: the right way to {d} {s}?",
            )
        ).format(s=_SETTINGS_EN[k], l=language, d=does_en)
    )
    work = (
        (f"{language} 标准做法是直接调用现成接口", "注意处理出错的情况")
        if zh
        else (f"{language} has this built in", "Handle the error case as well")
    )
    return Question(
        text=text,
        domain="code",
        language="zh" if zh else "en",
        difficulty=-0.5,
        kind="text",
        accepted=(right,),
        wrong=wrong,
        work=work,
    )


def predict(rng: Random, zh: bool) -> Question:
    n, step, add = rng.randint(5, 12), rng.randint(2, 4), rng.randint(1, 6)
    name, item = rng.choice(("values", "total", "result", "data", "acc", "out")), rng.choice("xivnek")
    form = rng.randrange(5)
    code, value = (
        (f"print(sum({item} * {add} for {item} in range({n}) if {item} % {step} == 0))", sum(i * add for i in range(n) if i % step == 0)),
        (f"{name} = list(range({n}))[::{step}]; print(len({name}))", len(range(0, n, step))),
        (f"{name} = 0\nfor {item} in range({n}):\n    {name} += {item} // {step}\nprint({name} + {add})", sum(i // step for i in range(n)) + add),
        (f"f = lambda {item}: {item} if {item} < 2 else f({item} - 1) + f({item} - 2)\nprint(f({n}))", _fibonacci(n)),
        (f"{name} = {{{item} % {step} for {item} in range({n})}}\nprint(len({name}) * {add})", len({i % step for i in range(n)}) * add),
    )[form]  # fmt: skip
    ask = (
        rng.choice(
            ("下面的 Python 代码输出什么?\n{}", "不运行,写出这段程序的结果:\n{}", "阅读代码并给出打印值:\n{}")
        )
        if zh
        else rng.choice(
            (
                "What does this Python code print?\n{}",
                "Without running it, give the output of\n{}",
                "Trace this snippet. What is printed?\n{}",
            )
        )
    )
    work = (
        ("逐次跟踪循环变量", "注意 range 不含终点")
        if zh
        else ("Trace the loop variable step by step", "Note that range excludes its end")
    )
    return Question(
        text=ask.format(code), domain="code", language="zh" if zh else "en", difficulty=0.4 + 0.5 * (form == 3), kind="numbers",
        accepted=numbers(value), wrong=off_by(rng, value), work=work, blend=(("math", 0.2),),
    )  # fmt: skip


def _fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def complexity(rng: Random, zh: bool) -> Question:
    i = rng.randrange(len(_ALGORITHMS))
    name_zh, name_en, right = _ALGORITHMS[i]
    k, s = rng.randrange(8), rng.randrange(8)
    text = (
        rng.choice(
            (
                "{a}的时间复杂度是多少?用于{y}",
                "{y}里用了{a},最坏情况下复杂度是什么量级?",
                "{s}:分析{a}的渐近复杂度",
            )
        ).format(a=name_zh, y=_SYSTEMS_ZH[k], s=_SETTINGS_ZH[s])
        if zh
        else rng.choice(
            (
                "What is the time complexity of {a} as used in a {y}?",
                "Our {y} relies on {a}. How does its running time grow?",
                "Give the big-O of {a}, {s}.",
            )
        ).format(a=name_en, y=_SYSTEMS_EN[k], s=_SETTINGS_EN[s])
    )
    wrong = tuple(dict.fromkeys(other for *_, other in rng.sample(_ALGORITHMS, 6) if other != right))[:3]
    work = ("数一数每层的工作量和层数",) if zh else ("Count the levels and the work on each",)
    return Question(
        text=text,
        domain="code",
        language="zh" if zh else "en",
        difficulty=0.0,
        kind="text",
        accepted=(right,),
        wrong=wrong,
        work=work,
        blend=(("math", 0.15),),
    )


def function(rng: Random, zh: bool) -> Question:
    task_zh, task_en, pairs = rng.choice(_TASKS)
    language, k = rng.choice(_LANGUAGES), rng.randrange(8)
    text = (
        rng.choice(
            (
                "用 {l} 写一个函数:{t},用在{y}里",
                "{y}需要{t},请给出 {l} 实现并说明要点",
                "{l} 如何{t}?要考虑边界情况",
                "请实现{t}({l}),并解释思路",
            )
        ).format(l=language, t=task_zh, y=_SYSTEMS_ZH[k])
        if zh
        else rng.choice(
            (
                "Write a {l} function that {t} for our {y}.",
                "In {l}, write code that {t}; mind the edge cases.",
                "Our {y} needs something in {l} that {t}. Show it and explain.",
            )
        ).format(l=language, t=task_en, y=_SYSTEMS_EN[k])
    )
    return Question(
        text=text,
        domain="code",
        language="zh" if zh else "en",
        difficulty=-0.2 + 0.35 * (len(pairs) > 3) + 0.2 * (language in ("Rust", "C++")),
        kind="points",
        points=_points(rng, zh, pairs),
    )


def bug(rng: Random, zh: bool) -> Question:
    bug_zh, bug_en, pairs = rng.choice(_BUGS)
    language, k, s = rng.choice(_LANGUAGES), rng.randrange(8), rng.randrange(8)
    text = (
        rng.choice(
            (
                "{y}({l})上线后{b},怎么排查?",
                "{s}发现{b},{l} 项目应从哪里查起?",
                "{l} 写的{y}{b},可能的原因和修复办法?",
            )
        ).format(l=language, y=_SYSTEMS_ZH[k], b=bug_zh, s=_SETTINGS_ZH[s])
        if zh
        else rng.choice(
            (
                "Since the release of our {y} in {l}, {b}. How do I debug it?",
                "{b} in a {l} {y}. Likely causes and fixes?",
                "In our {l} code base {b} ({s}). Where to look first?",
            )
        ).format(l=language, y=_SYSTEMS_EN[k], b=bug_en, s=_SETTINGS_EN[s])
    )
    return Question(
        text=text,
        domain="code",
        language="zh" if zh else "en",
        difficulty=0.6,
        kind="points",
        points=_points(rng, zh, pairs),
    )


TEMPLATES: tuple[tuple[float, Template], ...] = (
    (3, call),
    (1.5, predict),
    (2, complexity),
    (3, function),
    (2.5, bug),
)
"""Weight and function of each template; it takes a random generator and whether to write Chinese."""
