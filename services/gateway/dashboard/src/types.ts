/** What the gateway answers, as far as the page reads it. */

export interface Totals {
  requests: number;
  failures: number;
  cache_hits: number;
  unpriced: number;
  cost: number;
  baseline_cost: number;
  saved: number;
  cache_saved: number;
}

export interface Stats extends Totals {
  today: Totals;
  last_minute: { requests_per_s: number; p95_ms: number | null };
}

export interface Usage {
  count: number;
  avg_cost: number | null;
}

export interface Snapshot {
  source?: string;
  detail?: string;
  total_decisions?: number;
  strategy_performance?: Record<string, Usage>;
  provider_usage?: Record<string, Usage>;
}

type Line = (number | null)[];

export interface Series {
  name: string;
  requests: Line;
  failures: Line;
  cost: Line;
  saved: Line;
  p50_ms: Line;
  p95_ms: Line;
  p99_ms: Line;
}

export interface History {
  times: string[];
  series: Series[];
}

export interface Served {
  request_id: string;
  at: string;
  user_id: string | null;
  strategy: string | null;
  model: string | null;
  outcome: string;
  confidence: string | null;
  cost: number | null;
  baseline_cost: number | null;
  latency_ms: number | null;
  tokens_in: number | null;
  tokens_out: number | null;
  cache_hit: boolean;
  fallbacks: number | null;
  experiment_id: number | null;
  arm: string | null;
}

export interface Candidate {
  model: string;
  tier?: string;
  expected_cost_usd: number | null;
  expected_quality?: number;
  spread?: number;
  lost?: string;
}

export interface Explanation {
  reasoning?: string | null;
  confidence?: string;
  candidates?: Candidate[];
  unfit?: Record<string, string>;
}

export interface Story {
  request: Served;
  decision: Explanation | null;
  attempts: {
    model: string;
    outcome: string;
    cost: number | null;
    latency_ms: number | null;
    error: string | null;
  }[];
  feedback: Record<string, unknown> | null;
}

export interface Verdict {
  winner: string | null;
  reason: string;
  rule: string;
  at: string;
}

export interface Scope {
  tenant: string;
  tag: string;
}

export interface Promotion {
  id: number;
  experiment_id: number;
  scope: Scope;
  arm: string;
  strategy: string;
  parameters: Record<string, unknown>;
  promoted_at: string;
  promoted_by: string;
  reason: string;
  reverted_at: string | null;
  reverted_by: string | null;
}

export interface Experiment {
  id: number;
  name: string;
  hypothesis: string;
  arms: { name: string; strategy: string }[];
  sample_size: number;
  status: "running" | "completed" | "cancelled";
  created_at: string;
  completed_at: string | null;
  verdict: Verdict | null;
  scope: Scope;
  history: { status: string; by: string; reason: string; at: string }[];
}

export interface ArmResults {
  name: string;
  strategy: string;
  count: number;
  users: number;
  avg_cost: number | null;
  avg_latency: number | null;
  avg_quality: number | null;
  failures: number;
  unpriced: number;
}

export interface Effect {
  lift: number | null;
  interval_always_valid: [number | null, number | null];
}

export interface Compared {
  p_value: number | null;
  stopped: boolean;
  metrics: Record<
    string,
    { control: number | null; test: number | null; raw: Effect | null; cuped: Effect | null }
  >;
}

export interface Look {
  arm: string;
  results: number;
  lift: number | null;
  low: number | null;
  high: number | null;
}

export interface Results {
  arms: ArmResults[];
  p_value: number | null;
  winner: string | null;
  stale: boolean;
  verdict: Verdict | null;
  decision_ready: boolean;
  mde?: number | null;
  srm?: {
    p_value: number | null;
    alarm: boolean;
    users: Record<string, number>;
    expected_shares: Record<string, number>;
  };
  comparisons?: Record<string, Compared>;
  guardrails?: Record<string, Record<string, { status: string; margin: number }>>;
  series?: Look[];
}

export interface Plan {
  minimum_detectable_effect: number;
  users: number;
  requests: number;
  sample_size: number;
  days: number | null;
  measured: boolean;
}

export interface Model {
  id: string;
  owned_by: string;
  tier?: string;
  context_tokens?: number;
  price_usd_per_million?: { input: number | null; output: number | null } | null;
}

export interface Models {
  data: Model[];
  baseline_model: string | null;
}

export interface Breaker {
  model: string;
  state: "closed" | "open" | "half_open";
  open_until: string | null;
  reason: string | null;
}

export interface Providers {
  providers: Provider[];
  replica: string | null;
}

export interface Provider {
  name: string;
  enabled: boolean;
  why_off: string | null;
  models: number;
  breakers: Breaker[];
}

export interface Learning {
  models: {
    model: string;
    difficulty: string;
    quality: number | null;
    spread: number | null;
    evidence: number | null;
    outcomes: number;
  }[];
  outcomes: number;
  comparison: { fallen_back: boolean };
}

export interface Decision {
  model: string;
  strategy: string;
  confidence: string;
  reasoning: string | null;
  expected_cost: number | null;
  routing_metadata: Explanation;
}
