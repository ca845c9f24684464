/** Models with their prices and how they stand; providers, and why they are off. */

import { ask } from "../api";
import { badge, type Child, empty, fill, h, table } from "../dom";
import { clock, count, price, words } from "../format";
import { type Panel, panel } from "../panel";
import type { Breaker, Model, Models, Provider, Providers } from "../types";

const STANDING_MS = 2000; // a model is left alone for seconds
const HEARD_MS = 20_000; // a router that was not heard for so long has gone
const WORSE = ["closed", "half_open", "open"];

interface Catalog {
  models: Model[];
  routers: string[];
  standing: (Breaker | undefined)[][]; // of each model, as each router knows it
}

export function catalog(): Panel {
  const heard = new Map<string, { at: number; breakers: Breaker[] }>(); // each answer is one router's
  const load = async (): Promise<Catalog> => {
    const [{ data }, told] = await Promise.all([ask<Models>("/v1/models"), ask<Providers>("/providers")]);
    const now = Date.now();
    heard.set(told.replica ?? "", { at: now, breakers: told.providers.flatMap((one) => one.breakers) });
    for (const [router, { at }] of heard) if (now - at > HEARD_MS) heard.delete(router);
    const models = data.filter((model) => model.owned_by !== "optimizer");
    const of = ({ id }: Model) =>
      [...heard.values()].map(({ breakers }) => breakers.find((one) => one.model === id));
    return { models, routers: [...heard.keys()], standing: models.map(of) };
  };
  return panel("Models", load, drawModels, { everyMs: STANDING_MS });
}

export function providers(): Panel {
  return panel<Providers>("Providers", "/providers", drawProviders, { everyMs: 10_000 });
}

function drawModels(body: HTMLElement, { models, routers, standing }: Catalog): void {
  if (!models.length) {
    fill(body, empty("No model is on: give a provider its key, as the list of providers says."));
    return;
  }
  const priceOf = (model: Model, what: "input" | "output") =>
    model.price_usd_per_million ? price(model.price_usd_per_million[what]) : "unpriced";
  fill(
    body,
    table<Model>(
      "Models that are on, with prices for a million tokens",
      [
        { name: "Model", cell: (one) => one.id },
        { name: "State", cell: (one) => stands(standing[models.indexOf(one)] ?? []) },
        { name: "For", cell: (one) => one.tier ?? "–" },
        { name: "Context", numeric: true, cell: (one) => count(one.context_tokens) },
        { name: "In", numeric: true, cell: (one) => priceOf(one, "input") },
        { name: "Out", numeric: true, cell: (one) => priceOf(one, "output") },
      ],
      models,
    ),
    h(
      "p",
      { class: "hint" },
      "Prices are for a million tokens.",
      routers.length === 1
        ? routers[0] && ` How they stand is what router ${routers[0]} knows; each finds out for itself.`
        : ` How they stand is the worst that ${routers.length} routers know; each finds out for itself.`,
    ),
  );
}

/** The worst of what the routers know, and how many of them. */
function stands(known: (Breaker | undefined)[]): Child {
  const told = known.filter((one) => one !== undefined);
  const breaker = told.toSorted((a, b) => WORSE.indexOf(b.state) - WORSE.indexOf(a.state))[0];
  if (!breaker) return "–";
  const same = told.filter((one) => one.state === breaker.state).length;
  const many = known.length > 1 ? `, say ${same} of ${known.length} routers` : "";
  const why = breaker.reason ? h("span", { class: "hint" }, ` ${words(breaker.reason)}${many}`) : null;
  if (breaker.state === "closed") return badge("in use", "good");
  if (breaker.state === "half_open") return h("span", {}, badge("tried out", "warn"), why);
  const until = breaker.open_until ? ` until ${clock(breaker.open_until)}` : "";
  return h("span", {}, badge(`left alone${until}`, "bad"), why);
}

function drawProviders(body: HTMLElement, { providers: found }: Providers): void {
  const sorted = [...found].sort((a, b) => Number(b.enabled) - Number(a.enabled));
  fill(
    body,
    table<Provider>(
      "Providers",
      [
        { name: "Provider", cell: (one) => one.name },
        { name: "State", cell: (one) => (one.enabled ? badge("on", "good") : badge("off")) },
        { name: "Models", numeric: true, cell: (one) => count(one.models) },
        { name: "Why it is off", cell: (one) => one.why_off ?? "" },
      ],
      sorted,
    ),
  );
}
