// What the client and push, which is loaded on demand, know of each other.

import type { Environment } from "../environment.js";
import type { Token } from "../token.js";
import type { CarillonEvent, Client, PushOptions, PushStatus } from "../types.js";

export interface PushHost {
  readonly environment: Environment;
  readonly baseUrl: string;
  client(): Client;
  token(): Promise<Token>;
  /** Calls the listeners of this tab, those for one tab included. */
  ring(event: CarillonEvent): void;
}

export interface LoadedPush {
  /** `permission` is the user's answer, which was asked for within the gesture. */
  enable(permission: Promise<NotificationPermission> | undefined, options?: PushOptions): Promise<PushStatus>;
  disable(): Promise<void>;
  /** The state shows somewhere. */
  want(): void;
  /** A call uses this token. */
  used(token: Token): void;
  /** The user has left. */
  forget(userId: string | null): Promise<void>;
}
