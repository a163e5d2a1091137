"""The fictional maker 云岭汽车 and its cars. Every name is invented; none is meant to resemble a car that is sold.

Two pairs of models carry near-identical names (峦途G52/G32, 星禾N61/N21): telling them apart is part of the task.
"""

from __future__ import annotations

from dataclasses import dataclass

BRAND = "云岭"
ALL_TRIMS = "all"


@dataclass(frozen=True)
class Model:
    """A model and its trims, cheapest first. size: 0 is the smallest car; drive: fuel, hybrid or electric."""

    key: str
    series: str
    code: str
    body: str
    drive: str
    size: int
    trims: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.series + self.code

    @property
    def nicknames(self) -> tuple[str, ...]:
        """How owners call it, the full name first."""
        return (self.name, self.code, self.code.lower(), self.series + self.code[1:])


@dataclass(frozen=True)
class Car:
    """What a passage is about: a model and one of its trims, or all of them."""

    model: Model
    trim: str

    @property
    def name(self) -> str:
        return self.model.name if self.trim == ALL_TRIMS else self.model.name + self.trim


MODELS: tuple[Model, ...] = (
    Model("g52", "峦途", "G52", "中型SUV", "fuel", 4, ("舒适版", "豪华版", "尊享版")),
    Model("n61", "星禾", "N61", "中型纯电SUV", "electric", 3, ("标准续航版", "长续航版", "四驱性能版")),
    Model("l72", "澄溪", "L72", "中大型轿车", "hybrid", 5, ("逸享版", "臻享版", "旗舰版")),
    Model("g32", "峦途", "G32", "紧凑型SUV", "fuel", 2, ("活力版", "智享版")),
    Model("v86", "栖月", "V86", "七座MPV", "hybrid", 7, ("家悦版", "商务版", "行政版")),
    Model("l50", "澄溪", "L50", "紧凑型轿车", "fuel", 1, ("标准版", "精英版", "运动版")),
    Model("r90", "朔原", "R90", "硬派越野车", "fuel", 6, ("穿越版", "探险版")),
    Model("n21", "星禾", "N21", "纯电小车", "electric", 0, ("轻享版", "悦享版")),
)
"""In an order in which the first four already hold every drive: the small world takes a prefix."""
