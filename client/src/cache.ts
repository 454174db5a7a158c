// The cache in IndexedDB, which keeps data on the device between two visits. Each server and user has its own entries.

import type { CarillonEvent, EventCache, PendingChange } from "./types.js";

const MAX_EVENTS = 100;
const INBOXES = "inboxes";
const EVENTS = "events";
const CHANGES = "changes";
const STORES = [INBOXES, EVENTS, CHANGES];
/** 2 added `CHANGES`. */
const VERSION = 2;

/** A cache in IndexedDB. The database is opened on first use. */
export function createIndexedDbCache(indexedDB: IDBFactory): EventCache {
  let opening: Promise<IDBDatabase> | null = null;

  function open(): Promise<IDBDatabase> {
    // A page with a later version of the client may have upgraded the database. Later versions only add to it.
    opening ??= openVersion(VERSION)
      .catch((thrown) => {
        if ((thrown as { name?: unknown } | null)?.name !== "VersionError") throw thrown;
        return openVersion();
      })
      .catch((thrown) => {
        opening = null;
        throw thrown;
      });
    return opening;
  }

  function openVersion(version?: number): Promise<IDBDatabase> {
    return new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("carillon", version);
      request.onupgradeneeded = () => {
        const { objectStoreNames } = request.result;
        for (const name of STORES) if (!objectStoreNames.contains(name)) request.result.createObjectStore(name);
      };
      request.onsuccess = () => {
        const database = request.result;
        // Another tab wants to delete or upgrade it. The next use opens it again.
        database.onversionchange = database.onclose = () => {
          database.close();
          opening = null;
        };
        resolve(database);
      };
      request.onerror = () => reject(request.error);
    });
  }

  /**
   * Runs one transaction over some stores, and returns the result of the request that `act` makes, if it returns one.
   * Resolves when it is complete, because only then is anything stored.
   */
  async function transact<T>(
    names: readonly string[],
    mode: IDBTransactionMode,
    act: (...stores: IDBObjectStore[]) => IDBRequest<T> | null,
  ): Promise<T> {
    const database = await open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(names, mode);
      const request = act(...names.map((name) => transaction.objectStore(name)));
      transaction.oncomplete = () => resolve(request?.result as T);
      // A failed request aborts the transaction, and only the abort sets `transaction.error`.
      transaction.onabort = () => reject(transaction.error);
    });
  }

  async function read<T>(name: string, key: string, fallback: T): Promise<T> {
    return (await transact<T>([name], "readonly", (store) => store.get(key))) ?? fallback;
  }

  /** Puts what `next` makes of the values that are there in their place. */
  function replace<T>(name: string, key: string, next: (present: readonly T[]) => readonly T[]): Promise<void> {
    return transact([name], "readwrite", (store) => {
      const request = store.get(key);
      request.onsuccess = () => {
        store.put(next(request.result ?? []), key);
      };
      return null;
    });
  }

  return {
    loadInbox: (key) => read(INBOXES, key, null),
    saveInbox: (key, inbox) =>
      transact([INBOXES], "readwrite", (store) => {
        store.put(inbox, key);
        return null;
      }),
    loadEvents: (key) => read(EVENTS, key, []),
    addEvents: (key, events) =>
      replace<CarillonEvent>(EVENTS, key, (present) => {
        // Of two copies the earlier one keeps its place, so that an event stays where it first happened. It is kept
        // itself unless it was provisional. What arrives anew, after a snooze, is no copy.
        const all = new Map<string, CarillonEvent>();
        for (const event of [...present, ...events]) {
          const id = idOf(event);
          const known = all.get(id);
          const isProvisional = known && "cursor" in known && known.cursor === null;
          const isAnew = known && arrivalOf(event) !== null && arrivalOf(known) !== arrivalOf(event);
          if (isAnew && !isProvisional) all.delete(id);
          if (!known || isProvisional || isAnew) all.set(id, event);
        }
        return [...all.values()].slice(-MAX_EVENTS);
      }),
    loadChanges: (key) => read(CHANGES, key, []),
    saveChanges: (key, changes, settled) =>
      replace<PendingChange>(CHANGES, key, (present) => {
        const all = new Map([...present, ...changes].map((each) => [each.id, each]));
        for (const id of settled) all.delete(id);
        return [...all.values()];
      }),
    clear: (key) =>
      transact(STORES, "readwrite", (...stores) => {
        for (const store of stores) store.delete(key);
        return null;
      }),
  };
}

/** Where the notification of an event arrived. */
const arrivalOf = (event: CarillonEvent): string | null =>
  event.type === "notification" ? event.notification.cursor : null;

function idOf(event: CarillonEvent): string {
  if (event.type === "notification") return event.notification.id;
  if (event.type === "pushed") return `pushed ${event.notification.id}`;
  return event.type === "changed" ? JSON.stringify([event.cursor, event.change, event.ids]) : event.id;
}
