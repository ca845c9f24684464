/** What is spent and saved right now, over the last hour, and by whom. */

import { Chart, type Line } from "../chart";
import { type Child, empty, figure, fill, h, table } from "../dom";
import { count, ms, number, percent, small, usd } from "../format";
import { link } from "../link";
import { inPlace, panel, section } from "../panel";
import type { Stop } from "../repeat";
import type { History, Snapshot, Stats, Usage } from "../types";
import { requests } from "./requests";
import { Savings } from "./savings";

const HISTORY = "/metrics/history?window=1h&step=60";
const PALETTE = ["c1", "c2", "c3", "c4", "c5", "c6"];
const COLOURS = PALETTE.length;
const FEWEST = 6; // steps shown of the last hour

class Tile {
  readonly element: HTMLElement;
  private readonly value = h("p", { class: "value" }, "–");
  private readonly hint = h("p", { class: "hint" });

  constructor(name: string, id: string) {
    this.element = h("div", { class: "tile", id }, h("h2", {}, name), this.value, this.hint);
  }

  set(shown: string, exact: number | null | undefined, hint: Child): void {
    fill(this.value, figure(shown, exact));
    fill(this.hint, hint);
  }
}

export function live(root: HTMLElement): Stop {
  const tiles = {
    spend: new Tile("Spent today", "spend"),
    saved: new Tile("Saved today", "saved"),
    rate: new Tile("Requests per second", "rate"),
    p95: new Tile("95th percentile", "p95"),
    errors: new Tile("Errors today", "errors"),
    cache: new Tile("Cache hits today", "cache"),
  };
  const row = h("div", { class: "tiles" }, ...Object.values(tiles).map((tile) => tile.element));
  const savings = new Savings();
  const stats = panel<Stats>(
    "Today, since 00:00 UTC",
    "/stats",
    (body, found) => {
      const { today, last_minute: minute } = found;
      const part = (n: number) => (today.requests ? n / today.requests : null);
      if (row.parentElement !== body) fill(body, row, savings.element);
      tiles.spend.set(usd(today.cost), today.cost, `${count(today.requests)} requests`);
      tiles.saved.set(
        usd(today.saved),
        today.saved,
        today.baseline_cost
          ? `${percent(today.saved / today.baseline_cost)} of ${usd(today.baseline_cost)}`
          : today.saved
            ? "paid for no answer"
            : "nothing to compare yet",
      );
      savings.tell(today);
      tiles.rate.set(number(minute.requests_per_s), minute.requests_per_s, "over the last minute");
      tiles.p95.set(ms(minute.p95_ms), minute.p95_ms, minute.p95_ms === null ? "nothing was answered" : "of the last minute");
      tiles.errors.set(percent(part(today.failures)), today.failures, `${count(today.failures)} failed`);
      tiles.cache.set(percent(part(today.cache_hits)), today.cache_hits, `${count(today.cache_hits)} answered`);
    },
    { everyMs: 2000, always: true },
  );
  fill(stats.body, row, savings.element); // in their place before the first figure comes
  const charts = new Charts();
  const overall = panel<History>(
    "The last hour",
    HISTORY,
    (body, found) => {
      charts.place(body);
      charts.draw(found);
    },
    { everyMs: 5000 },
  );
  const share = panel<History>(
    "Share of models",
    `${HISTORY}&by=model`,
    (body, found) => {
      charts.placeShare(body);
      charts.drawShare(found);
    },
    { everyMs: 10_000 },
  );
  const last = requests();
  const usage = h("div", {}, h("p", { class: "loading" }, "Loading"));
  let drawn = "";
  const away = link.listen(
    (snapshot) => {
      const now = JSON.stringify([snapshot.strategy_performance, snapshot.provider_usage]);
      if (now !== drawn) inPlace(usage, () => drawUsage(usage, snapshot));
      drawn = now;
    },
    (why) => fill(usage, h("p", { class: "trouble", role: "status" }, why)),
  );

  fill(
    root,
    stats.element,
    h("div", { class: "hour" }, overall.element, share.element),
    last.element,
    section("The last seven days", usage),
  );
  return () => {
    for (const one of [stats, overall, share]) one.repeated.stop();
    last.stop();
    savings.stop();
    charts.destroy();
    away();
  };
}

class Charts {
  private readonly cost = new Chart({
    title: "Cost and what was saved, a minute",
    lines: [
      { name: "paid", colour: "c1", fill: true },
      { name: "saved", colour: "c2" },
    ],
    format: usd,
  });
  private readonly latency = new Chart({
    title: "Latency",
    lines: [
      { name: "p50", colour: "c1" },
      { name: "p95", colour: "c3" },
      { name: "p99", colour: "c4", dashed: true },
    ],
    format: ms,
  });
  private readonly share = new Chart({
    title: "Requests by model",
    lines: [],
    format: (ratio) => percent(ratio, 0),
    max: 1,
  });
  private readonly colours = new Map<string, string>(); // of the models shown last

  place(body: HTMLElement): void {
    if (this.cost.element.parentElement?.parentElement === body) return;
    fill(body, h("div", { class: "charts" }, this.cost.element, this.latency.element));
  }

  placeShare(body: HTMLElement): void {
    if (this.share.element.parentElement !== body) fill(body, this.share.element);
  }

  draw(whole: History): void {
    const found = sinceFirst(whole);
    const all = found.series[0];
    const times = secondsOf(found);
    const none = times.map(() => null);
    this.cost.set([times, all?.cost ?? none, all?.saved ?? none]);
    this.latency.set([times, all?.p50_ms ?? none, all?.p95_ms ?? none, all?.p99_ms ?? none]);
  }

  /** Shares of the requests: the most used by name, the others together. */
  drawShare(whole: History): void {
    const found = sinceFirst(whole);
    const total = (line: (number | null)[]) => line.reduce<number>((sum, n) => sum + (n ?? 0), 0);
    const sorted = [...found.series].sort((a, b) => total(b.requests) - total(a.requests));
    const own = sorted.length > COLOURS ? COLOURS - 1 : sorted.length;
    const named = sorted.slice(0, own).map(({ name, requests }) => ({ name, requests }));
    const rest = sorted.slice(own);
    if (rest.length) {
      const sums = found.times.map((_, at) => rest.reduce((sum, s) => sum + (s.requests[at] ?? 0), 0));
      named.push({ name: "others", requests: sums });
    }
    const sums = found.times.map((_, at) => named.reduce((sum, s) => sum + (s.requests[at] ?? 0), 0));
    const columns = named.map((s) =>
      s.requests.map((n, at) => (sums[at] ? (n ?? 0) / (sums[at] ?? 1) : null)),
    );
    const lines = this.coloured(named.map(({ name }) => name || "nobody"));
    this.share.set([secondsOf(found), ...columns], lines);
  }

  /** Whoever was shown keeps its colour, whatever its rank is now. */
  private coloured(names: string[]): Line[] {
    for (const name of this.colours.keys()) if (!names.includes(name)) this.colours.delete(name);
    for (const name of names) {
      const taken = new Set(this.colours.values());
      const free = PALETTE.find((colour) => !taken.has(colour));
      if (!this.colours.has(name) && free) this.colours.set(name, free);
    }
    return names.map((name) => ({ name, colour: this.colours.get(name) ?? "c1" }));
  }

  destroy(): void {
    for (const chart of [this.cost, this.latency, this.share]) chart.destroy();
  }
}

const secondsOf = (found: History): number[] => found.times.map((time) => Date.parse(time) / 1000);

/** Leave out what was before the first request: a new gateway has no hour to show. */
function sinceFirst(found: History): History {
  const firsts = found.series.map((s) => s.requests.findIndex((n) => n));
  const first = Math.min(...firsts.filter((at) => at >= 0), found.times.length - FEWEST);
  const from = Math.max(0, first - 1);
  const cut = (line: (number | null)[]) => line.slice(from);
  return {
    ...found,
    times: found.times.slice(from),
    series: found.series.map((s) => ({
      ...s,
      requests: cut(s.requests),
      cost: cut(s.cost),
      saved: cut(s.saved),
      p50_ms: cut(s.p50_ms),
      p95_ms: cut(s.p95_ms),
      p99_ms: cut(s.p99_ms),
    })),
  };
}

function drawUsage(body: HTMLElement, snapshot: Snapshot): void {
  if (!snapshot.total_decisions) {
    fill(body, empty("No requests yet. Send one, and it shows up here: `make demo` sends many."));
    return;
  }
  const total = snapshot.total_decisions;
  const by = (caption: string, name: string, found: Record<string, Usage> | undefined) =>
    table(
      caption,
      [
        { name, cell: ([each]: [string, Usage]) => each },
        { name: "Requests", numeric: true, cell: ([, { count: n }]) => figure(count(n), n) },
        { name: "Share", numeric: true, cell: ([, { count: n }]) => percent(n / total) },
        { name: "Mean cost", numeric: true, cell: ([, { avg_cost: c }]) => figure(small(c), c) },
      ],
      Object.entries(found ?? {}).sort(([, a], [, b]) => b.count - a.count),
    );
  fill(
    body,
    h(
      "div",
      { class: "columns" },
      by("Requests by strategy", "Strategy", snapshot.strategy_performance),
      by("Requests by provider", "Provider", snapshot.provider_usage),
    ),
  );
}
