/** Lines over time with uPlot: in the page's colours, as wide as their place, told in words too. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { fill, h } from "./dom";

export interface Line {
  name: string;
  colour: string; // a CSS variable's name
  fill?: boolean;
  dashed?: boolean;
  width?: number;
}

export interface ChartOptions {
  title: string;
  lines: Line[];
  format: (value: number) => string;
  xFormat?: (value: number) => string; // without it x is time
  band?: [number, number]; // lines (1-based) that a tinted area joins: upper, lower
  zero?: boolean | undefined; // keep 0 in sight, with a line there
  max?: number | undefined;
  within?: [number, number] | undefined; // what lies outside runs off the chart instead of flattening it
}

type Columns = (number | null)[][];

export class Chart {
  readonly element: HTMLElement;
  private readonly host = h("div", { class: "plot" });
  private readonly legend = h("p", { class: "legend" });
  private readonly where = h("span"); // which moment the legend tells, while one points at it
  private plot: uPlot | null = null;
  private data: Columns = [];
  private shownLines = "";
  private readonly watch = new ResizeObserver(() => this.fit());
  private readonly redraw = (): void => this.make();

  constructor(private options: ChartOptions) {
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, options.title, this.where),
      this.host,
      this.legend,
    );
    this.host.setAttribute("role", "img");
    this.watch.observe(this.host);
    document.addEventListener("theme", this.redraw);
  }

  /** Show columns: x first, then one for each line. */
  set(data: Columns, lines: Line[] = this.options.lines): void {
    const now = JSON.stringify(lines);
    this.data = data;
    this.options = { ...this.options, lines };
    const few = (data[0]?.length ?? 0) < FEW;
    if (this.plot && now === this.shownLines && !few && this.known) this.plot.setData(data as uPlot.AlignedData);
    else this.make();
    this.shownLines = now;
    this.tell(null);
  }

  destroy(): void {
    this.watch.disconnect();
    document.removeEventListener("theme", this.redraw);
    this.plot?.destroy();
  }

  private get known(): boolean {
    return this.data.slice(1).some((line) => line.some((value) => value !== null));
  }

  private tell(index: number | null): void {
    const { lines, format, title, xFormat = hourAndMinute } = this.options;
    const x = index === null ? null : this.data[0]?.[index];
    fill(this.where, x == null ? null : ` · at ${xFormat(x)}`);
    const known = (column: (number | null)[]) =>
      index === null ? column.findLast((value) => value !== null) : column[index];
    const told = lines.map((line, at) => {
      const value = known(this.data[at + 1] ?? []);
      return [line, value == null ? "–" : format(value)] as const;
    });
    fill(
      this.legend,
      ...told.map(([line, value]) =>
        h(
          "span",
          {},
          h("i", { class: `swatch ${line.colour}`, "aria-hidden": "true" }),
          `${line.name} `,
          h("b", {}, value),
        ),
      ),
    );
    if (index === null) {
      const words = told.map(([line, value]) => `${line.name} ${value}`).join(", ");
      this.host.setAttribute("aria-label", `${title}; newest: ${words}`);
    }
  }

  private fit(): void {
    const width = this.host.clientWidth;
    if (width && !this.plot) this.make();
    else if (width && this.plot && this.plot.width !== width) {
      this.plot.setSize({ width, height: this.plot.height });
    }
  }

  private make(): void {
    this.plot?.destroy();
    this.plot = null;
    const width = this.host.clientWidth;
    if (!width || !this.data.length) return;
    if (!this.known) {
      fill(this.host, h("p", { class: "empty" }, "Nothing to draw yet."));
      return;
    }
    fill(this.host);
    const { lines, format, xFormat, band, zero, max, within } = this.options;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: colour("quiet"),
      font: "11px system-ui, sans-serif",
      grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false },
    };
    const options: uPlot.Options = {
      width,
      height: 180,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      padding: [8, 20, 0, 0],
      scales: {
        x: { time: !xFormat },
        y: { range: (_, low, high) => range(low, high, { zero, max, within }) },
      },
      axes: [
        { ...axis, size: 28, space: 70, ...(xFormat ? { values: (_, all) => all.map(xFormat) } : CLOCK) },
        { ...axis, size: 64, space: 34, values: (_, all) => all.map(format) },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.name,
          stroke: colour(line.colour),
          width: line.width ?? 1.75,
          spanGaps: false,
          points: { show: (this.data[0]?.length ?? 0) < FEW, size: 5, filter: marked },
          ...(line.fill ? { fill: `${colour(line.colour)}26` } : {}),
          ...(line.dashed ? { dash: [4, 4] } : {}),
        })),
      ],
      hooks: {
        setCursor: [(plot) => this.tell(plot.cursor.idx ?? null)],
        drawAxes: zero ? [(plot) => drawZero(plot, colour("quiet"))] : [],
      },
    };
    if (band) options.bands = [{ series: band, fill: `${colour(lines[0]?.colour ?? "c1")}26` }];
    this.plot = new uPlot(options, this.data as uPlot.AlignedData, this.host);
  }
}

const FEW = 8; // points: so few are marked, for one alone makes no line

/** Return which points are marked where not all are: those with nothing on either side make no line. */
function marked(plot: uPlot, line: number, all: boolean): number[] | null {
  if (all) return null;
  const values = plot.data[line] ?? [];
  const alone = (at: number) => values[at] != null && values[at - 1] == null && values[at + 1] == null;
  return [...values.keys()].filter(alone);
}

const hourAndMinute = (s: number): string => new Date(s * 1000).toLocaleTimeString("en-GB").slice(0, 5);

const CLOCK = { values: (_: uPlot, all: number[]) => all.map(hourAndMinute) };

function range(
  low: number | null,
  high: number | null,
  { zero, max, within }: Pick<ChartOptions, "zero" | "max" | "within">,
): [number, number] {
  if (max !== undefined) return [0, max];
  if (low === null || high === null) return [0, 1];
  const [least, most] = within ?? [-Infinity, Infinity];
  const bottom = Math.max(least, Math.min(0, low));
  const top = Math.min(most, zero ? Math.max(0, high) : high);
  const room = (top - bottom || 1) * 0.08;
  return [bottom < 0 ? bottom - room : bottom, top + room];
}

function drawZero(plot: uPlot, colour: string): void {
  const y = plot.valToPos(0, "y", true);
  const { left, width } = plot.bbox;
  plot.ctx.save();
  plot.ctx.strokeStyle = colour;
  plot.ctx.beginPath();
  plot.ctx.moveTo(left, y);
  plot.ctx.lineTo(left + width, y);
  plot.ctx.stroke();
  plot.ctx.restore();
}
