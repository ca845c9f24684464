/** Figures as people read them. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const NOTHING = "–";
type Maybe = number | null | undefined;

export const count = (n: Maybe): string =>
  n == null ? NOTHING : Math.abs(n) < 100_000 ? whole.format(n) : compact.format(n);

export const number = (n: Maybe): string => (n == null ? NOTHING : fine.format(n));

export function usd(n: Maybe): string {
  if (n == null) return NOTHING;
  const size = Math.abs(n);
  const digits = size === 0 || size >= 1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size)));
  const text = size >= 10_000 ? whole.format(size) : size.toFixed(digits);
  return `${n < 0 ? "−" : ""}$${text}`;
}

/** What single requests cost: to a millionth, so that they can be compared in a column. */
export function small(n: Maybe): string {
  const size = Math.abs(n ?? 0);
  if (!n || size >= 1) return usd(n);
  return `${n < 0 ? "−" : ""}$${size.toFixed(size < 1e-6 ? 9 : 6)}`; // what costs little is not free
}

/** A price for a million tokens. */
export const price = (n: Maybe): string =>
  n == null ? NOTHING : `$${n.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 })}`;

export function percent(ratio: Maybe, digits = 1): string {
  return ratio == null ? NOTHING : `${(100 * ratio).toFixed(digits).replace("-", "−")} %`;
}

export function change(ratio: Maybe): string {
  if (ratio == null) return NOTHING;
  return (ratio > 0 ? "+" : "") + percent(ratio);
}

export function ms(n: Maybe): string {
  if (n == null) return NOTHING;
  return n < 1000 ? `${n && n < 10 ? n.toFixed(1) : n.toFixed(0)} ms` : `${(n / 1000).toFixed(2)} s`;
}

export function age(seconds: number): string {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

export const clock = (rfc3339: string): string =>
  new Date(rfc3339).toLocaleTimeString("en-GB", { hour12: false });

/** Day and time of whoever looks: near midnight the day is another one than in UTC. */
export function moment(rfc3339: string | null): string {
  if (!rfc3339) return NOTHING;
  const at = new Date(rfc3339);
  const day = [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((n) => String(n).padStart(2, "0"));
  return `${day.join("-")} ${clock(rfc3339).slice(0, 5)}`;
}

/** A name of one of our fields, as words. */
export const words = (name: string): string => name.replaceAll("_", " ");
