// What the device keeps of push, where the page and the worker both find it: a database of its own in IndexedDB.

/** A subscription. There is one for each scope of a worker. */
export interface KeptPush {
  readonly scope: string;
  /** The address of the API, with a slash at the end. */
  readonly root: string;
  readonly userId: string | null;
  /** The subscription's id at the server. */
  readonly id: string;
  readonly endpoint: string;
  /** The server's key when it was made. */
  readonly key: string;
  /** When the server last confirmed it, in milliseconds since 1970. */
  readonly checkedMs: number;
  /** The worker's script. `null`: the application registers it. */
  readonly script: string | null;
  /** The page to open for a notification without a link. */
  readonly home: string;
  readonly icon?: string | undefined;
  readonly badge?: string | undefined;
  /** For the worker, which has no other way to get one. */
  readonly token: string | null;
  readonly expiresMs: number;
  /** The last contents that rang. */
  readonly rung: readonly string[];
}

export interface Device {
  all(): Promise<readonly KeptPush[]>;
  get(scope: string): Promise<KeptPush | null>;
  put(kept: KeptPush): Promise<void>;
  /** Changes members in one step. A no-op if there is no such subscription. */
  change(scope: string, part: (kept: KeptPush) => Partial<KeptPush>): Promise<void>;
  remove(scope: string): Promise<void>;
}

const STORE = "subscriptions";

export function createDevice(indexedDB: IDBFactory): Device {
  function open(): Promise<IDBDatabase> {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open("carillon-push", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "scope" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  /** Runs one transaction, and returns the result of the request that `act` makes, once it is complete. */
  async function transact<T>(
    mode: IDBTransactionMode,
    act: (store: IDBObjectStore) => IDBRequest<T> | undefined,
  ): Promise<T | undefined> {
    // It is used so rarely that keeping it open is not worth the care for other versions.
    const database = await open();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = database.transaction(STORE, mode);
        const request = act(transaction.objectStore(STORE));
        transaction.oncomplete = () => resolve(request?.result);
        transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  }

  return {
    all: async () => (await transact<KeptPush[]>("readonly", (store) => store.getAll())) ?? [],
    get: async (scope) => (await transact<KeptPush | undefined>("readonly", (store) => store.get(scope))) ?? null,
    async put(kept) {
      await transact("readwrite", (store) => store.put(kept));
    },
    async change(scope, part) {
      await transact<undefined>("readwrite", (store) => {
        const request = store.get(scope);
        request.onsuccess = () => {
          const kept: KeptPush | undefined = request.result;
          if (kept) store.put({ ...kept, ...part(kept) });
        };
        return undefined;
      });
    },
    async remove(scope) {
      await transact("readwrite", (store) => store.delete(scope));
    },
  };
}
