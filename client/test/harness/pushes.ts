// The subscriptions that the server knows.

import { json, refusal } from "./response.js";

interface Subscription {
  readonly userId: string;
  readonly endpoint: string;
  readonly keys: unknown;
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown> | undefined;
}

export class FakePushes {
  /** `null`: push is not configured. */
  key: string | null = keyOf(1);
  readonly subscriptions: Map<string, Subscription> = new Map();
  private count = 0;

  /** The user of each subscription's endpoint. */
  get owners(): Record<string, string> {
    return Object.fromEntries([...this.subscriptions.values()].map(({ endpoint, userId }) => [endpoint, userId]));
  }

  serve(userId: string, { method, path, body }: Call): Response {
    if (path === "/api/push/key") return this.key === null ? refusal(404, "not_found") : json(200, { key: this.key });
    if (method === "DELETE") {
      const id = path.split("/").at(-1) ?? "";
      if (this.subscriptions.get(id)?.userId === userId) this.subscriptions.delete(id);
      return new Response(null, { status: 204 });
    }
    const { endpoint, keys } = body as unknown as Subscription;
    for (const [id, known] of this.subscriptions) {
      if (known.endpoint !== endpoint) continue;
      if (JSON.stringify(known.keys) !== JSON.stringify(keys)) return refusal(409, "conflict");
      this.subscriptions.set(id, { userId, endpoint, keys });
      return json(201, { id });
    }
    const id = `s${++this.count}`;
    this.subscriptions.set(id, { userId, endpoint, keys });
    return json(201, { id });
  }
}

/** A key of the length of a point on P-256. */
export function keyOf(seed: number): string {
  const bytes = Uint8Array.from({ length: 65 }, (_, n) => (n === 0 ? 4 : seed));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
