// @vitest-environment happy-dom

// What a server renders, and what a page makes of it.

import { act, cleanup } from "@testing-library/react";
import { type ReactElement, StrictMode } from "react";
import { hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { CarillonProvider, useNotifications, usePreferences, usePush } from "../../src/react.js";
import { Bell, Inbox, Toasts } from "../../src/ui/index.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";

let server: FakeServer;
let device: Device;

beforeEach(() => {
  server = new FakeServer();
  device = deviceOf(server);
});

afterEach(() => {
  cleanup();
  device.client.close();
});

function Count(): ReactElement {
  const { unreadCount, loading, wsStatus } = useNotifications();
  return (
    <p>
      {loading ? "loading" : unreadCount}, {wsStatus}
    </p>
  );
}

function Settings(): ReactElement {
  const { preferences } = usePreferences();
  return (
    <p>
      {usePush().status}, {preferences === null ? "not read" : "read"}
    </p>
  );
}

const App = (): ReactElement => (
  <StrictMode>
    <CarillonProvider client={device.client}>
      <Count />
      <Settings />
      <Bell />
      <Inbox />
      <Toasts />
    </CarillonProvider>
  </StrictMode>
);

test("a server renders the initial state and calls nothing, and a page hydrates it without a warning", async () => {
  server.send({ title: "hello" });
  const html = renderToString(<App />);
  expect(html.replaceAll("<!-- -->", "")).toContain("<p>loading, closed</p><p>unknown, not read</p>");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(server.calls).toEqual([]);

  const complaints = vi.spyOn(console, "error");
  const warnings = vi.spyOn(console, "warn");
  const root = document.createElement("div");
  root.innerHTML = html;
  document.body.append(root);
  const recovered: unknown[] = [];
  const app = await act(async () =>
    hydrateRoot(root, <App />, { onRecoverableError: (error) => recovered.push(error) }),
  );
  await vi.waitFor(() => expect(root.querySelector("p")?.textContent).toBe("1, connected"), { timeout: 30_000 });
  expect(root.querySelector("[data-notification]")?.textContent).toContain("hello");
  expect([recovered, complaints.mock.calls, warnings.mock.calls]).toEqual([[], [], []]);
  await act(async () => app.unmount());
  root.remove();
  expect(device.state().wsStatus).toBe("closed");
});
