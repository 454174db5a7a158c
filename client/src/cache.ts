// What is kept on the device between two visits, in IndexedDB: per server and user, never mixed.

import type { CachedInbox, CarillonEvent, EventCache } from "./types.js";

const MAX_EVENTS = 100;
const INBOXES = "inboxes";
const EVENTS = "events";

/** A cache in IndexedDB. Nothing is opened before it is used. */
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
        // Another tab wants it gone, or newer; the next use opens it again.
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

  /** One transaction; resolves when it is complete, which is when it will be there. */
  async function within<T>(stores: string[], mode: IDBTransactionMode, act: Act<T>): Promise<T> {
    const database = await open();
    return new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(stores, mode);
      let result: T | undefined;
      transaction.oncomplete = () => resolve(result as T);
      // An error leads to it, and only then stands in the transaction.
      transaction.onabort = () => reject(transaction.error);
      act(transaction, (value) => {
        result = value;
      });
    });
  }

  return {
    loadInbox: (key) =>
      within<CachedInbox | null>([INBOXES], "readonly", (transaction, done) => {
        const request = transaction.objectStore(INBOXES).get(key);
        request.onsuccess = () => done(request.result ?? null);
      }),
    saveInbox: (key, inbox) =>
      within<void>([INBOXES], "readwrite", (transaction) => {
        transaction.objectStore(INBOXES).put(inbox, key);
      }),
    loadEvents: (key) =>
      within<CarillonEvent[]>([EVENTS], "readonly", (transaction, done) => {
        const request = transaction.objectStore(EVENTS).get(key);
        request.onsuccess = () => done(request.result ?? []);
      }),
    addEvents: (key, events) =>
      within<void>([EVENTS], "readwrite", (transaction) => {
        const store = transaction.objectStore(EVENTS);
        const request = store.get(key);
        request.onsuccess = () => {
          // The later of two that are the same is left out: it stands where it first happened.
          const all = new Map<string, CarillonEvent>();
          for (const event of [...(request.result ?? []), ...events]) {
            const name = nameOf(event);
            if (!all.has(name)) all.set(name, event);
          }
          store.put([...all.values()].slice(-MAX_EVENTS), key);
        };
      }),
    clear: (key) =>
      within<void>([INBOXES, EVENTS], "readwrite", (transaction) => {
        transaction.objectStore(INBOXES).delete(key);
        transaction.objectStore(EVENTS).delete(key);
      }),
  };
}

type Act<T> = (transaction: IDBTransaction, done: (value: T) => void) => void;

function nameOf(event: CarillonEvent): string {
  if (event.type === "notification") return event.notification.id;
  return event.type === "changed" ? JSON.stringify([event.cursor, event.change, event.ids]) : event.id;
}
