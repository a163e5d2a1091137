"""How people type: what they call the car, what they put around a question, how they slip.

The core of a query is one of its fact's log wordings with the car named; decorate() then adds the mess.
"""

from __future__ import annotations

import random

from rerankops.demo.lineup import ALL_TRIMS, Car
from rerankops.demo.printing import fill, place
from rerankops.demo.truth import Intent, Truth

OPENINGS = (
    "请问", "你好，", "您好 ", "师傅，", "想问下", "问一下 ", "急！", "那个，", "帮我查下", "麻烦问下",
    "有没有人知道", "新手求助 ", "请教一下，", "小云，", "客服在吗 ", "大家好，", "我想知道", "刚提车，",
    "在线等 ", "打扰了，",
)  # fmt: skip
CLOSINGS = (
    "？", "?", "谢谢", "，急", "，在线等", "啊", "呢", "~", "。", "！！", "？？？", "...", " 谢谢啦", "，求解",
    "，手册没找到", " 急急急", "哈", "呀", "，看不懂说明书", " thx", "，麻烦说详细点",
)  # fmt: skip
EMOJI = ("😂", "🙏", "😭", "🤔", "👍", "🚗", "❓", "😅", "[抱拳]", "[捂脸]", "🔋", "😤")
HOMOPHONES = (
    ("后备箱", "后背箱"), ("胎压", "台压"), ("机油", "机由"), ("蓝牙", "蓝芽"), ("空调", "空掉"),
    ("钥匙", "钥是"), ("雨刮", "雨挂"), ("启动", "起动"), ("座椅", "坐椅"), ("保养", "保样"), ("充电", "冲电"),
    ("续航", "续行"), ("多少", "多小"), ("轮胎", "轮台"), ("刹车", "杀车"), ("电池", "电迟"), ("天窗", "天床"),
    ("玻璃", "波璃"), ("后视镜", "后事镜"), ("怎么", "怎末"), ("怎么", "咋么"), ("哪里", "那里"),
    ("在哪", "再哪"), ("手刹", "手煞"), ("巡航", "循航"), ("配置", "配制"), ("加热", "家热"),
    ("防冻液", "防动液"), ("油耗", "油号"), ("质保", "质宝"), ("模式", "摸式"), ("屏幕", "平幕"),
    ("打不开", "打不看"), ("峦途", "鸾途"), ("峦途", "栾图"), ("澄溪", "橙溪"), ("澄溪", "成溪"),
    ("朔原", "溯源"), ("栖月", "七月"), ("星禾", "星和"), ("尾门", "尾们"), ("自动", "自懂"), ("儿童", "儿同"),
    ("喇叭", "喇吧"), ("换", "唤"), ("底盘", "底盆"), ("扭矩", "扭距"), ("拖车", "托车"),
)  # fmt: skip
ENGLISH = (
    ("怎么关", "怎么turn off"), ("怎么开", "怎么open"), ("打开", "open"), ("设置", "setting"), ("座椅", "seat"),
    ("空调", "AC"), ("蓝牙", "bluetooth"), ("轮胎", "tire"), ("后备箱", "trunk"), ("钥匙", "key"),
    ("充电", "charge"), ("模式", "mode"), ("多少", "how many"), ("电池", "battery"), ("升级", "update"),
    ("屏幕", "screen"), ("怎么", "how to"), ("配置", "config"), ("机油", "engine oil"), ("质保", "warranty"),
    ("功率", "power"), ("在哪", "where"),
)  # fmt: skip


def core(intent: Intent, truth: Truth, late: bool, rng: random.Random) -> str:
    """An intent as somebody would ask it on a good day. late: the wordings of the second half are in use."""
    wordings = intent.fact.log
    early, new = wordings[:-2], wordings[-2:]
    template = rng.choice(new if late and rng.random() < 0.45 else early)
    car = intent.car
    if car is None:
        # nobody named: any car's slots do, since wordings show a slot only to name a symptom
        key = next(k for k in truth.manual.slots if k[0] == intent.topic.key)
        return _tidy(template.format_map({**truth.manual.slots[key], "car": ""}))
    slots = dict(truth.manual.slots.get((intent.topic.key, place(car)), {}))
    return _tidy(fill(template, car, slots | {"car": _called(car, intent, rng)}))


def _called(car: Car, intent: Intent, rng: random.Random) -> str:
    model = car.model
    name = rng.choices((*model.nicknames, "云岭" + model.code), weights=(25, 35, 16, 10, 6))[0]
    if car.trim == ALL_TRIMS:
        # owners often say which version they drive even where it makes no difference
        if intent.topic.scope == "model" and rng.random() < 0.12:
            return name + rng.choice(model.trims)
        return name
    short = car.trim.removesuffix("版")
    options = [car.trim, short, f" {car.trim}", f"（{short}）"]
    if car.trim == model.trims[-1] and intent.topic.trims == "every":
        options.append("顶配")
    elif car.trim == model.trims[0] and len(model.trims) > 1:
        options.append("低配")
    return name + rng.choice(options)


def _tidy(text: str) -> str:
    return " ".join(text.split()).strip("，, ")


def slip(text: str, rng: random.Random) -> str:
    """One typing error: a homophone where the text offers one, else a character lost or doubled."""
    possible = [(right, wrong) for right, wrong in HOMOPHONES if right in text]
    if possible and rng.random() < 0.7:
        right, wrong = rng.choice(possible)
        return text.replace(right, wrong, 1)
    places = [i for i, letter in enumerate(text) if ord(letter) > 0x2E7F]
    if len(places) < 4:
        return text
    at = rng.choice(places)
    return text[:at] + text[at + 1 :] if rng.random() < 0.5 else text[: at + 1] + text[at:]


def anglicise(text: str, rng: random.Random) -> str:
    """One word said in English, where the text has one that people do say so."""
    possible = [(own, foreign) for own, foreign in ENGLISH if own in text]
    if not possible:
        return text
    own, foreign = rng.choice(possible)
    return text.replace(own, foreign, 1)


def widen(text: str) -> str:
    """ASCII as full-width characters, as some input methods leave it."""
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in text)


def decorate(text: str, rng: random.Random) -> str:
    """The same question as it arrives: with openings, closings, slips, English, emoji, odd width and spacing."""
    if rng.random() < 0.12:
        text = slip(text, rng)
    if rng.random() < 0.05:
        text = anglicise(text, rng)
    if rng.random() < 0.18:
        text = rng.choice(OPENINGS) + text
    if rng.random() < 0.28:
        text = text + rng.choice(CLOSINGS)
    if rng.random() < 0.05:
        text = text + rng.choice(EMOJI) * rng.choice((1, 1, 2, 3))
    if rng.random() < 0.03:
        text = widen(text)
    if rng.random() < 0.03:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice((" ", "  ", "\u3000", "\n")) + text[at:]
    return text
