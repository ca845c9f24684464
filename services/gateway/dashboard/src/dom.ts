/** Elements, made of text only: nothing here ever reads markup. */

export type Child = Node | string | number | null | undefined | false;
type Props = Record<string, string | number | boolean | null | undefined | ((event: Event) => void)>;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  fill(element, ...children);
  return element;
}

export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(
    ...children
      .filter((c): c is Node | string | number => c !== null && c !== undefined && c !== false)
      .map((c) => (typeof c === "number" ? String(c) : c)),
  );
}

/** A figure whose exact value can be read off, by people who copy it and by tests. */
export function figure(shown: string, exact: number | string | null | undefined): HTMLElement {
  return h("data", { value: exact ?? "" }, shown);
}

export interface Column<T> {
  name: string;
  cell: (row: T) => Child;
  numeric?: boolean;
}

/** A table that scrolls sideways by itself where the screen is narrow. */
export function table<T>(caption: string, columns: Column<T>[], rows: T[]): HTMLElement {
  const kind = (column: Column<T>) => (column.numeric ? "number" : null);
  const head = h("tr", {}, ...columns.map((c) => h("th", { scope: "col", class: kind(c) }, c.name)));
  const body = rows.map((row) =>
    h("tr", {}, ...columns.map((c) => h("td", { class: kind(c) }, c.cell(row)))),
  );
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, head),
      h("tbody", {}, ...body),
    ),
  );
}

export function badge(text: string, kind: "good" | "bad" | "warn" | "plain" = "plain"): HTMLElement {
  return h("span", { class: `badge ${kind}` }, text);
}

export function empty(text: string): HTMLElement {
  return h("p", { class: "empty" }, text);
}
