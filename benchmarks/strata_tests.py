"""Which test notices a loss in one stratum best while it rarely refuses a ranker that is as good everywhere?

    python benchmarks/strata_tests.py [--runs 20000]

Right-or-wrong outcomes are drawn for each stratum; on a share of the questions one ranker alone is right, either as
often. "equal": how often any stratum of an equal ranker is called worse, which is to be at most .10. "noticed": how
often a stratum that loses ten points is called worse while the others gain three. Compared: Holm's correction over
exact and mid-p McNemar tests; Šidák's over z-tests whose variance is the stratum's own, pooled, or drawn towards the
pooled one (empirical Bayes); and differences shrunk by DerSimonian and Laird's estimate of their spread, with a
critical value that makes "equal" .10 in each case.
Results go to benchmarks/results/strata_tests.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import special, stats

ALPHA, LOSS, GAIN = 0.10, 0.10, 0.03
CASES: list[tuple[list[int], list[float]]] = [
    ([100] * 3, [0.05] * 3),
    ([100] * 3, [0.12] * 3),
    ([240, 200, 160], [0.08] * 3),
    ([240, 200, 160], [0.04, 0.08, 0.16]),
    ([100] * 3, [0.02, 0.02, 0.2]),
    ([100] * 8, [0.05] * 8),
    ([100] * 8, [0.02, 0.02, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2]),
    ([30, 150, 150, 150], [0.2, 0.05, 0.05, 0.05]),
]
Array = np.ndarray


def draw(rng: np.random.Generator, runs: int, n: Array, won: Array, lost: Array) -> Array:
    """(runs, strata, 2): questions won and lost."""
    each = [
        rng.multinomial(size, [w, loss, 1 - w - loss], size=runs)[:, :2]
        for size, w, loss in zip(n, won, lost, strict=True)
    ]
    return np.stack(each, 1)


def mcnemar(x: Array, half: float) -> Array:
    wins, of = x[..., 0], x.sum(-1)
    p: Array = stats.binom.cdf(wins, of, 0.5) - half * stats.binom.pmf(wins, of, 0.5)
    return p


def stepped(p: Array, adjust: Callable[[Array, Array], Array]) -> Array:
    """Which strata a step-down procedure calls worse."""
    order = np.argsort(p, 1)
    left = p.shape[1] - np.arange(p.shape[1])
    rejected = np.logical_and.accumulate(adjust(np.take_along_axis(p, order, 1), left) <= ALPHA, 1)
    found = np.zeros_like(rejected)
    np.put_along_axis(found, order, rejected, 1)
    return found


def holm(p: Array) -> Array:
    return stepped(p, lambda sorted_, left: sorted_ * left)


def sidak(p: Array) -> Array:
    return stepped(p, lambda sorted_, left: 1 - (1 - sorted_) ** left)


def variances(x: Array, n: Array, kind: str) -> Array:
    """Of the mean differences when nothing is lost."""
    discordant = x.sum(-1)
    pooled = ((discordant.sum(1) + 2) / (n.sum() + 2))[:, None]
    if kind == "own":
        return (discordant + 2) / (n + 2) / n
    if kind == "pooled":
        return pooled / n
    beyond = (n * (discordant / n - pooled) ** 2).sum(1) / (pooled * (1 - pooled))[:, 0] - (len(n) - 1)
    alike = np.clip(beyond / (n.sum() - (n**2).sum() / n.sum()), 1e-9, 1)[:, None]
    weight = (1 - alike) / alike
    return np.maximum((discordant + weight * pooled) / (n + weight), 1e-9) / n


def z(x: Array, n: Array, kind: str) -> Array:
    return (x[..., 0] - x[..., 1]) / n / np.sqrt(variances(x, n, kind))


def shrunk(x: Array, n: Array) -> Array:
    """Posterior mean over its standard deviation, a stratum."""
    found, variance = (x[..., 0] - x[..., 1]) / n, variances(x, n, "pooled")
    weight = 1 / variance
    middle = (weight * found).sum(1) / weight.sum(1)
    spread = (weight * (found - middle[:, None]) ** 2).sum(1) - (len(n) - 1)
    between = np.maximum(0, spread / (weight.sum(1) - (weight**2).sum(1) / weight.sum(1)))[:, None]
    weight = 1 / (variance + between)
    middle = ((weight * found).sum(1) / weight.sum(1))[:, None]
    own = between / (between + variance)
    return (middle + own * (found - middle)) / np.sqrt(own * variance + (1 - own) ** 2 / weight.sum(1)[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(5)
    lines = ["# Tests for a loss in a stratum", "", f"By benchmarks/strata_tests.py, {runs:,} draws a case.", ""]
    lines += ["| questions | share discordant | loses | test | equal | noticed |", "|---|---|---|---|---|---|"]
    for sizes, shares in CASES:
        n, share = np.asarray(sizes), np.asarray(shares)
        worst = int(np.argmax(share))
        gain, loss = np.full(n.size, GAIN), np.zeros(n.size)
        gain[worst], loss[worst] = 0, LOSS
        equal = draw(rng, runs, n, share / 2, share / 2)
        harmed = draw(rng, runs, n, share / 2 + gain, share / 2 + loss)
        critical = np.quantile(shrunk(equal, n).min(1), ALPHA)
        tests: dict[str, Callable[[Array], Array]] = {
            "Holm, exact McNemar": lambda x: holm(mcnemar(x, 0.0)),
            "Holm, mid-p McNemar (the gate's)": lambda x: holm(mcnemar(x, 0.5)),
            **{
                f"Šidák, z with {kind} variance": lambda x, kind=kind, n=n: sidak(special.ndtr(z(x, n, kind)))
                for kind in ("own", "pooled", "empirical Bayes")
            },
            "shrunk differences, calibrated": lambda x, n=n, critical=critical: shrunk(x, n) <= critical,
        }
        for name, test in tests.items():
            refused, noticed = test(equal).any(1).mean(), test(harmed)[:, worst].mean()
            over = " **over**" if refused > ALPHA + 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5 else ""
            lines.append(
                f"| {' '.join(map(str, sizes))} | {' '.join(f'{s:g}' for s in shares)} | {worst + 1} | {name} "
                f"| {refused:.3f}{over} | {noticed:.3f} |"
            )
    (Path(__file__).resolve().parent / "results" / "strata_tests.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
