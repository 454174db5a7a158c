// A push service of the tests' own, and the browsers that it serves. It decrypts and verifies what it gets with other
// implementations than the server's: `http_ece`, and Node's for the signature.

/// <reference path="./http_ece.d.ts" />

import { createECDH, createPublicKey, type ECDH, randomBytes, verify } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { decrypt } from "http_ece";

/** What a push says. */
export type Payload = Readonly<Record<string, unknown>> & { readonly kind: string; readonly tag: string };

/** A request to the push service, and its answer. */
export interface Received {
  readonly payload: Payload;
  readonly headers: IncomingMessage["headers"];
  /** The bytes of its body, and of what was encrypted. */
  readonly size: { readonly body: number; readonly payload: number };
  readonly status: number;
  readonly atMs: number;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
}

const ACCEPTED: Answer = { status: 201 };

export class PushService {
  /** Why pushes could not be verified or read. */
  readonly errors: string[] = [];
  readonly #server: Server;
  readonly #browsers: Map<string, PushedBrowser> = new Map();

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<PushService> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new PushService(server);
  }

  /** As in `WEB_PUSH_HOSTS`. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** A browser that subscribes. `serverKey` is the key that it subscribes with. */
  browser(serverKey: string): PushedBrowser {
    const path = `/push/${randomBytes(16).toString("hex")}`;
    const browser = new PushedBrowser(`http://${this.host}${path}`, serverKey);
    this.#browsers.set(path, browser);
    return browser;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    let { status, headers }: Answer = { status: 404 };
    try {
      const browser = this.#browsers.get(request.url ?? "");
      if (browser && request.method === "POST") {
        ({ status, headers = {} } = browser.receive(request.headers, Buffer.concat(chunks)));
      }
    } catch (thrown) {
      this.errors.push(String(thrown));
      status = 400;
    }
    response.writeHead(status, headers).end();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** A browser with a subscription. */
export class PushedBrowser {
  /** Everything that the push service got for it, in order. */
  readonly received: Received[] = [];
  /** What the push service answers: these in order, and then that it accepts. */
  readonly answers: Answer[] = [];
  readonly endpoint: string;
  readonly #serverKey: string;
  readonly #keys: ECDH = createECDH("prime256v1");
  readonly #auth: string = randomBytes(16).toString("base64url");

  constructor(endpoint: string, serverKey: string) {
    this.endpoint = endpoint;
    this.#serverKey = serverKey;
    this.#keys.generateKeys();
  }

  /** As `PushSubscription.toJSON` has it. */
  get subscription(): object {
    const p256dh = this.#keys.getPublicKey().toString("base64url");
    return { endpoint: this.endpoint, expirationTime: null, keys: { p256dh, auth: this.#auth } };
  }

  /** What it got from the push service: those that were accepted. */
  get pushes(): Payload[] {
    return this.received.filter(({ status }) => status === 201).map(({ payload }) => payload);
  }

  receive(headers: IncomingMessage["headers"], body: Buffer): Answer {
    this.#verify(headers);
    const plain = decrypt(body, { version: "aes128gcm", privateKey: this.#keys, authSecret: this.#auth });
    const payload = JSON.parse(plain.toString("utf8")) as Payload;
    const answer = this.answers.shift() ?? ACCEPTED;
    const size = { body: body.length, payload: plain.length };
    this.received.push({ payload, headers, size, status: answer.status, atMs: Date.now() });
    return answer;
  }

  /** RFC 8292: the server proves with its key that the push is from it, and for this push service. */
  #verify({ authorization = "", ...headers }: IncomingMessage["headers"]): void {
    const [, token = "", key = ""] = /^vapid t=([\w.-]+), ?k=([\w-]+)$/.exec(authorization) ?? [];
    if (key !== this.#serverKey) throw new Error(`the key is ${key} instead of ${this.#serverKey}`);
    const [head = "", claims = "", signature = ""] = token.split(".");
    const point = Buffer.from(key, "base64url");
    const half = (from: number): string => point.subarray(from, from + 32).toString("base64url");
    const publicKey = createPublicKey({ key: { kty: "EC", crv: "P-256", x: half(1), y: half(33) }, format: "jwk" });
    const isGenuine = verify(
      "sha256",
      Buffer.from(`${head}.${claims}`),
      { key: publicKey, dsaEncoding: "ieee-p1363" },
      Buffer.from(signature, "base64url"),
    );
    if (!isGenuine) throw new Error("the signature does not fit the key");
    const { aud, exp, sub } = JSON.parse(Buffer.from(claims, "base64url").toString("utf8"));
    const leftS = exp - Date.now() / 1_000;
    if (aud !== new URL(this.endpoint).origin) throw new Error(`the audience is ${aud}`);
    if (!(leftS > 0 && leftS <= 24 * 3_600)) throw new Error(`it expires in ${leftS} s`);
    if (!/^(mailto:|https:)/.test(sub)) throw new Error(`the subject is ${sub}`);
    if (headers["content-encoding"] !== "aes128gcm") throw new Error("it is not encrypted by RFC 8188");
  }
}
