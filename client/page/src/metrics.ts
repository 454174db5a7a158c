// The metrics of the server, and the series that the charts draw.

/** The metrics response. Any field may be missing, with an older server or a store that does not count it. */
export interface MetricsResponse {
  readonly queue?: Partial<Record<"waiting" | "processing" | "delayed" | "deadLetters" | "oldestMs", number | null>>;
  readonly accepted?: number | null;
  readonly delivered?: number | null;
  readonly retried?: number | null;
  readonly rateLimited?: number | null;
  readonly errors?: number | null;
  readonly connections?: number | null;
  readonly onlineUsers?: number | null;
  readonly persistLagMs?: number | null;
  readonly degraded?: boolean | null;
  readonly redis?: { readonly mode?: string | null; readonly instances?: readonly RedisInstance[] | null } | null;
  readonly database?: Readonly<Record<string, unknown>> | null;
  readonly latency?: Partial<Record<"acceptMs" | "deliverMs", Quantiles | null>> | null;
}

export interface Quantiles {
  readonly p50?: number | null;
  readonly p99?: number | null;
}

export interface RedisInstance {
  readonly name: string;
  readonly healthy?: boolean | null;
  readonly role?: string | null;
  readonly operations?: number | null;
  readonly errors?: number | null;
  readonly p50Ms?: number | null;
  readonly p99Ms?: number | null;
  readonly usedMemoryBytes?: number | null;
  readonly maxMemoryBytes?: number | null;
  readonly share?: number | null;
  readonly breaker?: "closed" | "open" | "probing" | null;
  readonly lastError?: string | null;
}

/** A metric that has a chart. */
export interface Series {
  readonly name: string;
  readonly of: (response: MetricsResponse) => number | null | undefined;
  /** A counter is drawn as its growth, a gauge as its value. */
  readonly kind: "counter" | "gauge";
  readonly unit?: "ms";
  /** Any value above zero is highlighted. */
  readonly alarming?: true;
}

export const SERIES: readonly Series[] = [
  { name: "Accepted", of: (m) => m.accepted, kind: "counter" },
  { name: "Delivered", of: (m) => m.delivered, kind: "counter" },
  { name: "Retried", of: (m) => m.retried, kind: "counter" },
  { name: "Rate limited", of: (m) => m.rateLimited, kind: "counter" },
  { name: "Errors", of: (m) => m.errors, kind: "counter", alarming: true },
  { name: "Connections", of: (m) => m.connections, kind: "gauge" },
  { name: "Users online", of: (m) => m.onlineUsers, kind: "gauge" },
  { name: "Waiting", of: (m) => m.queue?.waiting, kind: "gauge" },
  { name: "Processing", of: (m) => m.queue?.processing, kind: "gauge" },
  { name: "Delayed", of: (m) => m.queue?.delayed, kind: "gauge" },
  { name: "Dead letters", of: (m) => m.queue?.deadLetters, kind: "gauge", alarming: true },
  { name: "Oldest due", of: (m) => m.queue?.oldestMs, kind: "gauge", unit: "ms" },
];

/** The number of responses in a chart. */
export const CAPACITY = 30;

/** The values of a chart. A counter shrinks as its last hour moves on, which is drawn as no growth. */
export function valuesOf(series: Series, responses: readonly MetricsResponse[]): number[] {
  const values = responses.map((response) => series.of(response) ?? 0);
  if (series.kind === "gauge") return values;
  return values.slice(1).map((value, n) => Math.max(0, value - (values[n] ?? value)));
}
