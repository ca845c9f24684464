/** How old is what is shown, and are we connected? One line for the whole page. */

import { fill, h } from "./dom";
import { age } from "./format";

const STALE_S = 20;

class Freshness {
  readonly element = h("p", { class: "link", role: "status" });
  private readonly dot = h("span", { class: "dot", "aria-hidden": "true" });
  private readonly said = h("span");
  private readonly old = h("span", { class: "old", "aria-live": "off" });
  private state: "good" | "warn" | "bad" = "warn";
  private last = 0;

  constructor() {
    fill(this.element, this.dot, this.said, this.old);
    this.say("warn", "Connecting");
    setInterval(() => this.tick(), 1000);
  }

  say(state: "good" | "warn" | "bad", text: string): void {
    this.state = state;
    if (this.said.textContent !== text) this.said.textContent = text;
    this.tick();
  }

  seen(): void {
    this.last = Date.now();
    this.tick();
  }

  private tick(): void {
    const seconds = (Date.now() - this.last) / 1000;
    const stale = this.last > 0 && seconds > STALE_S;
    this.dot.className = `dot ${stale && this.state === "good" ? "warn" : this.state}`;
    this.old.textContent =
      this.last === 0 ? "" : stale ? `stale, ${age(seconds)} old` : `updated ${age(seconds)} ago`;
  }
}

export const fresh = new Freshness();
