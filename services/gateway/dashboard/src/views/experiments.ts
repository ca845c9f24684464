/** All experiments, and a new one with what it takes while one types. */

import { ask, explain } from "../api";
import { badge, empty, fill, h, table } from "../dom";
import { count, moment, percent } from "../format";
import { panel, section } from "../panel";
import type { Stop } from "../repeat";
import type { Experiment, Model, Plan } from "../types";
import { promotions } from "./promotions";

const PAUSE_MS = 300; // nobody has typed for so long
const AGAIN_MS = 5000; // after a plan that failed
const STRATEGIES = ["best", "complexity", "hybrid", "learning", "cascade", "cheapest", "fixed"];

export function experiments(root: HTMLElement, _: string): Stop {
  const list = panel<Experiment[]>("Experiments", "/experiments?limit=200", (body, found) => {
    fill(
      body,
      found.length
        ? table<Experiment>("Experiments", COLUMNS, found)
        : empty("No experiment yet. Plan one above: is a cheaper strategy as good?"),
    );
  });
  const promoted = promotions();
  fill(root, section("New experiment", form()), list.element, promoted.element);
  return () => {
    list.repeated.stop();
    promoted.stop();
  };
}

const COLUMNS = [
  {
    name: "Name",
    cell: (one: Experiment) => h("a", { href: `#/experiments/${one.id}` }, one.name),
  },
  { name: "State", cell: (one: Experiment) => status(one) },
  {
    name: "Arms",
    cell: (one: Experiment) => one.arms.map((arm) => arm.strategy).join(" against "),
  },
  { name: "Planned", numeric: true, cell: (one: Experiment) => count(one.sample_size) },
  { name: "Winner", cell: (one: Experiment) => one.verdict?.winner ?? "–" },
  { name: "Since", cell: (one: Experiment) => moment(one.created_at) },
];

export function status(one: Experiment): HTMLElement {
  const kind = one.status === "running" ? "warn" : one.status === "completed" ? "good" : "plain";
  return badge(one.status, kind);
}

function field(id: string, label: string, input: HTMLElement, hint = ""): HTMLElement {
  input.id = id;
  const note = hint ? h("span", { class: "hint", id: `${id}-hint` }, hint) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: id }, label), input, note);
}

class Arm {
  readonly select: HTMLSelectElement;
  readonly model = h("select", { "aria-label": "Model" });
  private readonly trouble = h("span", { class: "hint", role: "status" });
  readonly element: HTMLElement;

  constructor(id: string, label: string, chosen: string) {
    const options = STRATEGIES.map((s) => h("option", { value: s, selected: s === chosen }, s));
    this.select = h("select", {}, ...options);
    this.model.hidden = true;
    this.model.setAttribute("aria-label", `${label}: model`);
    this.select.addEventListener("change", () => void this.chosen());
    this.element = field(id, label, this.select);
    this.model.addEventListener("focus", () => void this.chosen()); // in vain so far, perhaps
    this.element.append(this.model, this.trouble);
  }

  get strategy(): string {
    return this.select.value;
  }

  get parameters(): Record<string, string> {
    return this.strategy === "fixed" ? { model: this.model.value } : {};
  }

  private async chosen(): Promise<void> {
    this.model.hidden = this.strategy !== "fixed";
    if (this.model.hidden || this.model.length) return;
    try {
      const { data } = await ask<{ data: Model[] }>("/v1/models");
      const real = data.filter((model) => model.owned_by !== "optimizer");
      fill(this.model, ...real.map((model) => h("option", { value: model.id }, model.id)));
      this.trouble.textContent = "";
    } catch (error) {
      this.trouble.textContent = explain(error);
    }
  }
}

function form(): HTMLElement {
  const name = h("input", { required: true, maxlength: 200, autocomplete: "off" });
  const hypothesis = h("input", { maxlength: 10_000, autocomplete: "off" });
  const control = new Arm("control", "Control", "best");
  const test = new Arm("test", "Against", "cheapest");
  const effect = h("input", { type: "number", min: 0.1, max: 99, step: "any", value: 10 });
  const size = h("input", { type: "number", min: 1, max: 1e9, step: 1, required: true });
  const tag = h("input", { maxlength: 200, autocomplete: "off" });
  const enroll = h("input", { type: "checkbox", id: "enroll" });
  const promote = h("input", { type: "checkbox", id: "promote" });
  const told = h("p", { class: "plan", id: "plan", "aria-live": "polite" });
  const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
  const button = h("button", { type: "submit" }, "Start it");

  let waiting = 0;
  let asked = 0;
  const plan = (by: "effect" | "size", inMs = PAUSE_MS): void => {
    asked++; // what was asked before answers something else
    clearTimeout(waiting);
    waiting = window.setTimeout(() => told.isConnected && void look(by), inMs);
  };
  const look = async (by: "effect" | "size"): Promise<void> => {
    const given = Number(by === "effect" ? effect.value : size.value);
    if (!given || given < 0) return;
    const mine = ++asked;
    try {
      const wanted =
        by === "effect" ? { minimum_detectable_effect: given / 100 } : { sample_size: given };
      const found = await ask<Plan>("/experiments/plan", wanted);
      if (mine !== asked) return;
      if (by === "effect") size.value = String(found.sample_size);
      else effect.value = String(Number((100 * found.minimum_detectable_effect).toPrecision(3)));
      told.textContent = words(found);
    } catch (error) {
      if (mine !== asked) return;
      told.textContent = explain(error);
      plan(by, AGAIN_MS);
    }
  };
  effect.addEventListener("input", () => plan("effect"));
  size.addEventListener("input", () => plan("size"));
  document.addEventListener("key-given", () => plan("effect"), { once: true });
  void look("effect");

  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    trouble.hidden = true;
    button.disabled = true;
    try {
      const made = await ask<Experiment>("/experiments", {
        name: name.value,
        hypothesis: hypothesis.value,
        control_strategy: control.strategy,
        control_parameters: control.parameters,
        test_strategy: test.strategy,
        test_parameters: test.parameters,
        sample_size: Number(size.value),
        enroll: enroll.checked,
        auto_promote: promote.checked,
        scope: { tag: tag.value },
      });
      if (told.isConnected) location.hash = `#/experiments/${made.id}`;
    } catch (error) {
      trouble.textContent = explain(error);
      trouble.hidden = false;
    }
    button.disabled = false;
  };

  return h(
    "form",
    { class: "grid", submit: (event) => void send(event) },
    field("name", "Name", name),
    field("hypothesis", "Hypothesis", hypothesis),
    control.element,
    test.element,
    field("effect", "Change of cost to find, %", effect),
    field("size", "Results, all arms together", size),
    field("tag", "Only requests tagged", tag, "x-optimizer-tag; empty: any"),
    h(
      "div",
      { class: "field" },
      check(enroll, "Users join by themselves"),
      check(promote, "Make a safe winner the default"),
    ),
    told,
    trouble,
    h("p", { class: "actions" }, button),
  );
}

function check(input: HTMLInputElement, label: string): HTMLElement {
  return h("span", { class: "check" }, input, h("label", { for: input.id }, label));
}

function words(found: Plan): string {
  const days = found.days === null ? "" : `, about ${Math.max(1, Math.ceil(found.days))} days at today's traffic`;
  const assumed = found.measured ? "" : " Assumed: too few users with a name to tell by yet.";
  return (
    `Finds a change of ${percent(found.minimum_detectable_effect)} four times of five with ` +
    `${count(found.requests)} results of ${count(found.users)} users${days}.${assumed}`
  );
}
