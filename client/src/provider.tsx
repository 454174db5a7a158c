// The provider of a client, and what finds the client through it.

import { createContext, type ReactElement, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import { hold } from "./hold.js";
import type { Client } from "./types.js";

export interface Provided {
  readonly client: Client;
  readonly activeTab: string;
  readonly setActiveTab: (tab: string) => void;
}

const Context = createContext<Provided | null>(null);

/** The client of each mounted provider. */
const mounted = new Map<object, Client>();

/** Keeps the client connected while at least one provider of it is mounted. */
export function CarillonProvider({ client, children }: { client: Client; children?: ReactNode }): ReactElement {
  const [activeTab, setActiveTab] = useState("all");
  useEffect(() => {
    const provider = {};
    mounted.set(provider, client);
    const release = hold(client);
    return () => {
      mounted.delete(provider);
      release();
    };
  }, [client]);
  const provided = useMemo(() => ({ client, activeTab, setActiveTab }), [client, activeTab]);
  return <Context.Provider value={provided}>{children}</Context.Provider>;
}

/** What the nearest provider provides. */
export function useProvided(): Provided {
  const provided = useContext(Context);
  if (!provided) throw new Error("no CarillonProvider above this component");
  return provided;
}

/** The client of the nearest provider. */
export function useClient(): Client {
  return useProvided().client;
}

/**
 * Signs out the clients of all mounted providers, as `Client.signOut` does. Resolves when the device has forgotten their
 * users. Rejects if no provider is mounted, because then the user would stay on the device. This is not a hook: call it
 * anywhere.
 */
export async function signOut(): Promise<void> {
  if (mounted.size === 0) throw new Error("no CarillonProvider is mounted");
  await Promise.all([...new Set(mounted.values())].map((client) => client.signOut()));
}
