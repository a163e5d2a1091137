"""The words that a question is not about, in Chinese and English: question words, polite phrases, function words.

This module has only tables; `queries.forms` parses questions with them. They list closed word classes (interrogatives,
particles, pronouns, auxiliaries, articles, prepositions, classifiers), which grammars enumerate. What a team calls its
parts is an open class and belongs in the settings (`queries.synonyms`).
"""

from __future__ import annotations

# -- Chinese, simplified

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CLASSIFIERS = "个只条座位名家种款次项类辆台支张所首部本层档挡速缸门扇把块颗根片件套排圈"
TIME_UNITS = {
    "年": "year", "个月": "month", "月": "month", "周": "week", "星期": "week", "天": "day", "日": "day",
    "个小时": "hour", "小时": "hour", "钟头": "hour", "个钟头": "hour", "个钟": "hour", "分钟": "minute",
    "秒钟": "second", "秒": "second",
}  # fmt: skip
UNITS = {
    "毫升": "ml", "公升": "l", "升": "l", "l": "l", "ml": "ml", "公里": "km", "千米": "km", "km": "km", "米": "m",
    "厘米": "cm", "公分": "cm", "cm": "cm", "毫米": "mm", "mm": "mm", "英寸": "inch", "寸": "inch", "公斤": "kg",
    "千克": "kg", "kg": "kg", "斤": "jin", "克": "g", "吨": "t", "度": "degree", "伏": "v", "瓦": "w", "千瓦": "kw",
    "kw": "kw", "千瓦时": "kwh", "kwh": "kwh", "马力": "hp", "匹": "hp", "牛米": "nm", "牛": "nm", "安": "a",
    "千帕": "kpa", "kpa": "kpa", "兆帕": "mpa", "bar": "bar", "巴": "bar", "psi": "psi", "转": "rpm", "迈": "kmh",
    "平米": "m2", "平方米": "m2", "平方公里": "km2", "万": "10k",
}  # fmt: skip
"""Maps the spelling of a unit to its name: 公里 and km are both km."""
DIMENSIONS = {"高": "高度", "长": "长度", "宽": "宽度", "深": "深度", "重": "重量", "远": "距离", "快": "速度",
              "厚": "厚度", "大": "大小", "粗": "粗细"}  # fmt: skip
"""多高 asks for a 高度. 多大 fits every quantity, so it is dropped when the question names one."""
QUANTITIES = "率量度积力压距速温耗价值程比径格性数龄重功寸高长宽深厚"
"""Last characters of words for quantities: after 功率, 容积 or 车高, 多大 and 多少 ask the same."""


def _any(words: dict[str, str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


_TIME, _UNIT = _any(TIME_UNITS), _any(UNITS)
CHINESE_PATTERNS: tuple[tuple[str, str], ...] = (
    # phrases that address whoever answers; "" asks for nothing
    ("", r"(?:各位|诸位|有没有)(?:大神|大佬|高手|专家|师傅|老师|朋友|车友|车主|网友|同学|前辈)们?|(?:大神|大佬|高手|专家|师傅|老师|亲)们?(?=[，, ]|请|问|求|帮|能不能告诉|$)"),
    ("", r"(?:小白|新手|新人|本人|我)?(?:想|要|来)?(?:请)?(?:问|请教|咨询|打听|了解|知道)(?:一下下?|下(?![雨雪坡车载架单方面班课午周个月次水降拉滑])|个问题)(?:子)?"),
    ("", r"^(?:小白|新手|新人)(?:我)?(?=请|想|求|问)"),
    ("", r"各位(?:好)?|诸位|大家好"),
    ("", r"^(?:师傅|老板|客服|小哥|大哥|老铁|兄弟|美女|帅哥|大神|大佬|亲)们?(?=.{4})"),
    ("", r"(?:小白|新手|新人|我)?(?:就)?(?:想|要)(?:请)?(?:问问|请问|请教|咨询|知道|了解)"),
    ("", r"请问(?:一下下?|下(?![雨雪坡车载架单方面班课午周个月次水降拉滑]))?|请教|求教|求助|求解答?|求指教|在线等|跪求|急求|麻烦(?:问|请问)?(?:一下|下|您|你)?"),
    ("", r"(?:请|麻烦)?(?:你|您|谁|有人|哪位|大家)?(?:能不能|能否|可不可以|可以|可否|能)?(?:告诉|告知|教教?|说说|说|讲讲)(?:一下|下)?(?:我|咱|俺|我们|大家)(?:一下|下)?(?:吗)?"),
    ("", r"(?:有)?(?:谁|人|哪位|大家)(?:能|可以)?(?:知道|晓得|清楚|了解)(?:的)?(?=.{3})"),
    ("", r"(?:你|您)(?:们)?好(?!车)|(?:非常)?(?:谢谢|感谢|多谢)(?:了|您|你|啦|大家|各位)*|拜托(?:了)?|哈喽|嗨"),
    ("", r"[这那](?:款|辆|台|部|种|个|些)(?!时候|月|年)"),
    # questions
    ("remedy", r"(?:该|应该|应当|应|需要|要|得|可以|能)?(?:怎么|咋|怎样|如何)(?:办|处理|解决|应对|搞定|处置)(?:好|才好)?"),
    ("why", r"(?:是)?(?:因为)?(?:什么|啥|何种|哪些|何)(?:样的)?(?:原因|缘故|缘由)(?:造成|导致|引起)?(?:的)?"),
    ("why", r"(?:的)?原因(?:是|有)(?:什么|啥|哪些)|(?:是)?(?:怎么|咋)(?:一)?回事(?:儿)?|(?:是)?(?:怎么|咋)搞的"),
    ("why", r"为什么|为甚么|为啥|为何|因何|何故|干嘛|凭什么"),
    ("opinion", r"(?:觉得)?(?:怎么样|怎样|咋样|如何)(?=[呢啊呀吗了的?？ ]*$)|好不好(?=[呢啊呀? ]*$)|会(?:怎么样|怎样|如何)"),
    ("meaning", r"(?:是)?(?:什么|啥|何)(?:意思|含义|意义)|(?:代表|表示|意味着|指的?是|是指|指)(?:了|着)?(?:什么|啥|何)(?:意思|含义)?"),
    ("meaning", r"(?:的)?(?:意思|含义|定义)(?:是)?(?:什么|啥)?"),
    ("price", r"(?:需要|要|花|得)?多少(?:钱|元|块钱|块|费用)|(?:什么|啥|何)(?:价格|价钱|价位|价)|几(?:块|元)钱?|怎么卖"),
    ("duration", r"多久(?:一次)?|多长时间(?:一次)?|多少时间|多长(?=换|更换|充|保养|一次)|多少?个?时长"),
    ("duration:unit", rf"(?:多少|几)(?P<time>{_TIME})(?:一次)?"),
    ("when", r"(?:在)?(?:什么时候|啥时候|什么时间|什么时刻|何时|几时|啥时|多会儿?|什么日期)"),
    ("when:year", r"(?:在|是)?(?:哪一?年|何年|什么年份)(?:的)?"),
    ("when:day", r"(?:在|是)?(?:哪一?天|几号|几月几[号日]|哪一?日)"),
    ("when:month", r"(?:在|是)?(?:哪个?月|几月份?)"),
    ("when:clock", r"几点(?:钟)?"),
    ("when:weekday", r"(?:星期|周|礼拜)几"),
    ("where", r"(?:位于|在|处于)?(?:什么|啥|何|哪个|哪)(?:地方|位置|地点|方位|处|部位)|(?:位于|在|处于)?(?:哪里|哪儿|哪边|哪块|何处|哪)(?=$|[^一-鿿]|[^个些种款位家部本条座年天月里儿边块一只支张所首辆台项类层档挡款版代])"),
    ("where", r"(?:位于|在|处于)?(?:哪里|哪儿|哪边|何处)|(?:的)?(?:具体)?位置(?:是|在)?(?:哪里|哪儿|哪|何处|什么)?$"),
    ("who", r"(?:是)?(?:谁|何人|哪位|什么人|哪个人|啥人)"),
    ("what", r"(?:是)?(?:哪|什么|啥|何)(?:一)?(?:个|些|种|款|位|家|部|本|条|座|类|项|辆|台|支|张|所|首|样)(?:的)?"),
    ("amount:unit", rf"(?:是|有|为)?(?:多少|几)(?P<unit>{_UNIT})(?![{_CLASSIFIERS}])"),
    ("amount:classifier", rf"(?:是|有|为)?(?:多少|几)(?P<classifier>[{_CLASSIFIERS}])"),
    ("amount", r"(?:是|有|为)?(?:多少|多寡|几何)|(?<![第零一二三四五六七八九十])几(?=[万千百十\d]?[^乎])"),
    ("amount:dimension", r"(?:是|有)?多(?:么)?(?P<dimension>[高长宽深重远快厚大粗])(?![度小短低灯众])"),
    ("how", r"(?:应该|应当|该|要)?(?:怎么样|怎么着|怎样|怎么|怎末|怎麽|咋样|咋|如何|怎|何以)(?:才能|才|能够|能|可以)?(?:去|来)?"),
    ("how", r"(?:的)?(?:操作)?(?:方法|步骤|办法|教程|流程)(?:是)?(?:什么|哪些|有哪些|怎样的)?$"),
    ("what", r"(?:是|有|指)?(?:什么样|什么|啥样|啥|哪种)(?:的)?(?:啊|呢)?|(?<=为)何"),
    # yes or no, by the modal verb
    ("whether:can", r"(?:能不能|可不可以|能否|可否|可以不可以|能不|是否能够?|是否可以|会不会能)(?:够)?"),
    ("whether:have", r"(?:有没有|有无|是否有|是否带|是否配备?|带不带|配没配)"),
    ("whether:need", r"(?:需不需要|要不要|用不用|是否需要|是否要|是不是需?要|是否必须)"),
    ("whether", r"(?:会不会|是否会|是不是|是否|算不算|对不对)"),
)  # fmt: skip
"""(what a pattern asks for, pattern) pairs; at each place the first that matches is used."""
CHINESE_WHETHER = r"(?:吗|嘛|么|没有|没|不)[呢啊呀?？ ]*$"
CHINESE_MODALS = {"可以": "can", "能够": "can", "能": "can", "可": "can", "有": "have", "带": "have", "配": "have",
                  "配备": "have", "具备": "have", "需要": "need", "要": "need", "必须": "need", "需": "need", "得": "need",
                  "用": "need"}  # fmt: skip
CHINESE_FUNCTION_WORDS = frozenset(
    "的 地 得 了 着 过 呢 啊 呀 吧 吗 嘛 哦 哈 啦 嗯 哎 唉 哇 么 喔 哟 诶 嘞 "
    "是 为 在 有 也 都 就 还 才 会 能 可以 可 能够 要 需要 需 应该 应当 应 该 想 请 位于 处于 于 进行 把 将 被 给 让 使 由 所 "
    "我 你 您 他 她 它 我们 你们 他们 咱 咱们 俺 自己 这 那 这个 那个 这款 那款 这辆 那辆 这台 那台 这种 那种 这些 那些 本 此 "
    "一下 下 一次 一个 一般 通常 平时 到底 究竟 具体 大概 大约 正确 比较 和 与 跟 及 以及 或 或者 还是 之 其 上 里 里面 里边 中 "
    "时 时候 的时候 的话 话 如果 当 现在 已经 已 从 到 对 对于 关于 以 而 但 但是 然后 并 且 并且 去 来 代表 表示 意思 "
    "上面 怎么 什么 一些 有些 现有 会不会 功能".split()
)
"""Particles, pronouns, copulas, auxiliaries, prepositions, conjunctions and adverbs that add nothing to a question. 上
and 里 are among them as place words; 多, 不, 前, 后 and the like are not, since they distinguish questions."""
CHINESE_CLASS_WORDS = frozenset("车 汽车 车子 车辆 爱车 车型 轿车 大小 电影 影片 歌曲 小说 电视剧 城市 国家".split())
"""Words for kinds of things. They may accompany a name (a city and its name) or refer to the thing that the question is
about."""
CHINESE_AGENTS = {"作者": "写", "导演": "导演", "主演": "演", "创始人": "创立", "创办人": "创办", "发明家": "发明"}
CHINESE_SYNONYMS = (
    ("高度", "身高"), ("重量", "自重", "车重", "体重"), ("第一次", "首次", "头一次", "首回"), ("最后一次", "末次"),
    ("删除", "删掉", "删去", "删"), ("电脑", "计算机"), ("冰箱", "电冰箱"), ("电视", "电视机"), ("自行车", "单车", "脚踏车"),
    ("手机", "移动电话"), ("空调", "冷气"), ("番茄", "西红柿"), ("土豆", "马铃薯"),
    ("价格", "价钱", "售价", "价位", "费用", "花费"), ("之后", "以后", "后"), ("之前", "以前"),
    ("打开", "开启", "开", "启用", "启动"), ("关闭", "关", "关掉", "关上", "停用"),
    ("更换", "换", "替换"), ("调节", "调", "调整"), ("安装", "装"),
    ("连接", "连", "连上", "接", "联接"), ("拆卸", "拆", "拆除", "拆下", "拆掉"), ("设置", "设", "设成", "设定", "设置成", "设为"),
    ("添加", "加", "加注"), ("检查", "查看", "看", "查"), ("清洗", "洗"), ("充电", "充"), ("写", "撰写", "著"),
    ("打败", "击败"), ("修理", "修", "维修"), ("取消", "解除"), ("使用", "用"), ("建造", "建", "修建", "建成"),
    ("不能", "无法", "不可以", "没法", "不了"), ("没有", "没", "无"), ("导致", "引起", "造成"), ("成", "转成", "变成"),
)  # fmt: skip
"""Words of general language; each is replaced by the first of its group."""

# -- English

ENGLISH_DIMENSIONS = {
    "tall": "height", "high": "height", "long": "length", "deep": "depth", "wide": "width", "broad": "width",
    "heavy": "weight", "old": "age", "big": "size", "large": "size", "fast": "speed", "quick": "speed",
    "far": "distance", "hot": "temperature", "cold": "temperature", "warm": "temperature", "thick": "thickness",
    "expensive": "price", "often": "often", "soon": "soon", "strong": "strength", "loud": "loudness",
}  # fmt: skip
_WHO = r"(?: i| you| we| one| people| someone| somebody| they)?"
ENGLISH_PATTERNS: tuple[tuple[str, str], ...] = (
    ("", r"^(?:hey|hi|hello|ok|okay|so|um)\b(?: there| guys| all| everyone)?"),
    ("", r"\b(?:excuse|pardon|forgive) me\b|^(?:sorry(?: to (?:bother|trouble|disturb) you)?|sir|madam)\b(?: but)?|\bif you do ?n ?t mind(?: me asking)?\b"),
    ("", r"(?:(?:can|could|would|will) (?:you|someone|anyone|anybody|somebody)(?: please| kindly)? )(?:tell|explain to|help|show|let)(?: me| us)(?: know| out)?(?: please)?(?: with| if)?"),
    ("", r"\b(?:i(?: am| m)? )?(?:just |was |am )*(?:wondering|curious)(?: about| if)?\b"),
    ("", r"\bi(?: would| d)? (?:just )?(?:want|like|need|wanted|am trying|was trying)(?: to)? (?:know|find out|ask|learn|understand)(?: about)?\b"),
    ("", r"\b(?:do|does|did) (?:you|anyone|anybody|someone) (?:happen to )?know\b(?: if)?"),
    ("", r"\b(?:please|kindly|pls|plz)(?: tell me| explain| help(?: me)?)?\b|\b(?:thanks|thank you|thx|cheers)(?: in advance| so much| a lot| very much)?\b|\b(?:quick|simple|dumb|stupid) question\b|\bany(?:one| body|body) know\b|^(?:tell me|any idea)\b"),
    ("why", r"\bhow come\b|\bwhat (?:is|are|was|were|s) the (?:main )?reasons?(?: for| why| that| behind)?\b|\bwhy\b|\bfor what reason\b"),
    ("meaning", r"\b(?:what (?:is|are|s|was) )?(?:the |a )?(?:meaning|definition)(?: of)?\b|\bwhat (?:is|are) meant by\b|^define\b"),
    ("how", r"\b(?:what (?:is|are|s) )?(?:the )?(?:best |easiest |right |proper |correct )?(?:ways?|steps|method|instructions) (?:to|for)\b"),
    ("amount", r"\bhow (?:many|much)\b|\bwhat number of\b|\bnumber of\b"),
    ("amount:dimension", rf"\bhow (?P<dimension>{'|'.join(ENGLISH_DIMENSIONS)})\b"),
    ("how", rf"\bhow (?:to|(?:do|can|could|should|would|does|did|might|may|must|shall){_WHO})\b(?: go about)?|\bhow i\b"),
    ("how", r"\bhow\b"),
    ("when:year", r"\b(?:in |on )?(?:what|which) year\b"),
    ("when:day", r"\b(?:on )?(?:what|which) (?:day|date)\b"),
    ("when:month", r"\b(?:in )?(?:what|which) month\b"),
    ("when:clock", r"\b(?:at )?(?:what|which) time\b"),
    ("when:also", r"\bwhen(?= (?:and|or) (?:where|how|why|who|what)\b)|(?<=\band )when\b"),
    ("when", r"\bwhen\b"),
    ("where", r"\b(?:in |at )?(?:what|which) (?:place|location)\b|\bwhere(?:abouts)?\b|\b(?:what (?:is|s) )?(?:the )?location(?: of)?\b"),
    ("whose", r"\bwhose\b"),
    ("who", r"\b(?:who|whom)(?: all)?\b|\b(?:what|which) (?:person|guy)\b"),
    ("what", r"\b(?:what|which)(?: (?:kinds?|types?|sorts?) of)?\b"),
)  # fmt: skip
ENGLISH_MODALS = {
    "can": "can", "could": "can", "may": "can", "might": "can", "should": "need", "must": "need", "shall": "need",
    "will": "will", "would": "will", "has": "have", "have": "have", "had": "have",
    "is": "", "are": "", "was": "", "were": "", "do": "", "does": "", "did": "", "am": "",
}  # fmt: skip
"""Auxiliaries that begin a question without a question word, and what each asks for."""
ENGLISH_FUNCTION_WORDS = frozenset(
    "a an the of in on at for to from by with about into onto upon as than via per is are was were be been being am do "
    "does did doing done have has had having will would can could shall should may might must i you he she it we they me "
    "him her us them my your his its our their mine yours ours theirs this that these those there here and so just also "
    "get got please one someone somebody people's s d ll m re ve some any ever actually really exactly if then "
    "currently generally usually normally located situated go or".split()
)
ENGLISH_CLASS_WORDS = frozenset(
    "movie film book novel song album show series play game city country state town river car vehicle person".split()
)
ENGLISH_NEGATIONS = frozenset(
    "don doesn didn isn aren wasn weren can couldn won wouldn shouldn hasn haven hadn ain mustn needn".split()
)
"""What is left before the t of n't when the apostrophe becomes a space; `cannot` and `can t` are handled alike."""
ENGLISH_AGENTS = {"author": "write", "creator": "create", "founder": "found"}
PERSONAL_DO = frozenset(("do", "does", "did"))
NAMED_BY_LETTER = frozenset(
    "model class type series galaxy version size grade plan iphone trim line mark vitamin hepatitis rev revision "
    "appendix section part level schedule form formula influenza group".split()
)
"""After these words a lone letter is a name (model s, vitamin a); elsewhere it is an article or what is left of 's."""
CLITIC_HOSTS = frozenset("i you he she it we they who what that there how where when".split())
"""Words that 'd and 'm are attached to; after other words a lone d or m is a name (vitamin d)."""
ENGLISH_SYNONYMS = (
    ("price", "cost", "fee"), ("eu", "european union"), ("un", "united nations"), ("mean", "stand for"), ("height", "tallness"), ("turn on", "switch on"),
    ("turn off", "switch off"), ("repair", "fix", "mend"), ("film", "shoot"), ("weight", "weigh"),
    ("replace", "swap out"), ("start", "begin"), ("2", "two"), ("3", "three"), ("4", "four"), ("5", "five"),
    ("6", "six"), ("7", "seven"), ("8", "eight"), ("9", "nine"), ("10", "ten"), ("first", "1st"), ("second", "2nd"),
    ("third", "3rd"), ("maximum", "max"), ("minimum", "min"), ("fourth", "4th"), ("fifth", "5th"),
)  # fmt: skip

# -- both

NEGATING = "不没未无非别勿"
"""A Chinese word that begins with one of these characters is a negation: 不会, 未关."""

TELLING = frozenset(
    "前 后 左 右 上 下 内 外 主 副 高 低 大 小 多 少 新 旧 老 长 短 快 慢 开 关 冷 热 首 末 不 没 没有 无 未 非 别 勿 不能 之前 之后 "
    "自动 手动 最 最大 最小 最高 最低 最多 最少 第一 第一次 最后 最后一次 首次 前面 后面 左侧 右侧 左边 右边 内部 外部 上方 下方 "
    "not no never none nor without cannot left right front rear back forward top bottom upper lower inner outer first "
    "last next previous new old high low hot cold before after off open close up down over under above below inside "
    "outside out male female north south east west northern southern eastern western min max minimum maximum more less "
    "most least best worst only except all every each both half double single other another same different".split()
)
"""Words that distinguish questions although they are frequent: direction, order, state, degree, negation. A question
with one of them is never a near-duplicate of the question without it."""
