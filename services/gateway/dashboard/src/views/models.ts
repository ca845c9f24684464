/** What there is to choose from, what is believed of it, and what would be chosen. */

import { ask, explain } from "../api";
import { empty, fill, h, table } from "../dom";
import { count, number, percent, usd } from "../format";
import { panel, section } from "../panel";
import type { Stop } from "../repeat";
import type { Decision, Learning } from "../types";
import { catalog, providers } from "./catalog";
import { explanation, facts } from "./requests";

const LEVELS = ["simple", "moderate", "complex"];

export function models(root: HTMLElement): Stop {
  const learning = panel<Learning>("What learning believes", "/admin/learning/status", drawLearning, {
    everyMs: 10_000,
  });
  const parts = [catalog(), learning, providers()];
  fill(root, why(), ...parts.map((one) => one.element));
  return () => {
    for (const one of parts) one.repeated.stop();
  };
}

function why(): HTMLElement {
  const prompt = h("textarea", { id: "prompt", rows: 3, maxlength: 10_000, required: true });
  const answer = h("div", { id: "why", "aria-live": "polite" });
  const button = h("button", { type: "submit" }, "Which model, and why?");
  const look = async (event: Event): Promise<void> => {
    event.preventDefault();
    button.disabled = true;
    fill(answer, h("p", { class: "loading" }, "Deciding"));
    try {
      const query = new URLSearchParams({ prompt: prompt.value, auto_route: "true" });
      const found = await ask<Decision>(`/routing/decision?${query.toString()}`);
      fill(
        answer,
        facts([
          ["Model", h("strong", {}, found.model)],
          ["Strategy", found.strategy],
          ["Confidence", found.confidence],
          ["Would cost", usd(found.expected_cost)],
        ]),
        ...explanation({ ...found.routing_metadata, reasoning: found.reasoning }),
      );
    } catch (error) {
      fill(answer, h("p", { class: "trouble" }, explain(error)));
    }
    button.disabled = false;
  };
  return section(
    "Why?",
    h(
      "form",
      { class: "stack", submit: (event) => void look(event) },
      h("label", { for: "prompt" }, "A prompt: it is decided, nobody is called and nothing is kept"),
      prompt,
      h("p", { class: "actions" }, button),
    ),
    answer,
  );
}

type Belief = Learning["models"][number];

function drawLearning(body: HTMLElement, found: Learning): void {
  const names = [...new Set(found.models.map((one) => one.model))].sort();
  if (!names.length) {
    fill(body, empty("Nothing yet: it learns from ratings, votes and the faults that show."));
    return;
  }
  const outcomes = (model: string) => found.models.find((one) => one.model === model)?.outcomes;
  // The others are off or were never tried: what is believed of them is what the catalog says.
  const tried = names.filter((model) => (outcomes(model) ?? 0) > 0);
  const untried = names.filter((model) => !tried.includes(model));
  const of = (model: string, level: string) =>
    found.models.find((one) => one.model === model && one.difficulty === level);
  const beliefs = (caption: string, some: string[]) =>
    table<string>(
      caption,
      [
        { name: "Model", cell: (model) => model },
        ...LEVELS.map((level) => ({ name: level, cell: (model: string) => belief(of(model, level)) })),
        { name: "Outcomes", numeric: true, cell: (model) => count(outcomes(model)) },
      ],
      some,
    );
  const open = body.querySelector("details")?.open ?? false;
  fill(
    body,
    tried.length ? beliefs("Expected quality by model and difficulty", tried) : null,
    untried.length
      ? h(
          "details",
          { open },
          h("summary", {}, `${untried.length} models without outcomes: what the catalog says of them`),
          beliefs("Expected quality of models without outcomes", untried),
        )
      : null,
    h(
      "p",
      { class: "hint" },
      `Expected quality, give or take one standard deviation. From ${count(found.outcomes)} outcomes.`,
      found.comparison.fallen_back ? " Learning did worse, and leaves the choice to complexity." : "",
    ),
  );
}

function belief(found: Belief | undefined): HTMLElement | string {
  if (!found || found.quality === null) return "–";
  const spread = found.spread === null ? "" : ` ± ${(100 * found.spread).toFixed(0)}`;
  const told = `${percent(found.quality, 0)}${spread}`;
  return h(
    "span",
    { class: "belief", title: `evidence ${number(found.evidence)}` },
    h("meter", { min: 0, max: 1, value: found.quality, "aria-label": told }),
    told,
  );
}
