// The cache in IndexedDB, which keeps data on the device between two visits. Each server and user has its own entries.

import type { CachedInbox, CarillonEvent, EventCache } from "./types.js";

const MAX_EVENTS = 100;
const INBOXES = "inboxes";
const EVENTS = "events";

/** A cache in IndexedDB. The database is opened on first use. */
export function createIndexedDbCache(indexedDB: IDBFactory): EventCache {
  let opening: Promise<IDBDatabase> | null = null;

  function open(): Promise<IDBDatabase> {
    opening ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("carillon", 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(INBOXES);
        request.result.createObjectStore(EVENTS);
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
    }).catch((thrown) => {
      opening = null;
      throw thrown;
    });
    return opening;
  }

  /** Runs one transaction. Resolves when it is complete, because only then is anything stored. */
  async function transact<T>(stores: string[], mode: IDBTransactionMode, steps: Steps<T>): Promise<T> {
    const database = await open();
    return new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(stores, mode);
      let result: T | undefined;
      transaction.oncomplete = () => resolve(result as T);
      // A failed request aborts the transaction, and only the abort sets `transaction.error`.
      transaction.onabort = () => reject(transaction.error);
      steps(transaction, (value) => {
        result = value;
      });
    });
  }

  return {
    loadInbox: (key) =>
      transact<CachedInbox | null>([INBOXES], "readonly", (transaction, done) => {
        const request = transaction.objectStore(INBOXES).get(key);
        request.onsuccess = () => done(request.result ?? null);
      }),
    saveInbox: (key, inbox) =>
      transact<void>([INBOXES], "readwrite", (transaction) => {
        transaction.objectStore(INBOXES).put(inbox, key);
      }),
    loadEvents: (key) =>
      transact<CarillonEvent[]>([EVENTS], "readonly", (transaction, done) => {
        const request = transaction.objectStore(EVENTS).get(key);
        request.onsuccess = () => done(request.result ?? []);
      }),
    addEvents: (key, events) =>
      transact<void>([EVENTS], "readwrite", (transaction) => {
        const store = transaction.objectStore(EVENTS);
        const request = store.get(key);
        request.onsuccess = () => {
          // Of two copies the earlier one is kept, so that an event stays where it first happened.
          const all = new Map<string, CarillonEvent>();
          for (const event of [...(request.result ?? []), ...events]) {
            const id = idOf(event);
            if (!all.has(id)) all.set(id, event);
          }
          store.put([...all.values()].slice(-MAX_EVENTS), key);
        };
      }),
    clear: (key) =>
      transact<void>([INBOXES, EVENTS], "readwrite", (transaction) => {
        transaction.objectStore(INBOXES).delete(key);
        transaction.objectStore(EVENTS).delete(key);
      }),
  };
}

type Steps<T> = (transaction: IDBTransaction, done: (value: T) => void) => void;

function idOf(event: CarillonEvent): string {
  if (event.type === "notification") return event.notification.id;
  return event.type === "changed" ? JSON.stringify([event.cursor, event.change, event.ids]) : event.id;
}
