// The parts of a service worker's global scope that the worker uses. TypeScript has them only in a library that
// contradicts the one for pages.

/** An event that keeps the worker alive until a promise settles. */
export interface WorkerEvent {
  waitUntil(promise: Promise<unknown>): void;
}

export interface PushMessageEvent extends WorkerEvent {
  readonly data: { text(): string } | null;
}

export interface ClickEvent extends WorkerEvent {
  readonly notification: Notification;
}

export interface SubscriptionEvent extends WorkerEvent {
  readonly newSubscription?: PushSubscription | null;
}

/** A tab of the worker's origin. */
export interface WindowClient {
  readonly url: string;
  readonly focused: boolean;
  readonly visibilityState: DocumentVisibilityState;
  readonly frameType?: string;
  focus(): Promise<unknown>;
  navigate(url: string): Promise<unknown>;
  postMessage(message: unknown, transfer?: readonly Transferable[]): void;
}

export interface WorkerScope {
  readonly registration: Pick<ServiceWorkerRegistration, "scope" | "pushManager" | "getNotifications"> & {
    showNotification(title: string, options: WorkerNotificationOptions): Promise<void>;
  };
  readonly clients: {
    matchAll(options: { type: "window"; includeUncontrolled: true }): Promise<readonly WindowClient[]>;
    openWindow(url: string): Promise<unknown>;
  };
  readonly location: Pick<Location, "origin">;
  readonly indexedDB: IDBFactory;
  readonly navigator: Partial<Pick<Navigator, "setAppBadge">>;
  fetch: typeof fetch;
  addEventListener(type: "push", listener: (event: PushMessageEvent) => void): void;
  addEventListener(type: "notificationclick", listener: (event: ClickEvent) => void): void;
  addEventListener(type: "pushsubscriptionchange", listener: (event: SubscriptionEvent) => void): void;
}

export interface WorkerNotificationOptions extends NotificationOptions {
  readonly renotify?: boolean;
}
