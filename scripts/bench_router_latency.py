"""
Measures what one decision costs: CPU time by prompt length, and memory.

    make bench-router-latency

Processor time, not the clock's: what other processes do to this machine is not the router's.
"""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

ROUNDS = 1_500
WARM = 300
LENGTHS = (25, 60, 250)  # words
MODELS = 6
OUTCOMES = 600  # that the measured router has learned from
SENTENCE = (
    "If the parser fails while reading 12 records, explain why it must not retry, compare two"
    " strategies, and write a Python function that keeps the total below 250 without a database."
)


def main() -> None:
    gc.collect()
    before = _rss_mib()
    decide = _router()
    print(f"{'words':>6} {'p50 µs':>8} {'p99 µs':>8}   hybrid, {MODELS} models")
    for words in LENGTHS:
        p50, p99 = _measure(decide, words)
        print(f"{words:>6} {p50:>8.0f} {p99:>8.0f}")
    print(f"memory: + {_rss_mib() - before:.0f} MiB, numpy and all")


def _measure(decide: Callable[[str], object], words: int) -> tuple[float, float]:
    text = f"{SENTENCE} " * (words // 20 + 1)
    prompt = " ".join(text.split()[: words - 1])
    taken = []
    for turn in range(ROUNDS + WARM):
        begun = time.process_time_ns()
        decide(f"{prompt} {turn}")
        taken.append((time.process_time_ns() - begun) / 1_000)
    cuts = statistics.quantiles(taken[WARM:], n=100)
    return cuts[49], cuts[98]


def _router() -> Callable[[str], object]:
    """Import and fill a router only now, so that its memory is seen."""
    from common.ids import new_id  # noqa: PLC0415
    from services.router.domain.beliefs import Beliefs  # noqa: PLC0415
    from services.router.domain.catalog import Catalog, Model, Price, Provider  # noqa: PLC0415
    from services.router.domain.complexity import complexity_of  # noqa: PLC0415
    from services.router.domain.learning import NO_EVIDENCE, Evidence  # noqa: PLC0415
    from services.router.domain.request import Ask, StrategyChoice  # noqa: PLC0415
    from services.router.domain.strategies import Strategies  # noqa: PLC0415
    from services.router.domain.vector import vector_of  # noqa: PLC0415

    tiers: Sequence[str] = ("simple", "simple", "moderate", "moderate", "complex", "complex")
    models = {
        f"bench/{n}": Model(
            name=f"bench/{n}",
            provider="bench",
            upstream=str(n),
            tier=tier,  # type: ignore[arg-type]
            capability=0.5 + 0.08 * n,
            context_tokens=128_000,
            capabilities=frozenset({"tools", "streaming"}),
            price=Price(10**8 * 2**n, 10**7 * 2**n, 4 * 10**8 * 2**n, version=1),
        )
        for n, tier in enumerate(tiers[:MODELS])
    }
    evidence: dict[str, Evidence] = {}
    for n, name in enumerate(models):
        one = NO_EVIDENCE
        for turn in range(OUTCOMES // MODELS):
            phi = vector_of(complexity_of(SENTENCE * (1 + turn % 4)))
            one = one.learn(phi, float((turn + n) % 3 > 0))
        evidence[name] = one
    beliefs = Beliefs(evidence=evidence, lengths=evidence["bench/0"])
    provider = Provider("bench", "openai", "https://bench.example/v1")
    catalog = Catalog({"bench": provider}, models)
    strategies = Strategies(lambda: catalog, lambda: beliefs)

    def decide(prompt: str) -> object:
        body = {"messages": [{"role": "user", "content": prompt}]}
        ask = Ask(new_id(), "", None, None, StrategyChoice("hybrid"), body)
        return strategies.get(ask.strategy).decide(ask, catalog)

    return decide


def _rss_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
