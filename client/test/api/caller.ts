// Calls of one user, as they are: refusals are answers too.

import type { Gateway } from "../gateway/gateway.js";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers
  readonly json: any;
}

export interface CallOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** The body, if it is not JSON. */
  readonly text?: string;
}

export class Caller {
  private readonly gateway: Gateway;
  private readonly token: Promise<string> | undefined;

  private constructor(gateway: Gateway, token: Promise<string> | undefined) {
    this.gateway = gateway;
    this.token = token;
  }

  static as(gateway: Gateway, user: string, ...scopes: string[]): Caller {
    return new Caller(gateway, gateway.token(user, scopes.join(" ")));
  }

  static anonymous(gateway: Gateway): Caller {
    return new Caller(gateway, undefined);
  }

  get = (path: string, options: CallOptions = {}): Promise<Answer> => this.call("GET", path, undefined, options);
  delete = (path: string): Promise<Answer> => this.call("DELETE", path);
  post = (path: string, body?: unknown, options: CallOptions = {}): Promise<Answer> =>
    this.call("POST", path, body, options);

  async call(method: string, path: string, body?: unknown, options: CallOptions = {}): Promise<Answer> {
    const sent = options.text ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(this.gateway.url + path, {
      method,
      headers: {
        ...(this.token && { authorization: `Bearer ${await this.token}` }),
        ...(sent !== undefined && { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(sent !== undefined && { body: sent }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") && text !== "";
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
  }
}
