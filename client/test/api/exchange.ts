// Checks of what went over the wire against the documents.

import {
  type Documented,
  documentedPath,
  type Json,
  messageOf,
  mismatch,
  type Operation,
  operations,
  type Parameter,
  resolvedSchema,
  type Schema,
} from "./descriptions.js";

/** An HTTP call and its answer. */
export interface Exchange {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly status: number;
  readonly answerHeaders: Readonly<Record<string, string>>;
  readonly answer: string;
  /** False if the client or the server ended it early. */
  readonly isWhole: boolean;
}

/** The operation of a call; `undefined` if there is none. */
export function operationOf({ method, url }: Pick<Exchange, "method" | "url">): Operation | undefined {
  const path = documentedPath(new URL(url, "http://x").pathname);
  return operations.find((operation) => operation.path === path && operation.method === method);
}

/** Where a call and its answer are not as documented. */
export function problems(exchange: Exchange): string[] {
  const operation = operationOf(exchange);
  const found = operation ? [...answerProblems(operation, exchange)] : [...unknownProblems(exchange)];
  if (operation && exchange.status < 400) found.push(...requestProblems(operation, exchange));
  return found.map((problem) => `${exchange.method} ${exchange.url} → ${exchange.status}: ${problem}`);
}

function* unknownProblems({ url, status, answer, answerHeaders }: Exchange): Iterable<string> {
  const isKnown = documentedPath(new URL(url, "http://x").pathname) !== undefined;
  if (status !== (isKnown ? 405 : 404)) yield "it is not documented";
  const schema = { $ref: `#/components/schemas/${isKnown ? "MethodNotAllowedError" : "NotFoundError"}` };
  const problem = mismatch(schema, parsed(answer));
  if (problem) yield problem;
  if (isKnown && !answerHeaders["allow"]) yield "a 405 has the header Allow";
}

function* answerProblems(operation: Operation, exchange: Exchange): Iterable<string> {
  const response = operation.responses[exchange.status] ?? operation.responses["default"];
  if (!response) return yield "the status is not documented";
  for (const [name, header] of Object.entries(response.headers ?? {})) {
    if ("$ref" in header) continue;
    const value = exchange.answerHeaders[name];
    if (value === undefined && header.required) yield `the header ${name} is missing`;
    const problem = value !== undefined && mismatch(header.schema, ofText(header.schema, value));
    if (problem) yield `the header ${name}: ${problem}`;
  }
  yield* contentProblems(response, exchange);
}

function* contentProblems({ content }: Documented, exchange: Exchange): Iterable<string> {
  const { answer, answerHeaders, isWhole } = exchange;
  if (!content) {
    if (answer !== "") yield "it has a body";
    return;
  }
  const type = answerHeaders["content-type"]?.split(";")[0]?.trim() ?? "";
  const media = content[type];
  if (!media) return yield `the content type ${type} is not documented`;
  if (type === "text/event-stream") return yield* streamProblems(media.schema, answer);
  if (!isWhole) return;
  const problem = mismatch(media.schema, type === "application/json" ? parsed(answer) : answer);
  if (problem) yield problem;
}

/** A stream ends anywhere, so its last, unfinished event does not count. */
function* streamProblems(schema: Schema, text: string): Iterable<string> {
  const whole = text.slice(0, text.lastIndexOf("\n\n") + 2);
  const problem = text === "" ? undefined : mismatch(schema, whole);
  if (problem) yield problem;
  for (const block of whole.split("\n\n")) {
    const [, id, data] = /^(?:id: (.*)\n)?data: (.*)$/.exec(block) ?? [];
    if (data === undefined) continue;
    const frame = parsed(data) as { cursor?: string; type?: string } | undefined;
    const message = messageOf("onStream", frame);
    if ("problem" in message) yield `${data.slice(0, 300)}: ${message.problem}`;
    if (id !== undefined && id !== frame?.cursor) yield `the id ${id} is not the cursor of ${data.slice(0, 300)}`;
  }
}

function* requestProblems(operation: Operation, { url, headers, body }: Exchange): Iterable<string> {
  const { pathname, searchParams } = new URL(url, "http://x");
  yield* securityProblems(operation, headers, searchParams);
  const steps = pathname.split("/");
  const inPath = (name: string): string | undefined => steps[operation.path.split("/").indexOf(`{${name}}`)];
  for (const parameter of operation.parameters) {
    const { name } = parameter;
    const places = { query: searchParams.get(name), header: headers[name.toLowerCase()], path: inPath(name) };
    const value = places[parameter.in] ?? undefined;
    if (value === undefined && parameter.required) yield `the parameter ${name} is missing`;
    const given = (text: string): Json =>
      parameter.explode ? searchParams.getAll(name) : ofParameter(parameter, text);
    const problem = value !== undefined && mismatch(parameter.schema, given(value));
    if (problem) yield `the parameter ${name}: ${problem}`;
  }
  const known = operation.parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
  const schemes = operation.security.flatMap((security) => Object.keys(security));
  for (const name of new Set(searchParams.keys())) {
    if (!known.includes(name) && !(name === "ticket" && schemes.includes("ticket"))) yield `${name} is no parameter`;
  }
  if (body === "") {
    if (operation.body?.required) yield "the body is missing";
    return;
  }
  const problem = bodyProblem(operation, parsed(body));
  if (problem) yield `the body: ${problem}`;
}

/** Why a body is not as documented. */
export function bodyProblem({ body }: Operation, value: unknown): string | undefined {
  const schema = body?.content["application/json"]?.schema;
  return schema ? mismatch(schema, value) : "there is none";
}

function* securityProblems(
  { security }: Operation,
  headers: Exchange["headers"],
  query: URLSearchParams,
): Iterable<string> {
  if (security.length === 0) return;
  const token = headers["authorization"]?.replace(/^Bearer /i, "");
  const scopes = token === undefined ? [] : scopesOf(token);
  const isMet = Object.entries({ bearer: token !== undefined, ticket: query.has("ticket") });
  const met = isMet.filter(([, met]) => met).map(([scheme]) => scheme);
  const fits = security.some((schemes) =>
    Object.entries(schemes).every(
      ([scheme, needed]) => met.includes(scheme) && needed.every((scope) => scopes.includes(scope)),
    ),
  );
  if (!fits) yield `it was admitted with ${[...met, ...scopes].join(", ") || "nothing"}`;
}

function scopesOf(token: string): string[] {
  const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
  const { scope } = (parsed(payload) ?? {}) as { scope?: string };
  return scope?.split(" ") ?? [];
}

function ofParameter({ schema, explode }: Parameter, text: string): Json {
  return explode === false ? text.split(",") : ofText(schema, text);
}

/** A text as the value that its schema means. */
function ofText(schema: Schema, text: string): Json {
  const { type } = resolvedSchema(schema);
  if (type === "integer" && /^\d+$/.test(text)) return Number(text);
  if (type === "boolean" && /^(true|false)$/.test(text)) return text === "true";
  return text;
}

/** JSON; `undefined` if it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
