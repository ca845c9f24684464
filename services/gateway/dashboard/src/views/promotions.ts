/** What experiments made the default, and how it is taken back. */

import { ask } from "../api";
import { confirm } from "../confirm";
import { badge, empty, fill, h, table } from "../dom";
import { count, moment } from "../format";
import { panel } from "../panel";
import type { Stop } from "../repeat";
import type { Experiment, Promotion, Scope } from "../types";

const ALL = "/promotions?all=true";
const TAKEN_BACK = 20; // shown at most, the newest

export const askPromotions = (): Promise<Promotion[]> => ask<Promotion[]>(ALL);

export function promotions(): { element: HTMLElement; stop: Stop } {
  const names = new Map<number, string>();
  const load = async () => {
    const found = await askPromotions();
    const standing = found.filter((one) => !one.reverted_at);
    const over = found.filter((one) => one.reverted_at).slice(0, TAKEN_BACK);
    const unnamed = new Set([...standing, ...over].map((one) => one.experiment_id));
    for (const id of unnamed) {
      if (!names.has(id)) names.set(id, (await ask<Experiment>(`/experiments/${id}`)).name);
    }
    return { standing, over };
  };
  const { element, repeated } = panel("Promotions", load, (body, { standing, over }) => {
    const opened = body.querySelector("details")?.open ?? false;
    const listed = (caption: string, some: Promotion[]) => list(caption, some, names, () => repeated.now());
    fill(
      body,
      standing.length
        ? listed("Promotions", standing)
        : empty("None: requests that leave the choice to us are decided by the default strategy."),
      over.length
        ? h(
            "details",
            { open: opened },
            h("summary", {}, `${count(over.length)} taken back`),
            listed("Promotions that were taken back", over),
          )
        : null,
    );
  });
  return { element, stop: repeated.stop };
}

function list(caption: string, some: Promotion[], names: Map<number, string>, then: () => void): HTMLElement {
  return table<Promotion>(
    caption,
    [
      { name: "For", cell: (one) => whom(one.scope) },
      { name: "Decides", cell: decides },
      {
        name: "Experiment",
        cell: (one) => h("a", { href: `#/experiments/${one.experiment_id}` }, names.get(one.experiment_id) ?? ""),
      },
      { name: "Since", cell: (one) => `${moment(one.promoted_at)} by ${one.promoted_by}` },
      { name: "Reason", cell: (one) => one.reason || "–" },
      {
        name: "State",
        cell: (one) => {
          if (one.reverted_at) return `taken back ${moment(one.reverted_at)} by ${one.reverted_by ?? "unknown"}`;
          return h("span", { class: "actions" }, state(one, some), takeBack(one, then));
        },
      },
    ],
    some,
  );
}

/** The newest of its scope is in force; with it gone, the one before is again. */
function state(one: Promotion, standing: Promotion[]): HTMLElement {
  const newest = standing.find(({ scope }) => scope.tenant === one.scope.tenant && scope.tag === one.scope.tag);
  return newest === one ? badge("in force", "good") : badge("behind a newer one");
}

export function takeBack(one: Promotion, then: () => void): HTMLElement {
  const act = async (reason: string): Promise<void> => {
    await ask(`/promotions/${one.id}/revert`, { reason });
    then();
  };
  const text = `What ${whom(one.scope)} had before decides again: the promotion before this one, or the default strategy.`;
  return h(
    "button",
    {
      type: "button",
      class: "ghost",
      "aria-label": `Take it back: ${decides(one)} for ${whom(one.scope)}`,
      click: () => confirm(`Take ${decides(one)} back?`, text, "Take it back", act),
    },
    "Take it back",
  );
}

export const decides = (one: Promotion): string =>
  [one.strategy, ...Object.values(one.parameters).map(String)].join(" ");

export function whom({ tenant, tag }: Scope): string {
  const of = tenant ? `key ${tenant}` : "";
  if (!tag) return of || "everyone";
  return `requests tagged ${tag}${of && ` of ${of}`}`;
}
