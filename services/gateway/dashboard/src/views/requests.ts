/** The last requests as they come, each with its whole story. */

import { ask, explain } from "../api";
import { badge, type Child, empty, figure, fill, h, table } from "../dom";
import { clock, count, moment, ms, percent, small, usd, words } from "../format";
import { panel } from "../panel";
import type { Stop } from "../repeat";
import type { Candidate, Explanation, Served, Story } from "../types";

const SHOWN = 30;

export function requests(): { element: HTMLElement; stop: Stop } {
  const { element, repeated } = panel<{ requests: Served[] }>(
    "Last requests",
    `/requests?limit=${SHOWN}`,
    (body, { requests: found }) => {
      const focused = document.activeElement?.getAttribute("data-id");
      fill(body, found.length ? list(found) : empty("No requests yet."));
      if (focused) body.querySelector<HTMLElement>(`[data-id="${CSS.escape(focused)}"]`)?.focus();
    },
    { everyMs: 2000 },
  );
  return { element, stop: repeated.stop };
}

function list(found: Served[]): HTMLElement {
  return table<Served>(
    "Last requests",
    [
      {
        name: "Time",
        cell: (one) =>
          h(
            "button",
            {
              type: "button",
              class: "link-button",
              "data-id": one.request_id,
              "aria-label": `Explain the request of ${clock(one.at)} to ${one.model ?? "nobody"}`,
              click: () => void tell(one.request_id),
            },
            clock(one.at),
          ),
      },
      { name: "Model", cell: (one) => one.model ?? "–" },
      { name: "Outcome", cell: outcome },
      { name: "Cost", numeric: true, cell: (one) => figure(small(one.cost), one.cost) },
      { name: "Saved", numeric: true, cell: (one) => small(saved(one)) },
      { name: "Latency", numeric: true, cell: (one) => ms(one.latency_ms) },
      { name: "Tokens", numeric: true, cell: (one) => `${count(one.tokens_in)} / ${count(one.tokens_out)}` },
      { name: "Strategy", cell: (one) => one.strategy ?? "–" },
      { name: "User", cell: (one) => one.user_id ?? "–" },
    ],
    [...found].sort((a, b) => Date.parse(b.at) - Date.parse(a.at)), // the newest answer first
  );
}

const saved = (one: Served): number | null =>
  one.cost === null || one.baseline_cost === null ? null : one.baseline_cost - one.cost;

function outcome(one: Served): Child {
  if (one.cache_hit) return badge("cached");
  const fine = one.outcome === "ok";
  const text = fine && one.fallbacks ? `${one.outcome}, ${one.fallbacks} fell back` : one.outcome;
  return badge(text, !fine ? "bad" : one.fallbacks ? "warn" : "good");
}

async function tell(id: string): Promise<void> {
  const body = h("div", {}, h("p", { class: "loading" }, "Loading"));
  const dialog = h(
    "dialog",
    { class: "wide", "aria-labelledby": "story-title" },
    h(
      "div",
      { class: "bar" },
      h("h2", { id: "story-title" }, "One request"),
      h("button", { type: "button", class: "ghost", click: () => dialog.close() }, "Close"),
    ),
    body,
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  try {
    fill(body, ...story(await ask<Story>(`/requests/${encodeURIComponent(id)}`)));
  } catch (error) {
    fill(body, h("p", { class: "trouble", role: "alert" }, explain(error)));
  }
}

function story({ request, decision, attempts, feedback }: Story): Child[] {
  return [
    facts([
      ["Request", request.request_id],
      ["Model", request.model],
      ["Cost", `${usd(request.cost)}, ${usd(request.baseline_cost)} on the baseline`],
      ["Latency", ms(request.latency_ms)],
      ["Experiment", request.experiment_id && `${request.experiment_id}, arm ${request.arm ?? "none"}`],
    ]),
    h("h3", {}, "Why this model"),
    ...(decision ? explanation(decision) : [empty("Nothing was decided: see its outcome.")]),
    h("h3", {}, "Attempts"),
    attempts.length
      ? table<Story["attempts"][number]>(
          "Attempts",
          [
            { name: "Model", cell: (one) => one.model },
            { name: "Outcome", cell: (one) => badge(one.outcome, one.error ? "bad" : "good") },
            { name: "Cost", numeric: true, cell: (one) => small(one.cost) },
            { name: "Latency", numeric: true, cell: (one) => ms(one.latency_ms) },
            { name: "Error", cell: (one) => one.error ?? "" },
          ],
          attempts,
        )
      : empty("Nobody was asked."),
    ...(feedback
      ? [
          h("h3", {}, "Feedback"),
          facts(Object.entries(feedback).map(([name, value]) => [words(name), text(name, value)])),
        ]
      : []),
  ];
}

export function facts(pairs: [string, Child][]): HTMLElement {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", {}, ...known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** A decision in words and figures; the same for one that was taken and one that would be. */
export function explanation(found: Explanation): Child[] {
  const candidates = found.candidates ?? [];
  const unfit = Object.entries(found.unfit ?? {});
  return [
    found.reasoning ? h("p", {}, found.reasoning) : null,
    candidates.length
      ? table<Candidate>(
          "Candidates",
          [
            { name: "Candidate", cell: (one) => one.model },
            { name: "Would cost", numeric: true, cell: (one) => small(one.expected_cost_usd) },
            { name: "Good enough", numeric: true, cell: (one) => percent(one.expected_quality, 0) },
            { name: "Why not", cell: (one) => one.lost ?? badge("chosen", "good") },
          ],
          candidates,
        )
      : null,
    unfit.length
      ? h(
          "details",
          {},
          h("summary", {}, `${unfit.length} could not serve it`),
          facts(unfit),
        )
      : null,
  ];
}

function text(name: string, value: unknown): string | null {
  if (value === null) return null; // was not said
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "string") return JSON.stringify(value);
  return name === "at" ? moment(value) : value;
}
