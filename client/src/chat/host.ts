// What the parts of the chats of one user share.

import type { ClientFrame } from "../protocol.js";
import type { Kept } from "./kept.js";
import type { Line } from "./line.js";
import type { Message } from "./types.js";

export interface Host {
  readonly userId: string;
  readonly kept: Kept;
  readonly line: Line;
  /** Whether the client is connecting or connected. */
  isOpen(): boolean;
  /** Calls the API once. */
  request(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Does something until there is an answer. Rejects with a refusal, or when the client closes. */
  repeat<T>(run: () => Promise<T>): Promise<T>;
  /** Calls the API so. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  /** A number from 0 up to, but not including, 1. */
  random(): number;
  /** Sends a frame that expects no reply. */
  tell(frame: ClientFrame): void;
  /** A message of the user was accepted. */
  stored(message: Message): void;
}
