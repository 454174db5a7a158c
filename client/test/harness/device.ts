// A device with a client, which records the events and problems that the client emits.

import { vi } from "vitest";
import {
  type CarillonEvent,
  type Client,
  type ClientOptions,
  createClient,
  type Environment,
  type Problem,
  type State,
} from "../../src/index.js";
import { BASE_URL, type FakeServer } from "./server.js";
import { tokenOf } from "./token.js";

export interface Device {
  readonly client: Client;
  readonly problems: Problem[];
  /** What a listener for every tab receives. */
  readonly events: CarillonEvent[];
  /** What a listener for the whole browser receives in this tab. */
  readonly rung: CarillonEvent[];
  readonly page: FakePage;
  state(): State;
  titles(): string[];
  /** The codes of all problems so far. */
  codes(): string[];
}

/** The parts of a page that report visibility and network. */
export class FakePage extends EventTarget {
  visibilityState: DocumentVisibilityState = "visible";
  isOnline = true;

  hide(): void {
    this.visibilityState = "hidden";
    this.dispatchEvent(new Event("visibilitychange"));
  }

  show(): void {
    this.visibilityState = "visible";
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

type DeviceOptions = Partial<ClientOptions> & { sub?: string };

export function deviceOf(server: FakeServer, { sub = "alice", ...options }: DeviceOptions = {}): Device {
  const problems: Problem[] = [];
  const events: CarillonEvent[] = [];
  const rung: CarillonEvent[] = [];
  const page = new FakePage();
  const environment: Partial<Environment> = {
    fetch: server.fetch,
    WebSocket: server.WebSocket,
    indexedDB: null,
    BroadcastChannel: null,
    locks: null,
    localStorage: () => null,
    document: page as unknown as Document,
    window: page as unknown as Window,
    isOnline: () => page.isOnline,
    random: () => 0.5,
    ...options.environment,
  };
  const client = createClient({
    baseUrl: BASE_URL,
    getToken: () => tokenOf(sub),
    onProblem: (problem) => problems.push(problem),
    ...options,
    environment,
  });
  client.onEvent((event) => events.push(event), { everyTab: true });
  client.onEvent((event) => rung.push(event));
  return {
    client,
    problems,
    events,
    rung,
    page,
    state: client.store.getState,
    titles: () => client.store.getState().notifications.map(({ title }) => title),
    codes: () => problems.map(({ code }) => code),
  };
}

/** Advances time, and runs everything that is due by then. */
export const advance = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

/** Runs everything that is due now. */
export const settle = (): Promise<unknown> => advance(0);

export async function connected(device: Device): Promise<Device> {
  device.client.connect();
  await settle();
  // The cache and the tabs are loaded on demand, which takes real time.
  await vi.dynamicImportSettled();
  await settle();
  return device;
}
