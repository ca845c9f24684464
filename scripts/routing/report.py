"""The measures as a page of the docs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.routing import arithmetic, many, online, pair
from scripts.routing.data import Table
from scripts.routing.measures import Measured
from scripts.routing.replay import LOOK, PRESET, SHIFTED_TO
from scripts.routing.split import HELD_OUT


@dataclass(frozen=True)
class Measures:
    two: Table
    nine: Table
    held_out: Sequence[pair.Row]
    left_out: Sequence[pair.Row]
    many: tuple[Sequence[many.Row], Sequence[tuple[str, float, float]]]
    online: Sequence[online.Replayed]
    cascade: arithmetic.Cascaded


def written(found: Measures) -> str:
    rows, singles = found.many
    best = max(singles, key=lambda one: one[1])
    return f"""# How well the router routes

Written by `make bench-routing ROUTING_DATA=<folder>`; every figure below was measured by that
command, with the product's own code in `services/router/domain/`. Figures in brackets are 95 %
bootstrap intervals over prompts.

**The data** are published outcomes; `python -m scripts.routing_data` turns the originals into the
columns read here. They are not part of this repository.

- {len(found.two.ids):,} MMLU questions with the outcomes of a cheap and a strong model, from
  [RouteLLM](https://github.com/lm-sys/RouteLLM) (Apache-2.0; questions:
  [MMLU](https://github.com/hendrycks/test), MIT);
- {len(found.nine.ids):,} prompts of ten tasks with the scores of nine open models, from
  [LLMRouter](https://github.com/ulab-uiuc/LLMRouter) (MIT).

**What these figures are not**: constants of learning (priors, the reach of a resemblance, when a
re-fit falls due) were chosen while figures like these were in sight, and the kinds were fitted on
prompts, not outcomes, of all subjects. Declared capabilities are rounded means of the outcomes, as
an operator reads them off a leaderboard. Other prompts, subjects and models judge better.

**What is held out**: {HELD_OUT:.0%} of the prompts, by a hash of the id. Nothing is trained on
them, and the kinds of prompts in φ were fitted without them. The weights of complexity are round
numbers, chosen by hand while looking at how well they order all prompts of the first source.

## Two models: who deserves the strong one?

APGR: share of the gap between the models that the router closes, averaged over the share of
prompts sent to the strong one (0.5: chance). CPT(p): share of prompts that must go to the strong
model to close p of the gap. *Ahead*: of the capped keyword rule, on the same resamples.

### Held-out prompts

{_pair(found.held_out)}

### Left-out subjects

Each fifth of the subjects is left out in turn; learning sees the outcomes of the others only. The
figures are means over the fifths.

{_pair(found.left_out)}

## Nine models: what does quality cost?

Cost at 95 % and 98 %: of what the best single model costs ({best[0]}, quality
{best[1]:.3f}: itself 100 %), at that share of its quality. AIQ: mean quality over the range of
costs. *Ahead*: of the best mixture of single models. The source lists no token counts, so lengths
of answers are estimated by task; the router does not know them, it learns them.

{_many(rows)}

"One outcome a prompt": each prompt was answered by one model, drawn by chance, as feedback comes.

## Online

{online.REQUESTS:,} requests one after the other, in {online.ORDERS} orders; only the outcome of the
chosen model is seen, on all requests or on a tenth of them. Hybrid against complexity on the same
requests, preset `{PRESET}`; costs in usual costs of the dearest model; *worth* is quality less the
preset's price of that cost; intervals over prompts. Windows of {LOOK} requests, in quality;
*worst*: of the mean over orders, and of all windows of all orders. In "drops", the best model keeps
{SHIFTED_TO:.0%} of its outcomes from request {online.SHIFT_AT:,} on; *ahead again*: outcomes seen
until hybrid's worth was ahead over a hundred requests, by order. Nobody can know of a drop before
outcomes show it: the windows right after one are behind, for longer where feedback is rare.

{_online([row for one in found.online for row in one.rows])}

The same replays without a drop, beside routers that need no router:

{_levels([one.levels for one in found.online])}

## Cascade on arithmetic that can be checked

{arithmetic.MANY:,} generated problems, answered by two simulated models (a twentieth of the price,
{found.cascade.cheap_quality:.0%} of the quality); a mistake is a slip in a step, a number copied
wrongly, a step forgotten, or no work at all. Measured are the verifier and the rule.

| of the strong model alone | |
|---|---|
| quality | {found.cascade.quality} |
| cost, both calls counted | {found.cascade.cost} |
| asked both | {found.cascade.escalated:.0%} of prompts |
"""


def _pair(rows: Sequence[pair.Row]) -> str:
    lines = ["| router | APGR | ahead | CPT(50) | CPT(80) |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {row.apgr} | {_signed(row.ahead)} | {_share(row.cpt50)}"
        f" | {_share(row.cpt80)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _many(rows: Sequence[many.Row]) -> str:
    lines = ["| router | cost at 95 % | cost at 98 % | AIQ | ahead |", "|---|---|---|---|---|"]
    lines += [
        f"| {row.name} | {_share(row.cost95)} | {_share(row.cost98)} | {row.aiq.value:.3f}"
        f" | {_signed(row.ahead)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _online(rows: Sequence[online.Row]) -> str:
    lines = [
        "| replay | feedback | quality | cost | worth | worst window | ahead again |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        again = ", ".join("never" if one is None else str(one) for one in row.recovered)
        lines.append(
            f"| {row.name} | {row.feedback:.0%} | {_signed(row.quality)} | {_signed(row.cost)}"
            f" | {_signed(row.worth)} | {row.worst_quality:+.3f} ({row.worst_single:+.3f})"
            f" | {again} |"
        )
    return "\n".join(lines)


def _levels(found: Sequence[Mapping[str, Sequence[online.Level]]]) -> str:
    lines = ["| replay | router | quality | cost |", "|---|---|---|---|"]
    lines += [
        f"| {replay} | {one.router} | {one.quality} | {one.cost} |"
        for levels in found
        for replay, rows in levels.items()
        for one in rows
    ]
    return "\n".join(lines)


def _signed(one: Measured) -> str:
    return f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]"


def _share(one: Measured) -> str:
    if math.isnan(one.value):
        return "out of reach"
    return f"{one.value:.0%} [{one.low:.0%}, {one.high:.0%}]"
