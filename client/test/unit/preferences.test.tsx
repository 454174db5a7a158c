// @vitest-environment happy-dom

import { act, cleanup, renderHook } from "@testing-library/react";
import type { ReactElement, ReactNode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Preferences, preferencesOf, type UserPreferences } from "../../src/preferences.js";
import { CarillonProvider, usePreferences } from "../../src/react.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

const PATH = "/api/preferences";
const HOUR_MS = 3_600_000;
let server: FakeServer;
let device: Device;
let preferences: UserPreferences;
let sub = "alice";

beforeEach(async () => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
  sub = "alice";
  device = await connected(deviceOf(server, { getToken: () => tokenOf(sub) }));
  preferences = preferencesOf(device.client);
});

afterEach(() => {
  cleanup();
  device.client.close();
  vi.useRealTimers();
});

const shown = (): Preferences | null => preferences.store.getState().preferences;
const puts = (): unknown[] => server.callsTo(PATH).flatMap(({ method, body }) => (method === "PUT" ? [body] : []));
const reads = (): number => server.callsTo(PATH).filter(({ method }) => method === "GET").length;
const failing = (status: number, code: string, method = "PUT"): void => {
  server.fault = (call) => (call.path === PATH && call.method === method ? refusal(status, code) : undefined);
};
async function listens(): Promise<() => void> {
  const stop = preferences.store.subscribe(() => {});
  await settle();
  return stop;
}

describe("reading", () => {
  test("begins with the first listener, and again when the page is looked at", async () => {
    await advance(1_000);
    expect([reads(), preferences.store.getState().loading]).toEqual([0, true]);
    const stop = await listens();
    await listens();
    expect([reads(), preferences.store.getState().loading, shown()]).toEqual([1, false, server.preferences]);
    server.preferences = { types: { like: { push: false } }, quietHours: null, mutedChats: {} };
    device.page.show();
    await settle();
    expect(preferences.isOn("like", "push")).toBe(false);
    stop();
  });

  test("that fails shows why, and succeeds later", async () => {
    failing(503, "overloaded", "GET");
    await listens();
    const { error, loading } = preferences.store.getState();
    expect([error?.code, error?.source, loading, shown()]).toEqual(["overloaded", "connection", false, null]);
    server.fault = () => undefined;
    await preferences.refresh();
    expect(preferences.store.getState()).toMatchObject({ error: null, preferences: server.preferences });
  });

  test("an answer of another shape is an error", async () => {
    server.preferences = { types: [] };
    await expect(preferences.refresh()).rejects.toMatchObject({ code: "invalid_answer" });
  });
});

describe("a change", () => {
  test("shows at once, and is saved as a whole", async () => {
    await listens();
    const saved = preferences.setChannel("like", "push", false);
    expect(preferences.isOn("like", "push")).toBe(false);
    expect(preferences.store.getState().saving).toBe(true);
    await saved;
    expect(puts()).toEqual([{ types: { like: { push: false } }, quietHours: null, mutedChats: {} }]);
    expect(preferences.store.getState()).toMatchObject({ saving: false, error: null });
  });

  test("keeps the other channel, and can go back to the default", async () => {
    await preferences.setChannel("like", "push", false);
    await preferences.setChannel("like", "realtime", false);
    expect(shown()?.types).toEqual({ like: { push: false, realtime: false } });
    await preferences.setChannel("like", "push", null);
    await preferences.setChannel("like", "realtime", null);
    expect(shown()?.types).toEqual({});
  });

  test("of all types holds where a type says nothing itself", async () => {
    await preferences.setChannel("*", "push", false);
    await preferences.setChannel("alarm", "push", true);
    expect(["like", "alarm"].map((type) => preferences.isOn(type, "push"))).toEqual([false, true]);
    expect(preferences.isOn("like", "realtime")).toBe(true);
  });

  test("sets and clears quiet hours", async () => {
    const quietHours = { from: "22:00", to: "07:00", timeZone: "Europe/Berlin", days: [1, 2] };
    await preferences.setQuietHours(quietHours);
    expect(server.preferences).toMatchObject({ quietHours });
    await preferences.setQuietHours(null);
    expect(server.preferences).toMatchObject({ quietHours: null });
  });

  test("made while another is being saved follows it, in one call", async () => {
    await listens();
    for (const type of ["a", "b", "c"]) void preferences.setChannel(type, "push", false);
    expect(Object.keys(shown()?.types ?? {})).toEqual(["a", "b", "c"]);
    await advance(1_000);
    expect(puts().length).toBe(1);
    let answer = (): void => {};
    server.fault = ({ method }) =>
      method === "PUT"
        ? new Promise((resolve) => {
            answer = () => resolve(undefined);
          })
        : undefined;
    void preferences.setChannel("d", "push", false);
    await settle();
    void preferences.setChannel("e", "push", false);
    const last = preferences.setChannel("f", "push", false);
    server.fault = () => undefined;
    answer();
    await last;
    expect(puts().length).toBe(3);
    expect(Object.keys(shown()?.types ?? {}).join("")).toBe("abcdef");
  });

  test("is made of what another device has saved meanwhile", async () => {
    await listens();
    server.preferences = { types: { news: { push: false } }, quietHours: null, mutedChats: {} };
    await advance(60_000);
    await preferences.setChannel("like", "push", false);
    expect(puts()).toEqual([
      { types: { news: { push: false }, like: { push: false } }, quietHours: null, mutedChats: {} },
    ]);
  });

  test("that is refused is undone, with the error, and does not undo a later one", async () => {
    await listens();
    failing(422, "validation_failed");
    const refused = preferences.setQuietHours({ from: "22:00", to: "07:00", timeZone: "Mars/Olympus" });
    expect(shown()?.quietHours).not.toBeNull();
    await expect(refused).rejects.toMatchObject({ code: "validation_failed" });
    expect(shown()?.quietHours).toBeNull();
    expect(preferences.store.getState().error).toMatchObject({ code: "validation_failed", source: "change" });
    expect(device.codes()).toContain("validation_failed");
    // Reading them again says nothing about the change.
    await preferences.refresh();
    expect(preferences.store.getState().error).not.toBeNull();
    server.fault = () => undefined;
    await preferences.setChannel("like", "push", false);
    expect(preferences.store.getState().error).toBeNull();
    expect(shown()).toMatchObject({ quietHours: null, types: { like: { push: false } } });
  });

  test("without an answer is repeated, and stays visible", async () => {
    await listens();
    failing(503, "overloaded");
    const saved = preferences.setChannel("like", "push", false);
    await advance(5_000);
    expect(puts().length).toBeGreaterThan(1);
    expect(preferences.isOn("like", "push")).toBe(false);
    server.fault = () => undefined;
    await advance(60_000);
    await saved;
    expect(server.preferences).toMatchObject({ types: { like: { push: false } } });
  });

  test("ends with the client, and is not made without one", async () => {
    await listens();
    failing(503, "overloaded");
    const ended = expect(preferences.setChannel("like", "push", false)).rejects.toMatchObject({ code: "closed" });
    await advance(1_000);
    device.client.close();
    await advance(60_000);
    await ended;
    const count = server.callsTo(PATH).length;
    await expect(preferences.setChannel("like", "push", false)).rejects.toMatchObject({ code: "closed" });
    await advance(60_000);
    expect(server.callsTo(PATH).length).toBe(count);
    expect(preferences.store.getState().error).toBeNull();
  });

  test("of a user who leaves is dropped, and the next user sees nothing of it", async () => {
    await listens();
    await preferences.setChannel("like", "push", false);
    failing(503, "overloaded");
    const dropped = expect(preferences.setChannel("news", "push", false)).rejects.toMatchObject({ code: "closed" });
    await settle();
    sub = "bob";
    device.client.close();
    device.client.connect();
    server.fault = () => undefined;
    await advance(5_000);
    await dropped;
    expect(device.state().userId).toBe("bob");
    expect(shown()?.types).toEqual({});
    expect(server.preferences).toMatchObject({ types: { like: { push: false } } });
  });
});

describe("a muted chat", () => {
  test("is muted for ever, or until its time", async () => {
    await preferences.mute("c1");
    await preferences.mute("c2", new Date(Date.now() + HOUR_MS));
    expect(["c1", "c2", "c3"].map(preferences.isMuted)).toEqual([true, true, false]);
    expect(server.preferences["mutedChats"]).toEqual({ c1: null, c2: "2026-11-21T13:00:00.000Z" });
    await advance(HOUR_MS);
    expect(["c1", "c2"].map(preferences.isMuted)).toEqual([true, false]);
    await preferences.unmute("c1");
    // What is over is not kept.
    expect(server.preferences["mutedChats"]).toEqual({});
  });
});

describe("usePreferences", () => {
  const page = ({ children }: { children: ReactNode }): ReactElement => (
    <CarillonProvider client={device.client}>{children}</CarillonProvider>
  );

  test("returns the state and the acts, which every component shares", async () => {
    const { result } = renderHook(() => [usePreferences(), usePreferences()] as const, { wrapper: page });
    expect(result.current[0]).toMatchObject({ preferences: null, loading: true });
    await act(() => settle());
    expect(result.current[0].preferences).toEqual({ types: {}, quietHours: null, mutedChats: {} });
    await act(() => result.current[0].mute("c1"));
    expect(result.current[1].preferences?.mutedChats).toEqual({ c1: null });
    expect(reads()).toBe(1);
  });
});
