// The alarms of deploy/alarms.yaml, and the metrics that functions publish by lines of their log. CloudWatch waits until
// a threshold is breached for several periods; here one value decides.

import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** The latest value of each metric, by its name. */
export type Published = ReadonlyMap<string, number>;

const COMPARISONS = {
  GreaterThanThreshold: (value: number, threshold: number): boolean => value > threshold,
  LessThanThreshold: (value: number, threshold: number): boolean => value < threshold,
};

interface Alarm {
  readonly Namespace?: string;
  readonly MetricName: string;
  readonly ComparisonOperator: keyof typeof COMPARISONS;
  /** A number, or the parameter that has it. */
  readonly Threshold: number | string;
  readonly TreatMissingData: "breaching" | "notBreaching";
}

interface Template {
  readonly Parameters: Readonly<Record<string, { readonly Default?: number | string }>>;
  readonly Resources: Readonly<Record<string, { readonly Type?: string; readonly Properties?: Alarm }>>;
}

/** A line in the embedded metric format. */
interface Line {
  readonly _aws: {
    readonly Timestamp: number;
    readonly CloudWatchMetrics: readonly {
      readonly Namespace: string;
      readonly Dimensions: readonly (readonly string[])[];
      readonly Metrics: readonly { readonly Name: string }[];
    }[];
  };
  readonly [member: string]: unknown;
}

const template = readFileSync(new URL("../../deploy/alarms.yaml", import.meta.url), "utf8");
// A reference, `!Ref Name`, is read as the name.
const { Parameters, Resources } = parse(template, { logLevel: "error" }) as Template;

/** The alarms on single metrics of Carillon. */
const alarms = Object.entries(Resources).filter(
  ([, { Type, Properties }]) => Type === "AWS::CloudWatch::Alarm" && Properties?.Namespace === "MetricsNamespace",
);

/** The names of the alarms whose threshold these metrics breach. */
export function breached(metrics: Published): string[] {
  const isBreached = ({ MetricName, ComparisonOperator, Threshold, TreatMissingData }: Alarm): boolean => {
    const value = metrics.get(MetricName);
    if (value === undefined) return TreatMissingData === "breaching";
    const threshold = typeof Threshold === "number" ? Threshold : Number(Parameters[Threshold]?.Default);
    return COMPARISONS[ComparisonOperator](value, threshold);
  };
  return alarms.filter(([, { Properties }]) => Properties && isBreached(Properties)).map(([name]) => name);
}

/** What a gateway's log has of the metrics of a namespace that have no dimension, published since a time. */
export function publishedSince(sinceMs: number, log: string, namespace: string): Published {
  const metrics = new Map<string, number>();
  for (const [, json = ""] of log.matchAll(/^\w+\[\d+\] (\{"_aws":.+\})$/gm)) {
    const { _aws, ...members } = JSON.parse(json) as Line;
    if (_aws.Timestamp < sinceMs) continue;
    for (const { Namespace, Dimensions, Metrics } of _aws.CloudWatchMetrics) {
      if (Namespace !== namespace || !Dimensions.some((names) => names.length === 0)) continue;
      for (const { Name } of Metrics) {
        const value = members[Name];
        if (typeof value === "number") metrics.set(Name, value);
      }
    }
  }
  return metrics;
}
