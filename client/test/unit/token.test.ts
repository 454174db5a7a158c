// The user and the token: a getToken that fails, hangs or returns no token, and tokens of another user.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CarillonError } from "../../src/index.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

let server: FakeServer;
let device: Device;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
});

afterEach(() => {
  device.client.close();
  vi.useRealTimers();
});

describe("a getToken", () => {
  test.each(["Failed to fetch", "fetch failed", "NetworkError when attempting to fetch resource.", "Load failed"])(
    "that fails with a network error is reported as no_answer: %s",
    async (message) => {
      const getToken = async (): Promise<string> => {
        throw new TypeError(message);
      };
      device = await connected(deviceOf(server, { getToken }));
      expect(device.state()).toMatchObject({ wsStatus: "offline", error: { code: "no_answer" } });
      device.client.close();
      device = await connected(deviceOf(server, { getToken, userId: "alice" }));
      expect(device.state()).toMatchObject({ wsStatus: "offline", error: { code: "no_answer" } });
    },
  );

  test("that throws a CarillonError is reported under its code, and called again after its delay", async () => {
    let calls = 0;
    const getToken = async (): Promise<string> => {
      calls++;
      throw new CarillonError("overloaded", "later", { status: 503, retryAfterMs: 20_000 });
    };
    device = await connected(deviceOf(server, { getToken }));
    expect(device.state()).toMatchObject({ wsStatus: "reconnecting", error: { code: "overloaded", status: 503 } });
    await advance(19_000);
    expect(calls).toBe(1);
    await advance(1_500);
    expect(calls).toBe(2);
  });

  test("with a bug is not reported as a network error", async () => {
    const getToken = async (): Promise<string> => (undefined as unknown as { token: string }).token;
    device = await connected(deviceOf(server, { getToken }));
    expect(device.state()).toMatchObject({ wsStatus: "reconnecting", error: { code: "token_unavailable" } });
  });

  test("that never settles is reported, and called again", async () => {
    let calls = 0;
    const getToken = (): string | Promise<string> => (++calls > 1 ? tokenOf("alice") : new Promise(() => {}));
    device = await connected(deviceOf(server, { getToken }));
    await advance(20_000);
    expect(device.state().error?.code).toBe("token_unavailable");
    await advance(1_000);
    expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
  });

  test.each([undefined, null, { token: "x" }, "two\nlines"])("that returns no token is reported: %j", async (given) => {
    device = await connected(deviceOf(server, { getToken: () => given as string }));
    await advance(60_000);
    expect(new Set(device.codes())).toEqual(new Set(["token_unavailable"]));
    expect(server.calls).toEqual([]);
  });

  test("that always returns an expired token is called with backoff", async () => {
    let calls = 0;
    const ended = tokenOf("alice", Date.now() - 60_000);
    const getToken = (): string => {
      calls++;
      return ended;
    };
    device = await connected(deviceOf(server, { getToken }));
    await advance(300_000);
    expect(device.codes()).toContain("token_expired");
    expect(calls).toBeLessThan(250);
  });
});

describe("another user", () => {
  test("who signs in while the client is closed is recognised, even if the previous token is still valid", async () => {
    server.send({ title: "alice's" });
    let sub = "alice";
    device = await connected(deviceOf(server, { getToken: () => tokenOf(sub) }));
    expect(device.titles()).toEqual(["alice's"]);
    device.client.close();
    sub = "bob";
    await connected(device);
    expect(device.state().userId).toBe("bob");
    expect(device.titles()).toEqual([]);
  });

  test("is not replaced by the previous user, whose token arrives late", async () => {
    let give = (_: string): void => {};
    let calls = 0;
    const getToken = (): string | Promise<string> =>
      ++calls > 1
        ? tokenOf("bob")
        : new Promise((resolve) => {
            give = resolve;
          });
    device = await connected(deviceOf(server, { getToken }));
    device.client.close();
    await connected(device);
    expect(device.state()).toMatchObject({ userId: "bob", wsStatus: "connected" });
    give(tokenOf("alice"));
    await advance(1_000);
    expect(device.state().userId).toBe("bob");
  });

  test("than the application named stays the user after reconnecting", async () => {
    server.send({ title: "alice's" });
    const users = new Set<string | null>();
    device = await connected(deviceOf(server, { sub: "bob", userId: "alice" }));
    expect(device.state().userId).toBe("bob");
    device.client.store.subscribe(({ userId }) => users.add(userId));
    device.client.close();
    await connected(device);
    expect([...users]).toEqual(["bob"]);
  });

  test("does not receive the response to the previous user's request", async () => {
    let sub = "alice";
    // So short-lived that every call requests another.
    device = await connected(deviceOf(server, { getToken: () => tokenOf(sub, Date.now() + 20_000) }));
    let release = (): void => {};
    server.fault = ({ path }) => {
      if (!path.startsWith("/api/notifications?limit=7")) return undefined;
      return new Promise((resolve) => {
        release = () => resolve(undefined);
      });
    };
    const refused = expect(device.client.request("GET", "/api/notifications?limit=7")).rejects.toMatchObject({
      code: "user_changed",
    });
    await settle();
    sub = "bob";
    await device.client.refresh().catch(() => {});
    await settle();
    expect(device.state().userId).toBe("bob");
    release();
    await refused;
  });
});
