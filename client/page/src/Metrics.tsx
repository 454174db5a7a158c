// The server's live metrics, polled every two seconds while the page is visible.

import { type ReactElement, useEffect, useState } from "react";
import { FailureLine, FailureNote } from "./FailureNote.js";
import { atSecond, bytes, count, duration } from "./format.js";
import {
  CAPACITY,
  type MetricsResponse,
  type Quantiles,
  type RedisInstance,
  SERIES,
  type Series,
  valuesOf,
} from "./metrics.js";
import { Sparkline } from "./Sparkline.js";
import { usePolled } from "./usePolled.js";

const EVERY_MS = 2000;

export function Metrics(): ReactElement {
  const { data, failure, at } = usePolled<MetricsResponse>("/api/notifications/metrics/redis", EVERY_MS);
  const responses = useHistory(data);
  return (
    <section className="card" aria-labelledby="metrics-title">
      <div className="card-head">
        <h2 id="metrics-title">Metrics</h2>
        <p className="card-note numbers">
          {at ? `${failure ? "Last seen" : "As of"} ${atSecond(at)}` : failure ? "Not available" : "Loading…"}
          {failure && data && <FailureLine failure={failure} />}
        </p>
      </div>
      {failure && !data && <FailureNote title="Could not load the metrics." failure={failure} />}
      {data?.degraded && (
        <p className="note wait">Degraded: a component is unavailable. Accepted notifications are still safe.</p>
      )}
      {(data || !failure) && (
        <>
          <ul
            className={failure ? "tiles stale" : "tiles"}
            aria-label="Counts of the last 60 minutes, and current values"
          >
            {SERIES.map((series) => (
              <Tile key={series.name} series={series} response={data} responses={responses} />
            ))}
          </ul>
          <div className="facts-row">
            <Latency name="Time to accept" quantiles={data?.accepted ? data.latency?.acceptMs : null} />
            <Latency name="Time to deliver" quantiles={data?.delivered ? data.latency?.deliverMs : null} />
            <Fact name="Storage lag" value={data ? orDash(data.persistLagMs, duration) : "—"} />
            <Fact name="Redis" value={data?.redis?.mode ?? "—"} />
          </div>
          {data?.redis?.instances && data.redis.instances.length > 0 && <Instances of={data.redis.instances} />}
        </>
      )}
    </section>
  );
}

// The last responses. The charts have no time axis, so a pause while hidden or an error leaves no gap.
function useHistory(data: MetricsResponse | null): readonly MetricsResponse[] {
  const [responses, setResponses] = useState<readonly MetricsResponse[]>([]);
  useEffect(() => {
    if (data) setResponses((last) => [...last.slice(-CAPACITY), data]);
  }, [data]);
  return responses;
}

interface TileProps {
  series: Series;
  response: MetricsResponse | null;
  responses: readonly MetricsResponse[];
}

function Tile({ series, response, responses }: TileProps): ReactElement {
  const value = response && series.of(response);
  const alarming = series.alarming && (value ?? 0) > 0;
  return (
    <li className={alarming ? "tile alarming" : "tile"}>
      <p className="tile-name">{series.name}</p>
      <p className="tile-value numbers">{orDash(value, series.unit === "ms" ? duration : count)}</p>
      <Sparkline
        values={valuesOf(series, responses)}
        capacity={CAPACITY}
        kind={series.kind === "counter" ? "bars" : "line"}
      />
    </li>
  );
}

function Latency({ name, quantiles }: { name: string; quantiles: Quantiles | null | undefined }): ReactElement {
  return (
    <div className="fact">
      <h3>{name}</h3>
      <p className="numbers">
        {orDash(quantiles?.p50, duration)} <small>p50</small>
        <span className="visually-hidden">, </span>
        <span className="fact-next">
          {orDash(quantiles?.p99, duration)} <small>p99</small>
        </span>
      </p>
    </div>
  );
}

function Fact({ name, value }: { name: string; value: string }): ReactElement {
  return (
    <div className="fact">
      <h3>{name}</h3>
      <p className="numbers">{value}</p>
    </div>
  );
}

function Instances({ of }: { of: readonly RedisInstance[] }): ReactElement {
  const awaySince = useAwaySince(of);
  return (
    // A scrollable region must be reachable by keyboard.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the region is scrollable
    <section className="scrolls" aria-label="Redis instances" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">Redis instance</th>
            <th scope="col">Breaker</th>
            <th scope="col">Share</th>
            <th scope="col" className="right">
              Operations
            </th>
            <th scope="col" className="right">
              Errors
            </th>
            <th scope="col" className="right">
              p50 / p99
            </th>
            <th scope="col" className="right">
              Memory
            </th>
          </tr>
        </thead>
        <tbody>
          {of.map((instance) => (
            <tr key={instance.name}>
              <th scope="row">
                <span className={`dot ${instance.healthy ? "good" : "bad"}`} aria-hidden="true" /> {instance.name}{" "}
                <small>{state(instance, awaySince.get(instance.name))}</small>
              </th>
              <td>{instance.breaker ?? "—"}</td>
              <td className="numbers">
                <Share of={instance.share} />
              </td>
              <td className="right numbers">{orDash(instance.operations, count)}</td>
              <td className="right numbers">{orDash(instance.errors, count)}</td>
              <td className="right numbers">
                {orDash(instance.p50Ms, duration)} / {orDash(instance.p99Ms, duration)}
              </td>
              <td className="right numbers">
                {orDash(instance.usedMemoryBytes, bytes)}
                {typeof instance.maxMemoryBytes === "number" && ` of ${bytes(instance.maxMemoryBytes)}`}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** What is kept at an instance just now, which moves to the others while it is away. */
function Share({ of }: { of: number | null | undefined }): ReactElement {
  const percent = typeof of === "number" ? Math.round(of * 100) : null;
  return (
    <>
      <span className="share" aria-hidden="true">
        <span style={{ inlineSize: `${percent ?? 0}%` }} />
      </span>{" "}
      {orDash(percent, (percent) => `${percent} %`)}
    </>
  );
}

function state({ role, healthy, lastError }: RedisInstance, awaySince: Date | undefined): string {
  const health = healthy ? "healthy" : awaySince ? `away since ${atSecond(awaySince)}` : "away";
  const error = lastError && (healthy ? ` (last error: ${lastError})` : `: ${lastError}`);
  return `${role ? `${role} ` : ""}${health}${error ?? ""}`;
}

// Since when each instance that is away has been seen away.
function useAwaySince(instances: readonly RedisInstance[]): ReadonlyMap<string, Date> {
  const [since, setSince] = useState<ReadonlyMap<string, Date>>(new Map());
  useEffect(() => {
    const away = instances.filter(({ healthy }) => !healthy);
    setSince((last) => new Map(away.map(({ name }) => [name, last.get(name) ?? new Date()])));
  }, [instances]);
  return since;
}

function orDash(value: number | null | undefined, format: (value: number) => string): string {
  return typeof value === "number" ? format(value) : "—";
}
