// The core: a client without any framework.

export { createClient } from "./client.js";
export type { Environment } from "./environment.js";
export { CarillonError } from "./problem.js";
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
