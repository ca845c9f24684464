/** One experiment: who is in it, what it found so far, how sure that is, and how it ends. */

import { ask, explain, Refusal } from "../api";
import { Chart } from "../chart";
import { confirm } from "../confirm";
import { badge, type Child, empty, figure, fill, h, table } from "../dom";
import { change, count, moment, ms, number, percent, usd, words } from "../format";
import { fresh } from "../freshness";
import { section } from "../panel";
import { repeat, type Stop } from "../repeat";
import type { ArmResults, Compared, Effect, Experiment, Look, Promotion, Results } from "../types";
import { status } from "./experiments";
import { askPromotions, decides, takeBack, whom } from "./promotions";
import { facts } from "./requests";

const EVERY_MS = 3000;

export function experiment(root: HTMLElement, id: string): Stop {
  const path = `/experiments/${encodeURIComponent(id)}`;
  const top = h("div", { class: "stack" }, h("p", { class: "loading" }, "Loading"));
  const trouble = h("p", { class: "trouble", role: "status", hidden: true });
  const figures = h("div", { class: "stack" });
  const effects = h("div", { class: "charts" });
  const more = h("div", { class: "view" });
  const charts = new Map<string, Chart>();
  fill(
    root,
    h("p", {}, h("a", { href: "#/experiments" }, "← All experiments")),
    trouble,
    top,
    figures,
    effects,
    more,
  );
  let drawn = "";
  const repeated = repeat(async () => {
    try {
      const [one, found] = await Promise.all([
        ask<Experiment>(path),
        ask<Results>(`${path}/results`),
      ]);
      const promoted = one.verdict?.winner ? await standing(one) : undefined;
      fresh.seen();
      trouble.hidden = true;
      const now = JSON.stringify([one, found, promoted]);
      if (now === drawn) return; // buttons keep the focus
      drawn = now;
      fill(top, ...head(one, found), actions(path, one, promoted, () => repeated.now()));
      fill(figures, section("Side by side", sideBySide(found)));
      drawEffects(effects, charts, found);
      fill(more, ...checks(one, found));
    } catch (error) {
      trouble.textContent = drawn ? `${explain(error)} What is shown is old.` : explain(error);
      trouble.hidden = false;
      if (!drawn) fill(top);
      if (!(error instanceof Refusal && error.status === 404)) throw error;
    }
  }, EVERY_MS);
  return () => {
    repeated.stop();
    for (const chart of charts.values()) chart.destroy();
  };
}

function head(one: Experiment, found: Results): Child[] {
  const done = found.arms.reduce((sum, arm) => sum + arm.count, 0);
  const ratio = Math.min(1, done / one.sample_size);
  return [
    h("div", { class: "bar" }, h("h2", { id: "experiment-name" }, one.name), status(one)),
    one.hypothesis ? h("p", { class: "hint" }, one.hypothesis) : null,
    verdict(one, found),
    h(
      "div",
      { class: "progress" },
      h("progress", { max: 1, value: ratio, "aria-label": "Results that are in" }),
      h(
        "p",
        { class: "hint" },
        figure(count(done), done),
        ` of ${count(one.sample_size)} results, ${percent(ratio, 0)}`,
        found.mde == null ? "" : `; finds a change of ${percent(found.mde)}`,
        found.stale ? "; the newest are still missing" : "",
      ),
    ),
  ];
}

function verdict(one: Experiment, found: Results): HTMLElement {
  if (one.verdict) {
    const { winner, reason, rule, at } = one.verdict;
    return h(
      "div",
      { class: `verdict ${winner ? "good" : ""}`, id: "verdict" },
      h("strong", {}, winner ? `${winner} wins` : "No winner"),
      h("p", {}, reason),
      h("p", { class: "hint" }, `Ended by ${words(rule)}, ${moment(at)}`),
    );
  }
  const text =
    one.status === "cancelled"
      ? "Cancelled: there is no verdict."
      : found.winner
        ? `${found.winner} leads for sure; ${found.decision_ready ? "complete it when you like." : "it waits for its ratings."}`
        : "No verdict yet. Look as often as you like: looking does not make it wrong.";
  return h("div", { class: "verdict", id: "verdict" }, h("p", {}, text));
}

/** Its promotion that was not taken back; there is one at most. */
async function standing(one: Experiment): Promise<Promotion | undefined> {
  const found = await askPromotions();
  return found.find(({ experiment_id: id, reverted_at: at }) => id === one.id && !at);
}

function actions(
  path: string,
  one: Experiment,
  promoted: Promotion | undefined,
  then: () => void,
): HTMLElement | null {
  const act = (move: string, title: string, text: string, verb: string) =>
    h(
      "button",
      {
        type: "button",
        class: move === "cancel" ? "ghost" : null,
        click: () =>
          confirm(title, text, verb, async (reason) => {
            await ask(`${path}/${move}`, { reason });
            then();
          }),
      },
      verb,
    );
  if (one.status === "running") {
    return h(
      "p",
      { class: "actions" },
      act("complete", "Complete it now?", "It ends with the verdict that the looks so far allow.", "Complete"),
      act("cancel", "Cancel it?", "It ends without a verdict. What was recorded is kept.", "Cancel it"),
    );
  }
  if (!one.verdict?.winner) return null;
  if (promoted) {
    const since = `${moment(promoted.promoted_at)} by ${promoted.promoted_by}`;
    const told = `Promoted for ${whom(promoted.scope)}, ${since}: ${decides(promoted)} decides.`;
    return h("div", { class: "bar", id: "promoted" }, h("p", {}, told), takeBack(promoted, then));
  }
  return h(
    "p",
    { class: "actions" },
    act(
      "promote",
      `Make ${one.verdict.winner} the default?`,
      `For ${whom(one.scope)}: what leaves the choice to us is then decided by it. It can be taken back.`,
      "Promote",
    ),
  );
}

function sideBySide(found: Results): HTMLElement {
  const total = (arm: ArmResults) => figure(count(arm.count), arm.count);
  return table<ArmResults>(
    "The arms side by side",
    [
      { name: "Arm", cell: (arm) => arm.name },
      { name: "Strategy", cell: (arm) => arm.strategy },
      { name: "Results", numeric: true, cell: total },
      { name: "Users", numeric: true, cell: (arm) => figure(count(arm.users), arm.users) },
      { name: "Mean cost", numeric: true, cell: (arm) => figure(usd(arm.avg_cost), arm.avg_cost) },
      { name: "Latency", numeric: true, cell: (arm) => ms(arm.avg_latency) },
      { name: "Rating", numeric: true, cell: (arm) => number(arm.avg_quality) },
      { name: "Failures", numeric: true, cell: (arm) => count(arm.failures) },
      { name: "Unpriced", numeric: true, cell: (arm) => count(arm.unpriced) },
    ],
    found.arms,
  );
}

function drawEffects(place: HTMLElement, charts: Map<string, Chart>, found: Results): void {
  for (const { name } of found.arms.slice(1)) {
    const looks = (found.series ?? []).filter((look) => look.arm === name);
    if (!looks.length) continue;
    let chart = charts.get(name);
    if (!chart) {
      chart = effectChart(name);
      charts.set(name, chart);
      place.append(section(`What ${name} changes`, chart.element));
    }
    chart.set(columns(looks));
  }
  if (!charts.size) {
    fill(place, section("Effect", empty("It is drawn once ten users and results of each arm are in.")));
  } else if (place.children.length > charts.size) place.firstElementChild?.remove();
}

function effectChart(name: string): Chart {
  return new Chart({
    title: `Cost per success of ${name} against the control, with what it may really be, by results`,
    lines: [
      { name: "at most", colour: "c1", width: 1 },
      { name: "at least", colour: "c1", width: 1 },
      { name: "measured", colour: "c2", width: 2.25 },
    ],
    format: change,
    xFormat: (results) => count(results),
    band: [1, 2],
    zero: true,
    within: [-1, 1],
  });
}

function columns(looks: Look[]): (number | null)[][] {
  const sorted = [...looks].sort((a, b) => a.results - b.results);
  const once = sorted.filter((look, at) => look.results !== sorted[at + 1]?.results);
  return [
    once.map((look) => look.results),
    once.map((look) => look.high),
    once.map((look) => look.low),
    once.map((look) => look.lift),
  ];
}

function shown(metric: string, value: number | null): string {
  if (metric.startsWith("cost")) return usd(value);
  if (metric.endsWith("_ratio")) return percent(value);
  return (metric.includes("latency") ? ms : number)(value);
}

function checks(one: Experiment, found: Results): Child[] {
  return [
    ...Object.entries(found.comparisons ?? {}).flatMap(([arm, compared]) => [
      section(
        `${arm} against the control`,
        compared.stopped ? h("p", { class: "trouble" }, "This arm does harm and was stopped.") : null,
        comparison(compared),
        guardrails(found.guardrails?.[arm] ?? {}),
      ),
    ]),
    found.srm ? section("Were users split as planned?", split(found.srm)) : null,
    section("What happened", history(one)),
  ];
}

function comparison(compared: Compared): HTMLElement {
  const effect = (one: { raw: Effect | null; cuped: Effect | null }) => one.cuped ?? one.raw;
  const interval = (found: Effect | null) => {
    const [low, high] = found?.interval_always_valid ?? [null, null];
    return low === null && high === null ? "–" : `${change(low)} to ${change(high)}`;
  };
  type Row = [string, Compared["metrics"][string]];
  return table<Row>(
    "Metrics of both arms",
    [
      { name: "Metric", cell: ([name]) => words(name) },
      { name: "Control", numeric: true, cell: ([name, one]) => shown(name, one.control) },
      { name: "Test", numeric: true, cell: ([name, one]) => shown(name, one.test) },
      { name: "Change", numeric: true, cell: ([, one]) => change(effect(one)?.lift) },
      { name: "95 %, at any look", numeric: true, cell: ([, one]) => interval(effect(one)) },
    ],
    Object.entries(compared.metrics),
  );
}

const RAILS = { passed: "good", breached: "bad", undecided: "warn", unmeasured: "plain" } as const;

function guardrails(found: Record<string, { status: string; margin: number }>): HTMLElement {
  return h(
    "p",
    { class: "rails", "aria-label": "Guardrails" },
    ...Object.entries(found).map(([name, rail]) =>
      badge(
        `${name}, at most ${percent(rail.margin, 0)} worse: ${rail.status}`,
        RAILS[rail.status as keyof typeof RAILS] ?? "plain",
      ),
    ),
  );
}

function split(srm: NonNullable<Results["srm"]>): HTMLElement {
  const users = Object.values(srm.users).reduce((sum, n) => sum + n, 0);
  const told = Object.entries(srm.users).map(
    ([arm, n]): [string, Child] => [
      arm,
      `${count(n)} users, ${percent(users ? n / users : null)} of ${percent(srm.expected_shares[arm])} meant`,
    ],
  );
  return h(
    "div",
    {},
    srm.alarm
      ? h("p", { class: "trouble" }, "No: nothing here can be believed until you know why.")
      : users
        ? h("p", {}, badge("as planned", "good"), ` p = ${number(srm.p_value)}`)
        : empty("There are no users yet."),
    facts(told),
  );
}

function history(one: Experiment): HTMLElement {
  return h(
    "ol",
    { class: "history" },
    ...one.history.map((step) =>
      h(
        "li",
        {},
        h("span", { class: "hint" }, `${moment(step.at)} `),
        `${step.status} by ${step.by || "the experiment"}`,
        step.reason ? `: ${step.reason}` : "",
      ),
    ),
  );
}
