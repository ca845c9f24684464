/** How "saved" comes about, and what experiments measured of it. */

import { ask } from "../api";
import { figure, fill, h } from "../dom";
import { change, count, usd } from "../format";
import { type Repeated, repeat } from "../repeat";
import type { Experiment, Models, Results, Totals } from "../types";

const EVERY_MS = 30_000;
const MOST = 5; // running ones, and as many that have ended
const RECENT_MS = 7 * 86_400_000;
const METRIC = "cost_per_successful_request";

interface Measured {
  arm: string;
  lift: number;
  low: number;
  high: number;
}

export class Savings {
  readonly element: HTMLElement;
  private readonly how = h("p", { class: "hint", id: "how-saved" });
  private readonly list = h("ul", { class: "measured", id: "measured", "aria-label": "Measured by experiments" });
  private readonly repeated: Repeated;
  private baseline: string | null = null;

  constructor() {
    this.list.hidden = true;
    this.element = h("div", { class: "savings" }, this.how, this.list);
    this.repeated = repeat(() => this.look(), EVERY_MS);
  }

  stop(): void {
    this.repeated.stop();
  }

  tell({ baseline_cost: cost, saved, cache_saved: cached, cache_hits: hits, unpriced }: Totals): void {
    const told = [
      `Saved: the ${usd(cost)} that the same tokens would have cost on ${this.baseline ?? "the baseline model"}, less ` +
        `${usd(cost - saved)} paid, failed attempts and comparisons included.`,
      hits && ` Not in it: ${usd(cached)} more by the cache, which answered ${count(hits)} for nothing.`,
      unpriced && ` ${count(unpriced)} unpriced requests are in neither sum.`,
    ];
    const text = told.filter(Boolean).join("");
    if (this.how.textContent !== text) this.how.textContent = text;
  }

  private async look(): Promise<void> {
    this.baseline = (await ask<Models>("/v1/models")).baseline_model;
    const [running, completed] = await Promise.all([
      ask<Experiment[]>(`/experiments?status=running&limit=${MOST}`),
      ask<Experiment[]>(`/experiments?status=completed&limit=${4 * MOST}`),
    ]);
    const recent = completed.filter((one) => Date.now() - Date.parse(one.completed_at ?? "") < RECENT_MS);
    const lines = await Promise.all([...running, ...recent.slice(0, MOST)].map(told));
    fill(this.list, ...lines.flat());
    this.list.hidden = !this.list.hasChildNodes();
  }
}

async function told(one: Experiment): Promise<HTMLElement[]> {
  try {
    return measured(await ask<Results>(`/experiments/${one.id}/results`)).map((arm) => line(one, arm));
  } catch {
    return []; // its own page says what is wrong; the others are told all the same
  }
}

/** What each arm costs against the control, where an interval that holds at any look is known. */
function measured(found: Results): Measured[] {
  if (found.srm?.alarm) return []; // nothing of it can be believed
  return Object.entries(found.comparisons ?? {}).flatMap(([arm, { metrics, stopped }]) => {
    if (stopped) return [];
    const effect = metrics[METRIC]?.cuped ?? metrics[METRIC]?.raw;
    const [low, high] = effect?.interval_always_valid ?? [null, null];
    if (effect?.lift == null || low === null || high === null) return [];
    return [{ arm, lift: effect.lift, low, high }];
  });
}

function line(one: Experiment, { arm, lift, low, high }: Measured): HTMLElement {
  const strategy = one.arms.find(({ name }) => name === arm)?.strategy ?? arm;
  return h(
    "li",
    {},
    "Measured by ",
    h("a", { href: `#/experiments/${one.id}` }, one.name),
    `: ${arm} (${strategy}) costs `,
    h("b", {}, figure(change(lift), lift)),
    ` against ${one.arms[0]?.strategy ?? "the control"} (95 % interval, at any look: `,
    figure(change(low), low),
    " to ",
    figure(change(high), high),
    one.status === "running" ? "), so far" : ")",
  );
}
