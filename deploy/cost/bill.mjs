// The lines of the bill: how much of what, and at which price.

import { DAYS, HOURS } from "./month.mjs";

/** RDS Proxy charges for no fewer ACUs. */
const MIN_PROXY_ACUS = 8;

/** `price` is a name in docs/cost.json, and `amount` a quantity of a month in its unit. */
const LINES = [
  {
    name: "Socket messages",
    formula: "frames in, replies and pushes; all that are counted are below 32 KB",
    price: "websocketMessages",
    amount: ({ month }) => month.frames,
  },
  {
    name: "Socket minutes",
    formula: "hours that sockets are open × 60",
    price: "connectionMinutes",
    amount: ({ month }) => month.openHours * 60,
  },
  {
    name: "HTTP calls",
    formula: "sends, tickets and lists",
    price: "httpCalls",
    amount: ({ month }) => month.httpCalls,
  },
  {
    name: "Event streams",
    formula: "one each 14 min; their time is that of a function",
    price: "restCalls",
    amount: ({ month }) => month.streams,
  },
  {
    name: "Invocations",
    formula: "HTTP calls, frames in, two for each socket, event streams, a drain each minute",
    price: "lambdaCalls",
    amount: ({ month }) => month.invocations,
  },
  {
    name: "Time of functions",
    formula: "(calls × `callMs` + calls that push × `pushMs` + time of drains and event streams) × memory",
    price: "lambdaGbSeconds",
    amount: ({ month, memoryGb }) => month.functionSeconds * memoryGb,
  },
  {
    name: "Database",
    formula: "ACUs × hours × instances: in busy hours statements a second ÷ `statementsPerAcu`, otherwise the least",
    price: ({ parameters }) => (parameters.Database === "rds" ? parameters.RdsInstanceClass : "acuHours"),
    amount: ({ parameters, acus, instances }) => HOURS * instances * (parameters.Database === "rds" ? 1 : acus),
  },
  {
    name: "Database storage",
    formula: "(notifications of `RetentionDays` + messages of `messageMonths`) × bytes, as counted",
    price: ({ parameters }) => (parameters.Database === "rds" ? "rdsGbMonths" : "auroraGbMonths"),
    amount: ({ month, parameters, instances }) => {
      // Instances of Aurora share it.
      if (parameters.Database !== "rds") return instances > 0 ? month.storedGb : 0;
      return instances * Math.max(month.storedGb, Number(parameters.RdsStorageGb));
    },
  },
  {
    name: "Database I/O",
    formula: "statements × `iosPerStatement`",
    price: "auroraIos",
    amount: ({ month, parameters, is }) =>
      parameters.Database === "aurora" ? month.statements * is.iosPerStatement : 0,
  },
  {
    name: "RDS Proxy",
    formula: "ACUs of all instances, 8 at least, × hours",
    price: "proxyAcuHours",
    amount: ({ parameters, acus, instances }) =>
      parameters.DatabaseProxy === "true" ? Math.max(acus * instances, MIN_PROXY_ACUS) * HOURS : 0,
  },
  {
    name: "Valkey",
    formula: "nodes × hours",
    price: ({ parameters }) => parameters.RedisNodeType,
    amount: ({ nodes }) => nodes * HOURS,
  },
  {
    name: "NAT gateway",
    formula: "hours",
    price: "natHours",
    amount: ({ hasNewVpc }) => (hasNewVpc ? HOURS : 0),
  },
  {
    name: "Its address",
    formula: "hours",
    price: "addressHours",
    amount: ({ hasNewVpc }) => (hasNewVpc ? HOURS : 0),
  },
  {
    name: "Its traffic",
    formula: "(pushes to sockets + Web Pushes) × `postBytes`",
    price: "natGb",
    amount: ({ month, hasNewVpc }) => (hasNewVpc ? month.natGb : 0),
  },
  {
    name: "Endpoints",
    formula: "`LambdaEndpoint` and `SecretsEndpoint`: hours × 2 zones",
    price: "endpointHours",
    amount: ({ parameters: { LambdaEndpoint, SecretsEndpoint }, instances, nodes }) =>
      instances + nodes > 0 ? [LambdaEndpoint, SecretsEndpoint].filter((one) => one === "true").length * HOURS * 2 : 0,
  },
  { name: "Secrets", formula: "those of `deploy/data.yaml`", price: "secretMonths", amount: ({ secrets }) => secrets },
  {
    name: "Alarms",
    formula: "their metrics in `template.yaml` and `deploy/alarms.yaml`",
    price: "alarmMonths",
    amount: ({ alarmMetrics, nodes }) => alarmMetrics + nodes,
  },
  {
    name: "Metrics",
    formula: "those of docs/operating.md, if every function is called, unless `MetricsNamespace` is empty",
    price: "metricMonths",
    amount: ({ publishedMetrics, parameters }) => (parameters.MetricsNamespace === "" ? 0 : publishedMetrics),
  },
  {
    name: "Dashboard",
    formula: "one, unless `MetricsNamespace` is empty",
    price: "dashboardMonths",
    amount: ({ parameters }) => (parameters.MetricsNamespace === "" ? 0 : 1),
  },
  {
    name: "Logs",
    formula: "invocations × `logBytesPerCall`",
    price: "logGb",
    amount: ({ month }) => month.logGb,
  },
  {
    name: "Logs that are kept",
    formula: "the same × `LogRetentionDays` ÷ days of a month",
    price: "logGbMonths",
    amount: ({ month, parameters }) => (month.logGb * Number(parameters.LogRetentionDays)) / DAYS,
  },
  {
    name: "Data out",
    formula: "answers and frames, as counted, and `overheadBytes` around each",
    price: "outGb",
    amount: ({ month }) => month.outGb,
  },
];

/** The bill of a month in which all this happens on all this. */
export function bill(of, prices) {
  return LINES.map(({ name, formula, price, amount }) => {
    const priced = typeof price === "function" ? price(of) : price;
    const quantity = amount(of);
    return { name, formula, price: priced, quantity, usd: quantity === 0 ? 0 : cost(quantity, priced, prices) };
  });
}

/** A price is a number, or steps `[up to, usd]`, of which the last has no end. */
function cost(quantity, name, prices) {
  const price = prices[name];
  if (!price) throw new Error(`docs/cost.json has no price ${name}`);
  const steps = typeof price.usd === "number" ? [[null, price.usd]] : price.usd;
  let [sum, from] = [0, 0];
  for (const [to, usd] of steps) {
    const end = Math.min(quantity, to ?? quantity);
    sum += (Math.max(0, end - from) / price.per) * usd;
    from = end;
  }
  return sum;
}
