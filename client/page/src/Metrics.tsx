// The server's live numbers, asked for every two seconds while somebody can see them.

import { type ReactElement, useEffect, useState } from "react";
import { FailureLine, FailureNote } from "./FailureNote.js";
import {
  CAPACITY,
  drawn,
  type MetricsAnswer,
  type Quantiles,
  type RedisInstance,
  SERIES,
  type Series,
} from "./metrics.js";
import { Sparkline } from "./Sparkline.js";
import { usePolled } from "./usePolled.js";
import { atSecond, bytes, count, duration } from "./words.js";

const EVERY_MS = 2000;

export function Metrics(): ReactElement {
  const { data, failure, at } = usePolled<MetricsAnswer>("/api/notifications/metrics/redis", EVERY_MS);
  const answers = useLast(data);
  return (
    <section className="card" aria-labelledby="metrics-title">
      <div className="card-head">
        <h2 id="metrics-title">Metrics</h2>
        <p className="card-note numbers">
          {failure && data && <FailureLine failure={failure} />}
          {at ? `${failure ? "Last seen" : "As of"} ${atSecond(at)}` : failure ? "Not available" : "Loading…"}
        </p>
      </div>
      {failure && !data && <FailureNote title="No numbers." failure={failure} />}
      {data?.degraded && (
        <p className="note wait">
          Degraded: something the service would like to have is away. What is accepted is safe all the same.
        </p>
      )}
      {(data || !failure) && (
        <>
          <ul
            className={failure ? "tiles stale" : "tiles"}
            aria-label="Counts of the last 60 minutes and states of now"
          >
            {SERIES.map((series) => (
              <Tile key={series.name} series={series} answer={data} answers={answers} />
            ))}
          </ul>
          <div className="facts-row">
            <Latency name="Time to accept" quantiles={data?.accepted ? data.latency?.acceptMs : null} />
            <Latency name="Time to deliver" quantiles={data?.delivered ? data.latency?.deliverMs : null} />
            <Fact name="Behind with storing" value={data ? orDash(data.persistLagMs, duration) : "—"} />
            <Fact name="Redis" value={data?.redis?.mode ?? "—"} />
          </div>
          {data?.redis?.instances && data.redis.instances.length > 0 && <Instances of={data.redis.instances} />}
        </>
      )}
    </section>
  );
}

// The last answers; a pause while hidden or an error leaves no hole, since time is not the measure of the charts.
function useLast(data: MetricsAnswer | null): readonly MetricsAnswer[] {
  const [answers, setAnswers] = useState<readonly MetricsAnswer[]>([]);
  useEffect(() => {
    if (data) setAnswers((last) => [...last.slice(-CAPACITY), data]);
  }, [data]);
  return answers;
}

interface TileProps {
  series: Series;
  answer: MetricsAnswer | null;
  answers: readonly MetricsAnswer[];
}

function Tile({ series, answer, answers }: TileProps): ReactElement {
  const value = answer && series.of(answer);
  const alarming = series.alarming && (value ?? 0) > 0;
  return (
    <li className={alarming ? "tile alarming" : "tile"}>
      <p className="tile-name">{series.name}</p>
      <p className="tile-value numbers">{orDash(value, series.unit === "ms" ? duration : count)}</p>
      <Sparkline
        values={drawn(series, answers)}
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
        <span className="for-listeners">, </span>
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
  return (
    // A region that scrolls must be reachable by keyboard.
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
    <section className="scrolls" aria-label="Redis instances" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">Redis instance</th>
            <th scope="col">Breaker</th>
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
                <small>
                  {instance.role ?? ""} {instance.healthy ? "healthy" : "unhealthy"}
                  {instance.lastError ? `: ${instance.lastError}` : ""}
                </small>
              </th>
              <td>{instance.breaker ?? "—"}</td>
              <td className="right numbers">{orDash(instance.operations, count)}</td>
              <td className="right numbers">{orDash(instance.errors, count)}</td>
              <td className="right numbers">
                {orDash(instance.p50Ms, duration)} / {orDash(instance.p99Ms, duration)}
              </td>
              <td className="right numbers">{orDash(instance.usedMemoryBytes, bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function orDash(value: number | null | undefined, write: (value: number) => string): string {
  return typeof value === "number" ? write(value) : "—";
}
