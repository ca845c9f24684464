/** The frame around the views: where one is, light or dark, the key, and whether all is well. */

import "./style.css";
import { key, setKey, wanted } from "./api";
import { fill, h } from "./dom";
import { fresh } from "./freshness";
import { link } from "./link";
import type { Stop } from "./repeat";
import { experiment } from "./views/experiment";
import { experiments } from "./views/experiments";
import { live } from "./views/live";
import { models } from "./views/models";

export type View = (root: HTMLElement, argument: string) => Stop;

const VIEWS: Record<string, { title: string; show: View }> = {
  live: { title: "Live", show: live },
  experiments: {
    title: "Experiments",
    show: (root, id) => (id ? experiment(root, id) : experiments(root, id)),
  },
  models: { title: "Models", show: models },
};
const THEME = "optimizer.theme";

const main = h("main", { id: "main", tabindex: -1 });
const links = Object.entries(VIEWS).map(([name, { title }]) =>
  h("a", { href: `#/${name}`, "data-view": name }, title),
);
let leave: Stop = () => undefined;

function show(first = false): void {
  const [, wantedName = "live", argument = ""] = location.hash.split("/");
  const name = wantedName in VIEWS ? wantedName : "live";
  const view = VIEWS[name];
  if (!view) return;
  leave();
  for (const open of document.querySelectorAll("dialog")) open.close(); // they belong to a view
  document.title = `${view.title} · AI cost optimizer`;
  for (const one of links) {
    if (one.dataset["view"] === name) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  const root = h("div", { class: "view" });
  fill(main, root);
  leave = view.show(root, argument);
  if (!first) main.focus();
}

function themeButton(): HTMLElement {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = h("button", { class: "ghost", type: "button" });
  const apply = (): void => {
    const now = localStorage.getItem(THEME) ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset["theme"] = now;
    button.textContent = now === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use the ${now === "dark" ? "light" : "dark"} colours`);
    document.dispatchEvent(new Event("theme"));
  };
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset["theme"] === "dark" ? "light" : "dark";
    localStorage.setItem(THEME, now);
    apply();
  });
  dark.addEventListener("change", apply);
  apply();
  return button;
}

function keyForm(): HTMLElement {
  const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const forget = h("button", { type: "button", class: "ghost", hidden: true }, "Forget the key");
  const told = h("p", {}, "This gateway wants a key. It stays in this tab until you close it.");
  const give = (event: Event): void => {
    event.preventDefault();
    setKey(input.value.trim());
    input.value = "";
    forget.hidden = false;
    form.hidden = true;
    document.dispatchEvent(new Event("key-given"));
  };
  const form = h(
    "form",
    { class: "key", hidden: true, submit: give, "aria-label": "Key" },
    told,
    h("label", { for: "key" }, "Key"),
    input,
    h("button", { type: "submit" }, "Use it"),
  );
  wanted.addEventListener("key", () => {
    if (key()) {
      setKey("");
      told.textContent = "The gateway does not know this key.";
    }
    forget.hidden = true;
    if (form.hidden) {
      form.hidden = false;
      input.focus();
    }
  });
  forget.addEventListener("click", () => {
    setKey("");
    location.reload();
  });
  forget.hidden = !key();
  return h("div", { class: "keys" }, form, forget);
}

fill(
  document.body,
  h("a", { class: "skip", href: "#main", click: skip }, "Skip to the content"),
  h(
    "header",
    {},
    h("h1", {}, "AI cost optimizer"),
    h("nav", { "aria-label": "Views" }, ...links),
    fresh.element,
    themeButton(),
  ),
  keyForm(),
  main,
);
addEventListener("hashchange", () => show());
show(true);
link.open();

function skip(event: Event): void {
  event.preventDefault(); // the address says which view this is
  main.focus();
}
