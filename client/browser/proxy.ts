// A proxy between a browser and the event streams, of the kinds that networks have: one that buffers, delays or cuts.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";

/** What happens to what the gateway writes. */
export type Manner =
  /** It passes at once. */
  | "passing"
  /** It is held until the stream ends. */
  | "buffering"
  /** The same, but not the head of the answer. */
  | "head only"
  /** It comes half a second late, three bytes at a time. */
  | "slow";

const DELAY_MS = 500;

export class StreamProxy {
  manner: Manner = "passing";
  /** The port of the gateway. */
  target = 0;
  /** After how many bytes the next stream breaks off, wherever that is; `null`: it does not. */
  passBytes: (() => number) | null = null;
  /** How many streams broke off. */
  broken = 0;
  /** How many streams were opened. */
  opened = 0;
  readonly #server: Server;
  readonly #open = new Set<ServerResponse>();

  private constructor() {
    this.#server = createServer((near, answer) => this.#forward(near, answer));
  }

  static async start(): Promise<StreamProxy> {
    const proxy = new StreamProxy();
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  /** The address of the event streams. */
  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy is not listening");
    return `http://127.0.0.1:${address.port}/api/events`;
  }

  /** Ends all streams in the middle. */
  cut(): void {
    for (const answer of this.#open) answer.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #forward({ url, headers, method }: IncomingMessage, answer: ServerResponse): void {
    const far = request({ host: "127.0.0.1", port: this.target, path: url, headers, method }, (response) => {
      this.opened++;
      this.#open.add(answer);
      answer.on("close", () => {
        this.#open.delete(answer);
        far.destroy();
      });
      const held: Buffer[] = [];
      const { manner } = this;
      const isHeld = manner === "buffering" || manner === "head only";
      let left = this.passBytes?.() ?? Number.POSITIVE_INFINITY;
      if (manner !== "buffering") {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        answer.flushHeaders();
      }
      response.on("data", (chunk: Buffer) => {
        if (isHeld) held.push(chunk);
        else if (chunk.length > left) {
          this.broken++;
          response.removeAllListeners("data");
          // Only then, so that the part of an event arrives.
          answer.write(chunk.subarray(0, left), () => answer.destroy());
        } else if (manner === "passing") answer.write(chunk);
        else setTimeout(writeSlices, DELAY_MS, answer, chunk);
        left -= chunk.length;
      });
      response.on("end", () => {
        if (manner === "buffering") answer.writeHead(response.statusCode ?? 502, response.headers);
        setTimeout(() => answer.end(Buffer.concat(held)), manner === "slow" ? DELAY_MS : 0);
      });
      response.on("error", () => answer.destroy());
    });
    far.on("error", () => answer.destroy());
    far.end();
  }
}

function writeSlices(answer: ServerResponse, chunk: Buffer): void {
  for (let at = 0; at < chunk.length; at += 3) answer.write(chunk.subarray(at, at + 3));
}
