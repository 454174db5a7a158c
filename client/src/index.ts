// The core: a client without a framework.

export { createClient } from "./client.js";
export type { Environment } from "./environment.js";
export { CarillonError, type ErrorDetails } from "./errors.js";
export type {
  Action,
  CachedInbox,
  CarillonEvent,
  ChangedEvent,
  ChangeKind,
  Client,
  ClientErrorCode,
  ClientOptions,
  EmittedEvent,
  ErrorCode,
  EventCache,
  Notification,
  NotificationEvent,
  PendingChange,
  Priority,
  Problem,
  ProvisionalEvent,
  RequestOptions,
  ServerErrorCode,
  SignOutHook,
  State,
  Status,
  Store,
  StoredNotification,
  Transport,
  View,
  ViewFilter,
  ViewState,
  Wire,
} from "./types.js";
