// The core: a client without a framework.

export { createClient } from "./client.js";
export type { Environment } from "./environment.js";
export { CarillonError } from "./errors.js";
export type {
  CachedInbox,
  CarillonEvent,
  ChangedEvent,
  ChangeKind,
  Client,
  ClientOptions,
  EmittedEvent,
  EventCache,
  Notification,
  NotificationEvent,
  Priority,
  Problem,
  RequestOptions,
  State,
  Status,
  Store,
  Transport,
} from "./types.js";
