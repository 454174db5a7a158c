// Gets the tickets that open a stream, and learns the server's time from them.

import { invalidAnswer } from "./errors.js";
import type { ApiResponse } from "./http.js";
import { isObject } from "./protocol.js";
import type { Token } from "./token.js";
import type { Transport } from "./types.js";

const TICKET_MS = 30_000;

/** Opens one stream. */
export interface Ticket {
  readonly ticket: string;
  /** The address of each kind of stream that the server offers. */
  readonly urls: Partial<Record<Transport, unknown>>;
  /** How long the token behind the ticket is still valid, by the server's clock. */
  readonly validMs: number | null;
  /** How often the server wants a ping, unchecked. */
  readonly pingEveryMs: unknown;
}

export interface TicketHost {
  /** Where the socket opens, instead of where the server says. */
  readonly wsUrl: string | undefined;
  token(minValidMs?: number): Promise<Token>;
  call(method: string, path: string): Promise<ApiResponse>;
  /** The server's time, as far as it is known. */
  now(): number;
  /** The server's clock is ahead of this one by so much. */
  skewed(ms: number): void;
}

/** Gets a ticket. Its token is valid for at least `minValidMs` more, if `getToken` has such a token. */
export async function requestTicket(host: TicketHost, minValidMs?: number): Promise<Ticket> {
  const token = await host.token(minValidMs);
  const { body } = await host.call("POST", "/api/ws/ticket");
  if (!isObject(body) || typeof body["ticket"] !== "string") throw invalidAnswer();
  const { ticket, url, eventsUrl, expiresAt, pingEveryMs } = body;
  const expiresMs = Date.parse(String(expiresAt));
  let validMs = token.expiresMs;
  if (validMs !== null) {
    // A ticket expires with its token at the latest. One that expires earlier reveals the server's time.
    if (expiresMs < validMs) host.skewed(expiresMs - TICKET_MS - Date.now());
    validMs = Math.max(0, validMs - host.now());
  }
  return { ticket, urls: { websocket: host.wsUrl ?? url, sse: eventsUrl }, validMs, pingEveryMs };
}
