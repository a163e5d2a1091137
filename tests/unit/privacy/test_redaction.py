"""What is personal goes, what a car owner asks stays. Every datum here is invented."""

from __future__ import annotations

import random
import unicodedata

import polars as pl
import pytest

from rerankops.config import load
from rerankops.demo.personal import MAKERS, plant
from rerankops.errors import SettingsError
from rerankops.privacy import PLACEHOLDER, redact
from rerankops.privacy.kinds import KINDS, WITHHELD, placeholder
from rerankops.queries.normalise import identify

MOBILE = [
    ("13812345678", "[PHONE]"),
    ("138 1234 5678", "[PHONE]"),
    ("138-1234-5678", "[PHONE]"),
    ("138.1234.5678", "[PHONE]"),
    ("138–1234–5678", "[PHONE]"),
    ("138 123 45678", "[PHONE]"),
    ("138 12345678", "[PHONE]"),
    ("1 3 8 1 2 3 4 5 6 7 8", "[PHONE]"),
    ("１３８１２３４５６７８", "[PHONE]"),
    ("１３８－１２３４－５６７８", "[PHONE]"),
    ("138\u200b1234\u200b5678", "[PHONE]"),
    ("+8613812345678", "[PHONE]"),
    ("+86 138 1234 5678", "[PHONE]"),
    ("（＋86）13812345678", "[PHONE]"),
    ("0086 138 1234 5678", "[PHONE]"),
    ("86-13812345678", "[PHONE]"),
    ("19812345678", "[PHONE]"),
    ("16612345678", "[PHONE]"),
    ("tel13812345678", "tel[PHONE]"),
    ("我的电话13812345678谢谢", "我的电话[PHONE]谢谢"),
    ("手机号是13812345678,请回电", "手机号是[PHONE],请回电"),
    ("13812345678和13987654321都可以", "[PHONE]和[PHONE]都可以"),
    ("13812345678 13987654321", "[PHONE] [PHONE]"),
    ("call 138-1234-5678 please", "call [PHONE] please"),
    ("+1 415 555 2671", "[PHONE]"),
    ("+852 9123 4567", "[PHONE]"),
    ("+44 20 7946 0958", "[PHONE]"),
    ("139 0013 8000转告", "[PHONE]转告"),
    ("+44 (0)20 7183 8750", "[PHONE]"),
    ("tel:+1-202-555-0172", "tel:[PHONE]"),
]
LANDLINE = [
    ("010-62345678", "[PHONE]"),
    ("021 62345678", "[PHONE]"),
    ("(021)62345678", "[PHONE]"),
    ("（０２１）６２３４５６７８", "[PHONE]"),
    ("0755-26501234", "[PHONE]"),
    ("075526501234", "[PHONE]"),
    ("0571 8765 4321", "[PHONE]"),
    ("0571-87654321-801", "[PHONE]"),
    ("010-62345678转801找我", "[PHONE]找我"),
    ("+86 10 6234 5678", "[PHONE]"),
    ("座机:62345678", "座机:[PHONE]"),
    ("400-810-0000", "[PHONE]"),
    ("4008100000", "[PHONE]"),
    ("400 810 0000", "[PHONE]"),
    ("400-8100-000", "[PHONE]"),
    ("800-810-0000", "[PHONE]"),
]
IDENTITY = [
    ("11010519900307123X", "[ID]"),
    ("11010519900307123x", "[ID]"),
    ("110105199003071234", "[ID]"),
    ("身份证110105 19900307 1234", "身份证[ID]"),
    ("身份证号１１０１０５１９９００３０７１２３４，麻烦查下", "身份证号[ID],麻烦查下"),
    ("sfz110105199003071234", "sfz[ID]"),
]
VIN = [
    ("LSVAU2180N2183294", "[VIN]"),
    ("lsvau2180n2183294", "[VIN]"),
    ("ＬＳＶＡＵ２１８０Ｎ２１８３２９４", "[VIN]"),
    ("VIN码是LSVAU2180N2183294吗", "VIN码是[VIN]吗"),
    ("vinLSVAU2180N2183294", "vin[VIN]"),
    ("车架号LFV3A23C5J3012345在哪", "车架号[VIN]在哪"),
]
PLATE = [
    ("京A12345", "[PLATE]"),
    ("京Ａ１２３４５", "[PLATE]"),
    ("京a12345", "[PLATE]"),
    ("京A·12345", "[PLATE]"),
    ("沪B 12345", "[PLATE]"),
    ("冀A-12345", "[PLATE]"),
    ("浙A1B234", "[PLATE]"),
    ("新A12345", "[PLATE]"),
    ("粤B12345D", "[PLATE]"),
    ("粤BD12345", "[PLATE]"),
    ("沪A D12345", "[PLATE]"),
    ("京AF12345", "[PLATE]"),
    ("苏EDA1234", "[PLATE]"),
    ("粤Z1234港", "[PLATE]"),
    ("苏E1234学", "[PLATE]"),
    ("我的车牌是沪A12345能查违章吗", "我的车牌是[PLATE]能查违章吗"),
]
EMAIL = [
    ("zhang.san@example.com", "[EMAIL]"),
    ("我邮箱zhang_san@163.com.cn", "我邮箱[EMAIL]"),
    ("ZHANG+car@mail.example.co.uk请回复", "[EMAIL]请回复"),
    ("zhang．san＠qq．com", "[EMAIL]"),
    ("联系 zhangsan @ qq.com", "联系 [EMAIL]"),
    ("a@b.co for details", "[EMAIL] for details"),
    ("user_email=bob@x.org", "user_email=[EMAIL]"),
]
ACCOUNT = [
    ("微信号zhangsan123", "微信号[ACCOUNT]"),
    ("加我qq 123456789", "加我qq [ACCOUNT]"),
    ("WeChat: zhang_san88", "WeChat: [ACCOUNT]"),
]
NAME = [
    ("我叫王小明", "我叫[NAME]"),
    ("我叫王小明，怎么开ESP", "我叫[NAME],怎么开ESP"),
    ("我叫张三怎么保养", "我叫[NAME]怎么保养"),
    ("我叫王明轩你好", "我叫[NAME]你好"),
    ("我叫欧阳娜娜", "我叫[NAME]"),
    ("我叫邢丽丽，想问保养", "我叫[NAME],想问保养"),
    ("我叫单小雨，想问保养", "我叫[NAME],想问保养"),
    ("你好，我是李强，请问胎压多少", "你好,我是[NAME],请问胎压多少"),
    ("我的名字是刘洋。", "我的名字是[NAME]。"),
    ("本人周杰,想预约保养", "本人[NAME],想预约保养"),
    ("姓名:赵丽", "姓名:[NAME]"),
    ("收件人：麦小雨", "收件人:[NAME]"),
    ("联系人：陈大文 电话13900001111", "联系人:[NAME] 电话[PHONE]"),
    ("联系人王伟电话010-62345678", "联系人[NAME]电话[PHONE]"),
    ("车主是欧阳锋，想问保养", "车主是[NAME],想问保养"),
    ("王先生问胎压", "[NAME]先生问胎压"),
    ("李女士的车怎么启动", "[NAME]女士的车怎么启动"),
    ("张师傅说机油要换", "[NAME]师傅说机油要换"),
    ("司马先生想问", "[NAME]先生想问"),
    ("王小明先生来电", "[NAME]先生来电"),
    ("我是李经理，胎压多少", "我是[NAME],胎压多少"),
    ("my name is John Smith", "my name is [NAME]"),
    ("My name's John Smith and I drive", "My name's [NAME] and I drive"),
    ("my name is john smith", "my name is [NAME]"),
    ("This is Mr. Brown speaking", "This is [NAME] speaking"),
    ("I am Jane Doe, how do I open the hood", "I am [NAME], how do I open the hood"),
    ("i'm Peter", "i'm [NAME]"),
    ("I’m Peter from Leeds", "I’m [NAME] from Leeds"),
]
PERSONAL = [*MOBILE, *LANDLINE, *IDENTITY, *VIN, *PLATE, *EMAIL, *ACCOUNT, *NAME]
HARMLESS = [
    "我是高配版怎么开座椅加热",
    "我是金色版",
    "我是白色车,怎么洗",
    "我是马自达,怎么保养",
    "我是高尔夫，怎么保养",
    "我是江淮车主",
    "我是新手怎么泊车",
    "我是第一次开,怎么启动",
    "我是2023款高配",
    "我叫不出这个功能的名字",
    "我叫了救援,还要等多久",
    "车主手册在哪",
    "车主是谁能改吗",
    "联系人怎么同步",
    "姓名怎么显示在中控",
    "本人新车,多久首保",
    "高速太太快了",
    "万能的老师傅说要热车",
    "轮胎235/55 R18",
    "245/45R19",
    "215/60R16 95V",
    "机油0W-20",
    "机油 5W-40 504 00 507 00",
    "2024款",
    "2019 2020 2021 2022款对比",
    "100公里油耗",
    "0-100km/h加速",
    "5000公里保养",
    "保养间隔10000公里/12个月",
    "20000-30000公里",
    "15000-200000公里",
    "100 000 - 120 000 km",
    "20000 30000 公里",
    "1000-1500-2000 rpm",
    "功率150kW/5500rpm",
    "310N·m@1500rpm",
    "充电 380V 250A 120kW",
    "ESP",
    "P0420故障码",
    "P0171 P0174",
    "X5和X7",
    "新A6L 2024款",
    "新BMW320怎么样",
    "新GLC260和GLE350",
    "苏A和苏B",
    "黑A柱有异响",
    "零件号 06A115561B",
    "G 052 167 A2",
    "235 55 18 245",
    "轮毂5x112 ET45",
    "2024年1月1日首保",
    "20240101",
    "2021/12/31-2022/12/31",
    "internationalised",
    "counterproductive",
    "systemheatedseats",
    "QQ音乐怎么登录",
    "微信怎么投屏",
    "蓝牙电话最多存多少人",
    "I am driving at 120 km/h",
    "I'm Ready",
    "This is My car",
    "This is Apple CarPlay",
    "This is how ABS works",
    "I am Hybrid owner",
    "my name is not shown in the app",
    "created at 1755302400",
    "2024-01-15 12 hours",
    "Tue 02 20:17:00 CST 2026",
    "hosted-eu-20260812-09",
    "build 2024 1130 0917",
    "250 300 1000 ms",
    "grew by +100 000 000 last year",
    "bump to version 1.2.3.4",
    "550e8400-e29b-41d4-a716-446655440000 error",
    "ratio 0.13812345678",
    "apiKey: YOUR_API_KEY_HERE",
    "power at [email address]",
    "GPS 31.230416, 121.473701",
    "条码6901234567892",
]


NOT_QUERIES = "more than 400 of what may be personal data"


def one(text: str) -> tuple[str, int]:
    text, count, doubt = redact(pl.Series([text]), region="CN").row(0)
    assert doubt is None
    return unicodedata.normalize("NFKC", text), count


@pytest.mark.parametrize(("text", "expected"), PERSONAL, ids=[text for text, _ in PERSONAL])
def test_personal_data_are_replaced_by_what_stood_there(text: str, expected: str) -> None:
    assert one(text) == (expected, expected.count("["))


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_query_stays_as_it_is(text: str) -> None:
    assert redact(pl.Series([text]), region="CN").row(0) == (text, 0, None)


def test_the_tables_are_as_long_as_promised() -> None:
    assert len(PERSONAL) >= 60
    assert len(HARMLESS) >= 25
    assert all(len(word) == 17 for word in ("internationalised", "counterproductive", "systemheatedseats"))


def test_rows_keep_their_order_and_their_counts() -> None:
    table = redact(pl.Series([text for text, _ in PERSONAL] + HARMLESS), region="CN")
    found = [unicodedata.normalize("NFKC", text) for text in table["text"]]
    assert found[: len(PERSONAL)] == [text for _, text in PERSONAL]
    assert table["text"].to_list()[len(PERSONAL) :] == HARMLESS
    assert table.schema == {"text": pl.String, "redactions": pl.Int32, "doubt": pl.String}
    assert table["redactions"].sum() == sum(expected.count("[") for _, expected in PERSONAL)


def test_what_is_said_beside_personal_data_keeps_its_spelling() -> None:
    given = "ＥＳＰ怎么开？　电话１３８\u200b１２３４\u200b５６７８\u0301，谢谢！①"
    assert redact(pl.Series([given]), region="CN")["text"][0] == "ＥＳＰ怎么开？　电话[PHONE]，谢谢！①"


def test_a_text_is_redacted_alike_alone_and_among_others() -> None:
    texts = [text for text, _ in PERSONAL]
    together = redact(pl.Series(texts), region="CN")["text"].to_list()
    assert [redact(pl.Series([text]), region="CN")["text"][0] for text in texts] == together


def test_redacting_twice_changes_nothing() -> None:
    once = redact(pl.Series([text for text, _ in PERSONAL]), region="CN")
    twice = redact(once["text"], region="CN")
    assert twice["text"].to_list() == once["text"].to_list()
    assert twice["redactions"].sum() == 0


def test_personal_data_beside_one_another_all_go() -> None:
    text = (
        "我叫王小明，手机13812345678，车牌京A12345，VIN LSVAU2180N2183294，邮箱a@example.com，身份证11010519900307123X"
    )
    assert one(text) == ("我叫[NAME],手机[PHONE],车牌[PLATE],VIN [VIN],邮箱[EMAIL],身份证[ID]", 6)


def test_nothing_planted_by_the_demo_is_left() -> None:
    rng = random.Random(7)
    planted = [plant(rng.choice(["胎压多少", "如何开启ESP", "机油0W-20多少升"]), rng) for _ in range(3000)]
    found = redact(pl.Series([text for text, _ in planted]), region="CN")
    left = [
        (kind, value, after)
        for (_, data), (after, count, _doubt) in zip(planted, found.iter_rows(), strict=True)
        for kind, value in data
        if value in after or count < len(data)
    ]
    assert left == []
    assert {kind for _, data in planted for kind, _ in data} == set(MAKERS)


def test_no_placeholder_is_seen_by_near_duplicates() -> None:
    written = pl.Series([placeholder(kind) for kind in (*KINDS, WITHHELD)])
    assert written.str.contains(f"^{PLACEHOLDER}$").all()
    settings = load(environ={}).queries
    told = identify(written + "胎压多少", settings)["normal"]
    assert set(told) == {"胎压多少"}


def test_empty_and_null_texts_pass() -> None:
    assert redact(pl.Series([], dtype=pl.String), region="CN").rows() == []
    assert redact(pl.Series(["", None]), region="CN").rows() == [("", 0, None), (None, 0, None)]


def test_an_unknown_region_is_refused_by_setting() -> None:
    with pytest.raises(SettingsError, match=r"queries\.phone_region is 'ZZ', expected a region of ISO 3166"):
        redact(pl.Series(["a"]), region="ZZ")


def test_numbers_without_a_country_code_belong_to_the_region() -> None:
    assert redact(pl.Series(["call (415) 555-2671"]), region="US").row(0) == ("call [PHONE]", 1, None)
    assert redact(pl.Series(["Tel. 030 901820"]), region="DE").row(0) == ("Tel. [PHONE]", 1, None)


def test_names_and_addresses_stay_when_their_recogniser_is_off() -> None:
    text = "我叫王小明，住文三路138号，电话13812345678"
    assert redact(pl.Series([text]), region="CN", names="off")["text"][0] == "我叫王小明，住文三路138号，电话[PHONE]"
    assert redact(pl.Series([text]), region="CN")["text"][0] == "我叫[NAME]，住[ADDRESS]，电话[PHONE]"


def test_what_a_recogniser_of_ones_own_finds_goes_as_well() -> None:
    def finds_oslo(texts: list[str]) -> list[list[tuple[int, int, str]]]:
        return [[(text.find("Oslo"), text.find("Oslo") + 4, "ADDRESS")] if "Oslo" in text else [] for text in texts]

    texts = pl.Series(["刹车异响", "winter tyres in Oslo 13812345678"])
    found = redact(texts, region="CN", names=finds_oslo)
    assert found["text"].to_list() == ["刹车异响", "winter tyres in [ADDRESS] [PHONE]"]


def test_a_name_that_stands_again_goes_again() -> None:
    assert one("我叫覃小芳，覃小芳的车怎么解绑")[0] == "我叫[NAME],[NAME]的车怎么解绑"


def test_a_long_number_that_nothing_explains_is_in_doubt_and_masked() -> None:
    assert redact(pl.Series(["884402771935016怎么查"]), region="CN").row(0) == (
        "[NUMBER]怎么查", 1, "a long number that may be a person's"
    )  # fmt: skip


def test_a_text_full_of_personal_data_is_withheld_and_the_next_is_not() -> None:
    crowded = "13812345678，" * 1000
    found = redact(pl.Series([crowded, "胎压多少"]), region="CN")
    assert found["text"].to_list() == ["[WITHHELD]", "胎压多少"]
    assert found["doubt"].to_list() == [NOT_QUERIES, None]


@pytest.mark.timeout(60)  # a second or two each; what backtracks takes hours
@pytest.mark.parametrize(
    "hostile",
    [
        "a" * 200_000 + "@", "1 " * 50_000, "京A" * 50_000, "我叫王" * 50_000, "0" * 200_000, "O0" * 100_000,
        "a:" * 100_000, "密码" * 100_000, "1 rue de la " * 20_000, "😀" * 200_000, "13" * 100_000, "A1B2-" * 40_000,
    ],
)  # fmt: skip
def test_a_hostile_text_does_not_hold_up_the_others(hostile: str) -> None:
    found = redact(pl.Series([hostile, "电话13812345678"]), region="CN")
    assert found["text"][1] == "电话[PHONE]"
