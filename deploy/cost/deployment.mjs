// What is deployed: the parameters of a size, and what the templates have that is charged for by the piece.

import { readFileSync } from "node:fs";

const root = new URL("../../", import.meta.url);
export const text = (path) => readFileSync(new URL(path, root), "utf8");

/** For how many daily users each size is made. */
export const SIZES = { small: 100, medium: 10_000, large: 1_000_000 };

/** The smallest size that is made for so many daily users, or the largest. */
export function sizeFor(users) {
  return Object.keys(SIZES).find((size) => users <= SIZES[size]) ?? "large";
}

/** A deployment of a size, with other values of some parameters. */
export function deployment(size, overrides = {}) {
  const parameters = parametersOf(size);
  for (const name of Object.keys(overrides))
    if (!(name in parameters)) throw new Error(`no template has the parameter ${name}`);
  Object.assign(parameters, overrides);
  const { Database, DatabaseStandby, VpcId } = parameters;
  const nodes = redisNodes(parameters);
  const instances = Database === "none" ? 0 : DatabaseStandby === "true" ? 2 : 1;
  return { parameters, nodes, instances, hasNewVpc: VpcId === "" && instances + nodes > 0, ...pieces() };
}

/** Those of the templates, with the values that `deploy/<size>.toml` chooses. */
function parametersOf(size) {
  const defaults = ["template.yaml", "deploy/data.yaml"].flatMap((path) => {
    const [section] = /^Parameters:\n(?:(?: .*)?\n)+/m.exec(text(path));
    return [...section.matchAll(/^ {2}(\w+):\n(?: {4}.*\n)*? {4}Default: "?(.*?)"?$/gm)];
  });
  const chosen = [...text(`deploy/${size}.toml`).matchAll(/^ {4}"(\w+)=(.*)",$/gm)];
  return Object.fromEntries([...defaults, ...chosen].map(([, name, value]) => [name, value]));
}

function redisNodes({ Redis, RedisReplicas, RedisShards }) {
  const shard = 1 + Number(RedisReplicas);
  return { none: 0, single: 1, replicated: shard, cluster: shard * Number(RedisShards) }[Redis];
}

function pieces() {
  const count = (path, pattern) => text(path).match(pattern)?.length ?? 0;
  const [, memoryMb] = /^ {4}MemorySize: (\d+)$/m.exec(text("template.yaml"));
  const ofTheTestPage = count("template.yaml", /Type: AWS::Serverless::Function\n {4}Condition: HasTestPage/g);
  const functions = count("template.yaml", /Type: AWS::Serverless::Function\n/g) - ofTheTestPage;
  // In deploy/alarms.yaml, the alarms of two metrics are made for each function, that of one for each but the drain, and that of
  // one for each node of Redis.
  const others = count("deploy/alarms.yaml", /MetricName:/g) - 3 - 1;
  return {
    memoryGb: Number(memoryMb) / 1_024,
    secrets: count("deploy/data.yaml", /Type: AWS::SecretsManager::Secret\n/g),
    publishedMetrics: publishedMetrics(functions),
    alarmMetrics: 3 * functions - 1 + others + count("template.yaml", /MetricName:/g),
  };
}

/** Those of docs/operating.md. At most: a function publishes only the waits that it has. */
function publishedMetrics(functions) {
  const [, table] = /\n### All metrics\n([\s\S]*?)\n##/.exec(text("docs/operating.md"));
  const names = [...table.matchAll(/^\|[^|]*\|([^|]*)\|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`(\w+)`/g)]);
  const ofInvocations = ["recordMs", "momentMs", "pushMs", "serverErrors"];
  const ofDeployment = names.filter(([, name]) => !ofInvocations.includes(name));
  // One of them is also that of all functions together.
  return ofDeployment.length + ofInvocations.length * functions + 1;
}
