// The descriptions of the API, `docs/openapi.yaml` and `docs/asyncapi.yaml`, and their schemas as checks.

import { readFileSync } from "node:fs";
import { Ajv2020, type AnySchema, type ValidateFunction } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { parse } from "yaml";

export const root: URL = new URL("../../../", import.meta.url);

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Schema = { readonly [keyword: string]: Json };

interface Reference {
  readonly $ref: string;
}

export interface Parameter {
  readonly name: string;
  readonly in: "query" | "header" | "path";
  readonly required?: boolean;
  readonly schema: Schema;
  readonly explode?: boolean;
}

export interface Documented {
  readonly description: string;
  readonly headers?: Readonly<Record<string, { readonly required?: boolean; readonly schema: Schema } | Reference>>;
  readonly content?: Readonly<Record<string, Media>>;
}

export interface Media {
  readonly schema: Schema;
  readonly example?: Json;
  readonly examples?: Readonly<Record<string, { readonly value: Json }>>;
}

export interface Body {
  readonly required?: boolean;
  readonly content: Readonly<Record<string, Media>>;
}

/** An operation of openapi.yaml, with its references resolved up to the schemas. */
export interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly tags: readonly string[];
  /** Any one of these sets of schemes, each with the scopes that it needs. */
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters: readonly Parameter[];
  readonly body: Body | undefined;
  readonly responses: Readonly<Record<string, Documented>>;
}

const read = (name: string): unknown => parse(readFileSync(new URL(name, root), "utf8"), { logLevel: "silent" });

// biome-ignore lint/suspicious/noExplicitAny: documents are walked by their pointers
const openapi: any = read("docs/openapi.yaml");
// biome-ignore lint/suspicious/noExplicitAny: as above
const asyncapi: any = read("docs/asyncapi.yaml");

export const version = (document: "openapi" | "asyncapi"): string => ({ openapi, asyncapi })[document].info.version;

// A keyword that JSON Schema does not know is an error.
const ajv: Ajv2020 = new Ajv2020({ strict: true, strictTypes: false, strictRequired: false });
formats(ajv);
// What references lead through.
ajv.addVocabulary(["components"]);
const idOf = (document: string): string => `file:///${document}.yaml`;
ajv.addSchema({ $id: idOf("openapi"), components: { schemas: openapi.components.schemas } });
ajv.addSchema({ $id: idOf("asyncapi"), components: { schemas: asyncapi.components.schemas } });

const compiled = new Map<string, ValidateFunction>();

/** Why a value does not have a schema, which may refer to others of openapi.yaml; `undefined` if it has it. */
export function mismatch(schema: AnySchema, value: unknown, document = "openapi"): string | undefined {
  const key = `${document} ${JSON.stringify(schema)}`;
  const check = compiled.get(key) ?? ajv.compile(based(schema, document));
  compiled.set(key, check);
  return check(value) ? undefined : ajv.errorsText(check.errors, { dataVar: "" });
}

/** The schema with its references relative to a document, since it no longer stands in it. */
function based(schema: AnySchema, document: string): Schema {
  return JSON.parse(JSON.stringify(schema), (name, value) =>
    name === "$ref" && typeof value === "string" && value.startsWith("#") ? idOf(document) + value : value,
  ) as Schema;
}

/** What a reference inside a document leads to, or the value itself if it is none. */
// biome-ignore lint/suspicious/noExplicitAny: as above
function resolved(value: any, document: any = openapi): any {
  if (typeof value?.$ref !== "string") return value;
  const steps: string[] = value.$ref.slice(2).split("/");
  return resolved(
    steps.reduce((part, step) => part[step.replaceAll("~1", "/").replaceAll("~0", "~")], document),
    document,
  );
}

const METHODS = ["get", "put", "post", "delete", "patch"];

/** The schema that a reference leads to. */
export const resolvedSchema = (schema: Schema): Schema => resolved(schema);

// biome-ignore lint/suspicious/noExplicitAny: as above
const operationsOf = ([path, item]: [string, any]): Operation[] =>
  METHODS.filter((method) => item[method]).map((method) => {
    const { operationId, tags, parameters = [], requestBody, responses, security = openapi.security } = item[method];
    const entries = Object.entries(responses).map(([status, response]) => {
      const { headers = {}, ...rest } = resolved(response);
      const named = Object.entries(headers).map(([name, header]) => [name, resolved(header)]);
      return [status, { ...rest, headers: Object.fromEntries(named) }];
    });
    return {
      id: operationId,
      method: method.toUpperCase(),
      path,
      tags,
      security,
      parameters: parameters.map((parameter: unknown) => resolved(parameter)),
      body: resolved(requestBody),
      responses: Object.fromEntries(entries),
    };
  });

export const operations: readonly Operation[] = Object.entries(openapi.paths).flatMap(operationsOf);

/** The operation with this id. */
export function operation(id: string): Operation {
  const found = operations.find((operation) => operation.id === id);
  if (!found) throw new Error(`openapi.yaml has no operation ${id}`);
  return found;
}

/** The documented path that a path leads to. Literal steps come before parameters, as in API Gateway. */
export function documentedPath(path: string): string | undefined {
  const steps = path.split("/");
  const fits = (documented: string): boolean => {
    const own = documented.split("/");
    return own.length === steps.length && own.every((step, n) => step === steps[n] || step.startsWith("{"));
  };
  const parameters = (documented: string): number => documented.split("{").length;
  return Object.keys(openapi.paths)
    .filter(fits)
    .sort((one, other) => parameters(one) - parameters(other))[0];
}

/** The paths of template.yaml, which say nothing of methods. */
export function templatePaths(): string[] {
  const template = read("template.yaml") as { Resources: Record<string, { Properties?: { Events?: object } }> };
  const events = Object.values(template.Resources).flatMap(({ Properties }) => Object.values(Properties?.Events ?? {}));
  return events.flatMap(({ Type, Properties: { Path } }) =>
    ["HttpApi", "Api"].includes(Type) && Path !== "$default" ? [Path] : [],
  );
}

/** The names of the schemas of a document. */
export const schemaNames = (document: "openapi" | "asyncapi"): string[] =>
  Object.keys({ openapi, asyncapi }[document].components.schemas);

export type Direction = "fromClient" | "fromServer" | "onStream";

const messages = (channel: "live" | "events"): [string, Schema][] =>
  Object.entries(asyncapi.channels[channel].messages).map(([name, message]) => [
    name,
    resolved(message, asyncapi).payload,
  ]);

const isAction = ([name]: [string, Schema]): boolean => name.endsWith("Action");
const directions: Readonly<Record<Direction, readonly [string, Schema][]>> = {
  fromClient: messages("live").filter(isAction),
  fromServer: messages("live").filter((message) => !isAction(message)),
  onStream: messages("events"),
};

/** The names of the messages of asyncapi.yaml in a direction. */
export const messageNames = (direction: Direction): string[] => directions[direction].map(([name]) => name);

/** The one message that a frame is, or why it is none. Being two is an error of the document. */
export function messageOf(direction: Direction, frame: unknown): { name: string } | { problem: string } {
  const all = directions[direction].map(([name, schema]) => ({ name, problem: mismatch(schema, frame, "asyncapi") }));
  const names = all.filter(({ problem }) => problem === undefined).map(({ name }) => name);
  const [name] = names;
  if (name !== undefined && names.length === 1) return { name };
  if (names.length > 1) return { problem: `it is ${names.join(" and ")}` };
  // Of those with the same type or action, which says more than all of them.
  const kind = (frame as { type?: string; action?: string } | null)?.[direction === "fromClient" ? "action" : "type"];
  const near = all.filter(({ problem }) => kind === undefined || !/\/(type|action) must be/.test(problem ?? ""));
  return { problem: near.map(({ name, problem }) => `no ${name}: ${problem}`).join("; ") || `unknown ${kind}` };
}
