"""Personal data as people leave it in a search box. All of it is invented, and planted where it can be counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta

KINDS = ("mobile", "landline", "plate", "vin", "name", "email", "id_card")

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
GIVEN = (
    "建国", "秀英", "伟", "敏", "静", "丽娟", "志强", "磊", "洋", "艳", "勇", "军", "杰", "秀兰", "霞", "平",
    "刚", "桂英", "子涵", "浩然", "雨桐", "欣怡", "文博", "海燕", "晓东", "国栋", "丽华", "俊杰", "雪梅",
    "思远", "春花", "一鸣",
)  # fmt: skip
TITLES = ("先生", "女士", "小姐", "师傅", "经理", "老师")
PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
PROVINCES = "云贵川渝京沪粤浙苏鲁豫鄂湘桂"
VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
VIN_VALUES = {
    c: v for v, letters in enumerate(("", "AJ", "BKS", "CLT", "DMU", "ENV", "FW", "GPX", "HY", "RZ")) for c in letters
}
VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def _digits(count: int, rng: random.Random) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def mobile(rng: random.Random) -> str:
    start = rng.choice(("138", "139", "135", "150", "158", "177", "186", "188", "133", "199"))
    middle, last = _digits(4, rng), _digits(4, rng)
    return rng.choice(("{}{}{}", "{}{}{}", "{}{}{}", "{} {} {}", "{}-{}-{}", "+86 {}{}{}")).format(start, middle, last)


def landline(rng: random.Random) -> str:
    area = rng.choice(("0871", "028", "023", "0851", "010", "0755", "0872"))
    number = rng.choice("2356789") + _digits(6 if area == "0872" else 7, rng)
    return rng.choice(("{}-{}", "{}-{}", "({}){}", "{}{}")).format(area, number)


def plate(rng: random.Random) -> str:
    head = rng.choice(PROVINCES) + rng.choice("ABCDEFG")
    if rng.random() < 0.4:
        body = rng.choice("DF") + _digits(5, rng)
    else:
        body = "".join(rng.sample([*_digits(4, rng), rng.choice(PLATE_LETTERS)], 5))
    return head + rng.choice(("·", "", " ", ".")) + body


def vin(rng: random.Random) -> str:
    """Seventeen characters with a right check digit. LYZ stands for the fictional maker."""
    body = list("LYZ" + "".join(rng.choice(VIN_LETTERS + "0123456789") for _ in range(8)) + "0" + _digits(5, rng))
    body[8] = "0"
    value = sum(w * (int(c) if c.isdigit() else VIN_VALUES[c]) for c, w in zip(body, VIN_WEIGHTS, strict=True))
    body[8] = "0123456789X"[value % 11]
    text = "".join(body)
    return text.lower() if rng.random() < 0.15 else text


def name(rng: random.Random) -> str:
    surname = rng.choice(SURNAMES)
    if rng.random() < 0.5:
        return surname + rng.choice(TITLES)
    return surname + rng.choice(GIVEN) + (rng.choice(TITLES[:2]) if rng.random() < 0.2 else "")


def email(rng: random.Random) -> str:
    user = rng.choice(("wang", "lily", "chen.jie", "car_fan", "zhao", "hello", "yunling_user")) + _digits(3, rng)
    return f"{user}@{rng.choice(('example.com', 'mail.example.cn', 'example.org'))}"


def id_card(rng: random.Random) -> str:
    """Eighteen characters with a right check character; 530199 is no area that has been assigned."""
    born = date(1958, 1, 1) + timedelta(days=rng.randrange(17000))
    body = f"530199{born:%Y%m%d}{_digits(3, rng)}"
    check = "10X98765432"[sum(int(d) * w for d, w in zip(body, ID_WEIGHTS, strict=True)) % 11]
    return body + check


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "mobile": mobile,
    "landline": landline,
    "plate": plate,
    "vin": vin,
    "name": name,
    "email": email,
    "id_card": id_card,
}
SHARES = {"mobile": 30, "landline": 8, "plate": 22, "vin": 12, "name": 20, "email": 5, "id_card": 5}
FRAMES: dict[str, tuple[str, ...]] = {
    "mobile": ("{q}，电话{v}", "{q} 我手机{v}", "{q}，请回电{v}", "{v} {q}", "手机号{v}，{q}", "{q}加我微信{v}"),
    "landline": ("{q}，座机{v}", "{q} 打我办公室电话{v}", "{q}，单位电话{v}"),
    "plate": ("我的车牌{v}，{q}", "{v} {q}", "{q}，车牌号{v}", "{v}这台车，{q}"),
    "vin": ("VIN是{v}，{q}", "{q} 车架号{v}", "{v} {q}", "{q}，车架号：{v}"),
    "name": ("我是{v}，{q}", "我叫{v}，{q}", "{q}，联系人{v}", "{q}，车主{v}"),
    "email": ("{q}，发我邮箱{v}", "{q} {v}", "资料发到{v}，{q}"),
    "id_card": ("{q}，身份证{v}", "身份证号{v} {q}", "{q}，证件号码{v}"),
}


def plant(query: str, rng: random.Random) -> tuple[str, list[tuple[str, str]]]:
    """The query with personal data around it, and what was planted as (kind, value)."""
    planted: list[tuple[str, str]] = []
    for kind in rng.choices(list(SHARES), weights=list(SHARES.values()), k=2 if rng.random() < 0.2 else 1):
        if kind not in (seen for seen, _ in planted):
            value = MAKERS[kind](rng)
            query = rng.choice(FRAMES[kind]).format(q=query, v=value)
            planted.append((kind, value))
    return query, planted
