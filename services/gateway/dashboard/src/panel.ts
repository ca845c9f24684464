/** A titled part of a view that loads itself, and says so when it cannot. */

import { ask, explain } from "./api";
import { type Child, fill, h } from "./dom";
import { fresh } from "./freshness";
import { type Repeated, repeat } from "./repeat";

let ids = 0;

export interface Panel {
  element: HTMLElement;
  body: HTMLElement;
  repeated: Repeated;
}

interface Options {
  everyMs?: number;
  always?: boolean;
}

export function section(title: string, ...children: Child[]): HTMLElement {
  const id = `h${++ids}`;
  return h(
    "section",
    { class: "panel", "aria-labelledby": id },
    h("h2", { id }, title),
    ...children,
  );
}

/**
 * Show what `source` answers, a path or a function, again every `everyMs`.
 *
 * It is drawn when it changed, so that rows keep the focus; or `always`.
 */
export function panel<T>(
  title: string,
  source: string | (() => Promise<T>),
  draw: (body: HTMLElement, found: T) => void,
  { everyMs = 5000, always = false }: Options = {},
): Panel {
  const body = h("div", {}, h("p", { class: "loading" }, "Loading"));
  const trouble = h("p", { class: "trouble", role: "status", hidden: true });
  const element = section(title, trouble, body);
  let drawn = "";
  const repeated = repeat(async () => {
    try {
      const found = await (typeof source === "string" ? ask<T>(source) : source());
      fresh.seen();
      const now = JSON.stringify(found);
      if (always || now !== drawn) inPlace(body, () => draw(body, found));
      drawn = now;
      trouble.hidden = true;
    } catch (error) {
      trouble.hidden = false;
      trouble.textContent = drawn ? `${explain(error)} What is shown is old.` : explain(error);
      if (!drawn) fill(body);
      throw error;
    }
  }, everyMs);
  return { element, body, repeated };
}

/** Draw anew, and leave tables scrolled as they were. */
export function inPlace(body: HTMLElement, draw: () => void): void {
  const scrolled = [...body.querySelectorAll(".scroll")];
  const before = scrolled.map((one) => one.scrollLeft);
  const focused = scrolled.findIndex((one) => one === document.activeElement);
  draw();
  const now = [...body.querySelectorAll<HTMLElement>(".scroll")];
  before.forEach((left, at) => now[at]?.scrollTo({ left }));
  if (focused >= 0 && !scrolled[focused]?.isConnected) now[focused]?.focus();
}
