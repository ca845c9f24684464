/** Do something again and again: while somebody looks, and less often while it fails. */

const FIRST_MS = 5000; // at most, before a look that failed is repeated
const MOST_MS = 30_000;

export type Stop = () => void;

export interface Repeated {
  stop: Stop;
  now: () => void;
}

export function repeat(work: () => Promise<unknown>, everyMs: number): Repeated {
  let timer = 0;
  let failures = 0;
  let busy = false;
  let again = false; // asked for while busy: what comes in may be older than the wish
  let stopped = false;

  const run = async (): Promise<void> => {
    if (busy || stopped) return;
    clearTimeout(timer);
    busy = true;
    try {
      await work();
      failures = 0;
    } catch {
      failures += 1; // whoever works has shown it
    }
    busy = false;
    if (again) {
      again = false;
      void run();
    } else if (!stopped && !document.hidden) {
      const patience = Math.min(MOST_MS, Math.min(everyMs, FIRST_MS) * 2 ** failures);
      timer = window.setTimeout(run, failures ? patience : everyMs);
    }
  };
  const looked = (): void => {
    if (!document.hidden) void run();
  };
  const now = (): void => {
    failures = 0;
    again = busy;
    void run();
  };
  document.addEventListener("visibilitychange", looked);
  document.addEventListener("key-given", now);
  void run();
  return {
    now,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", looked);
      document.removeEventListener("key-given", now);
    },
  };
}
