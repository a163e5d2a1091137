"""What counts as the same answer: a table of cases, each a decision."""

import pytest

from rerankops.evaluation.normalise import contains, normalise

SAME = [
    # width, case, punctuation, spaces, articles, accents
    ("容积为４５０Ｌ。", "450L"),
    ("the ESP button", "esp Button"),
    ("It was The Beatles, in London", "beatles"),
    ("Beyoncé Knowles", "Beyonce"),
    ("Grey’s Anatomy", "greys anatomy"),
    ("the U.S. Senate", "US Senate"),
    ("长按 ESP OFF 键，三秒", "长按ESP OFF键"),
    ("《星辰》（第二版）", "星辰"),
    ("left-hand side", "left hand side"),
    # numbers
    ("约 4.50 升", "4.5"),
    ("行驶10,000公里后", "10000公里"),
    ("行驶 10 000 km 后", "10000 km"),
    ("each 1,234,567 people", "1234567"),
    ("twenty-five people", "25"),
    ("it has seven seats", "7 seats"),
    # units of one kind
    ("机油容量为4.5升", "4.5L"),
    ("机油容量为4.5 L", "4.5公升"),
    ("机油 4500毫升", "4.5L"),
    ("保养间隔1.5万公里", "15000 km"),
    ("续航 520公里", "520千米"),
    ("离地间隙 180 mm", "180毫米"),
    ("离地间隙 18 厘米", "180mm"),
    ("胎压 250 kPa", "250千帕"),
    ("胎压为 2.5 bar（冷态）", "250 kPa"),
    ("最大功率110千瓦", "110kW"),
    ("拧紧力矩 120 N·m", "120牛·米"),
    ("拧紧力矩 120 Nm", "120 牛米"),
    ("低于零下30摄氏度", "-30℃"),
    ("温度达到 25 ℃ 时", "25度"),
    ("充电 8 小时", "8h"),
    ("充电半小时即可", "30分钟"),
    ("等待两分钟", "2 min"),
    ("最高 180 km/h", "180公里/小时"),
    ("占百分之五", "5%"),
    ("about 12 percent of it", "12%"),
    ("整备质量 1.6 吨", "1600kg"),
    # Chinese numerals
    ("需要四点五升机油", "4.5L"),
    ("一百二十公里", "120km"),
    ("每两万公里更换", "20000公里"),
    ("每两万五公里", "25000公里"),
    ("二〇一〇年发布", "2010年"),
    ("重五千克", "5kg"),
    ("五千米之外", "5km"),
    ("充电需要三个半小时", "3.5小时"),
    ("质保三年半", "3.5年"),
    ("每半年一次", "6个月"),
    ("第三代车型", "第3代"),
    ("共有七座", "7座"),
    ("价格为¥12万", "120000"),
    # written one way only
    ("请使用 0W-20 机油", "0W20"),
    ("0W-16全合成机油", "0W-16"),
    ("常规保养6000km一次", "6000km"),
    ("规格为235/45 R18", "235/45R18"),
    ("轮胎 225/55 R18", "225/55R18"),
]

DIFFERENT = [
    ("机油容量为14.5L", "4.5L"),
    ("机油容量为4.55L", "4.5L"),
    ("共15个", "5"),
    ("共5.5个", "5"),
    ("车型 X5", "5"),
    ("1905 in London", "05 in London and"),
    ("the carpet", "car"),
    ("category", "cat"),
    ("4.5 kg", "4.5L"),
    ("120 kPa", "120 kW"),
    ("25℃", "-25℃"),
    ("−30℃", "30℃"),
    ("容量为4.5", "4.5L"),
    ("一般情况下统一处理", "1"),
    ("十分重要", "10"),
    ("10,000公里", "000公里"),
    ("2.2~2.5bar", "2.2bar"),
    ("", "5"),
    ("anything", ""),
    ("anything", "the"),
    ("什么都行", "。"),
    ("225/55R18", "55"),
    ("May 2010", "10"),
]


@pytest.mark.parametrize(("answer", "accepted"), SAME)
def test_an_answer_that_says_the_same_is_right(answer: str, accepted: str) -> None:
    assert contains(answer, [accepted]), (normalise(answer), normalise(accepted))


@pytest.mark.parametrize(("answer", "accepted"), DIFFERENT)
def test_an_answer_that_says_something_else_is_wrong(answer: str, accepted: str) -> None:
    assert not contains(answer, [accepted]), (normalise(answer), normalise(accepted))


@pytest.mark.parametrize("text", [text for pair in SAME for text in pair if text])
def test_every_text_contains_itself(text: str) -> None:
    assert contains(text, [text])
    assert contains(f"前面，{text}。后面", [text]) or text[-1].isascii()


def test_any_accepted_answer_is_enough() -> None:
    assert contains("容积450升", ["500L", "450L"])
    assert not contains("容积450升", [])


@pytest.mark.parametrize(
    "text",
    [
        "点",
        "万",
        "千百万",
        "亿亿",
        "零",
        "半",
        "一" * 400,
        "9" * 400,
        "%",
        "-",
        "1.",
        ".5",
        "\u0000",
        "😀5",
        "五点",
        "百分之",
    ],
)
def test_odd_texts_are_normalised_without_an_error(text: str) -> None:
    assert isinstance(normalise(text), str)
    assert contains(text, [text]) or not normalise(text)
