import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";

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

test("the inbox shows although the connection's module does not load, which is retried", async () => {
  let attempts = 0;
  vi.doMock("../../src/link.js", async (original) => {
    if (attempts++ < 2) throw new Error("the network failed");
    return original();
  });
  server.send({ title: "listed" });
  device = await connected(deviceOf(server));
  expect(device.titles()).toEqual(["listed"]);
  expect(device.state()).toMatchObject({ wsStatus: "connecting", loading: false });
  expect(device.codes()).toContain("no_answer");
  // Loading takes real time.
  for (let n = 0; n < 30 && device.state().wsStatus !== "connected"; n++) {
    await advance(2_000);
    await vi.dynamicImportSettled();
    await settle();
  }
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket", error: null });
  expect(attempts).toBe(3);
});
