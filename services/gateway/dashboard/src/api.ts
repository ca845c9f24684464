/** Calls to the gateway this page came from. */

const KEY = "optimizer.key";
const PATIENCE_MS = 20_000;

export class Refusal extends Error {
  constructor(
    readonly status: number, // 0: nobody answered
    message: string,
  ) {
    super(message);
  }
}

export const key = (): string => sessionStorage.getItem(KEY) ?? "";

export function setKey(value: string): void {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

/** Told whenever the gateway wants a key that it was not given. */
export const wanted = new EventTarget();

export async function ask<T>(path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  const given = key();
  if (given) headers["authorization"] = `Bearer ${given}`;
  const request: RequestInit = { headers, signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" };
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    Object.assign(request, { method: "POST", body: JSON.stringify(body) });
  }
  let answer: Response;
  try {
    answer = await fetch(path, request);
    if (answer.ok) return (await answer.json()) as T;
  } catch {
    throw new Refusal(0, "The gateway does not answer.");
  }
  if (answer.status === 401) {
    if (given !== key()) return ask<T>(path, body); // a key came meanwhile, and is not to blame
    wanted.dispatchEvent(new Event("key"));
  }
  throw new Refusal(answer.status, await reason(answer));
}

async function reason(answer: Response): Promise<string> {
  try {
    const told = (await answer.json()) as { detail?: unknown; error?: { message?: unknown } };
    const message = told.detail ?? told.error?.message;
    if (typeof message === "string") return message;
  } catch {
    // not ours: something stands between us and the gateway
  }
  return `The gateway refused this (${answer.status}).`;
}

/** Say why something cannot be shown, in words for whoever looks. */
export function explain(error: unknown): string {
  if (!(error instanceof Refusal)) return "Something unforeseen happened; reload the page.";
  if (error.status === 401) return "This needs a key.";
  if (error.status === 403) return `No permission: ${error.message}`;
  return error.message;
}
