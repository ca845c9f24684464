/** The newest snapshot: pushed over the live socket, or asked for where there can be none. */

import { ask, explain, key, Refusal, wanted } from "./api";
import { fresh } from "./freshness";
import { repeat, type Stop } from "./repeat";
import type { Snapshot } from "./types";

const POLL_MS = 5000;
const MOST_MS = 30_000;
const INTERVAL_S = 2;
const FEW = 4; // losses in a row after which there may be no socket at all

type Listener = (snapshot: Snapshot) => void;
type Lost = (why: string) => void; // told while there is no snapshot to show

class Link {
  newest: Snapshot | null = null;
  private readonly listeners = new Map<Listener, Lost>();
  private why = "";
  private socket: WebSocket | null = null;
  private timer = 0;
  private stopPolling: Stop = () => undefined;
  private round = 0; // answers to an earlier round's polls come too late
  private failures = 0;

  constructor() {
    document.addEventListener("key-given", () => this.open());
    wanted.addEventListener("key", () => {
      this.close();
      this.trouble("warn", "Waiting for a key", "This needs a key.");
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.socket) this.open();
    });
  }

  listen(listener: Listener, lost: Lost): () => void {
    this.listeners.set(listener, lost);
    if (this.newest) listener(this.newest);
    else if (this.why) lost(this.why);
    return () => this.listeners.delete(listener);
  }

  open(): void {
    this.close();
    if (key()) {
      this.poll("Polling every 5 s: browsers cannot send a key over the live socket");
      return;
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/metrics/live?interval=${INTERVAL_S}`);
    this.socket = socket;
    socket.onmessage = (event: MessageEvent<string>) => {
      this.failures = 0;
      this.unpoll();
      this.take(JSON.parse(event.data) as Snapshot);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.lost();
    };
  }

  private close(): void {
    clearTimeout(this.timer);
    this.unpoll();
    const socket = this.socket;
    this.socket = null; // so that its end is nobody's loss
    socket?.close();
  }

  private lost(): void {
    const wait = Math.min(MOST_MS, 1000 * 2 ** this.failures++);
    if (this.failures < FEW) {
      this.trouble("bad", `Disconnected, trying again in ${Math.round(wait / 1000)} s`, "The gateway does not answer.");
    } else this.poll("Polling every 5 s: the live socket cannot be opened");
    this.timer = window.setTimeout(() => this.open(), wait);
  }

  private unpoll(): void {
    this.stopPolling();
    this.round++;
  }

  private poll(why: string): void {
    const mine = this.round;
    const look = async (): Promise<void> => {
      try {
        const snapshot = await ask<Snapshot>("/routing/metrics");
        if (mine === this.round) this.take(snapshot, why);
      } catch (error) {
        if (mine !== this.round) return;
        const told = explain(error);
        if (!(error instanceof Refusal) || !error.status) this.trouble("bad", `Disconnected: ${told}`, told);
        else if (error.status !== 401) this.trouble("warn", told, told); // it answers; a key is asked for above
      }
    };
    this.stopPolling = repeat(look, POLL_MS).stop;
  }

  private take(snapshot: Snapshot, how?: string): void {
    if (snapshot.source === "none") {
      const told = snapshot.detail ?? "Metrics are away";
      this.trouble("warn", told, told);
      return;
    }
    const polled = snapshot.source === "poll";
    fresh.say(
      how || polled ? "warn" : "good",
      how ?? (polled ? "Live, but Redis is away: looked up every 5 s" : "Live"),
    );
    fresh.seen();
    this.newest = snapshot;
    for (const listener of this.listeners.keys()) listener(snapshot);
  }

  private trouble(state: "warn" | "bad", said: string, why: string): void {
    fresh.say(state, said);
    this.why = why;
    if (!this.newest) for (const lost of this.listeners.values()) lost(why);
  }
}

export const link = new Link();
