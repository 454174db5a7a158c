// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://app.example/" }

import { act, cleanup, configure, fireEvent, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CarillonProvider } from "../../../src/react.js";
import {
  Preferences,
  type PreferencesProps,
  preferencesDe,
  preferencesEn,
  preferencesEs,
} from "../../../src/ui/index.js";
import { type Device, deviceOf } from "../../harness/device.js";
import { FakeOrigin } from "../../harness/origin.js";
import { FakeServer, refusal } from "../../harness/server.js";

const timeout = 30_000;
configure({ asyncUtilTimeout: timeout });
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout });

let server: FakeServer;
let origin: FakeOrigin;
let device: Device;

beforeEach(() => {
  server = new FakeServer();
  origin = new FakeOrigin();
  device = deviceOf(server, { environment: origin.page() });
  vi.stubGlobal("PushManager", class {});
});

afterEach(() => {
  cleanup();
  device.client.close();
});

const types = [{ type: "like", label: "Likes" }];
const show = (props: PreferencesProps = { types }): void => {
  render(
    <StrictMode>
      <CarillonProvider client={device.client}>
        <Preferences {...props} />
      </CarillonProvider>
    </StrictMode>,
  );
};
const line = (name: string): HTMLElement => screen.getByRole("group", { name });
const box = (name: string, of?: string): HTMLInputElement =>
  (of === undefined ? screen : within(line(of))).getByRole("checkbox", { name });
const ready = (): Promise<HTMLElement> => screen.findByRole("group", { name: "What rings" }, { timeout });

describe("the preferences", () => {
  test("list the given types, those that are set, and all others", async () => {
    server.preferences = {
      types: { news: { push: false }, "*": { realtime: false } },
      quietHours: null,
      mutedChats: {},
    };
    show();
    expect(screen.getByText("Loading…")).toBeDefined();
    await ready();
    const states = ["Likes", "news", "Everything else"].map((of) => [
      box("On the page", of).checked,
      box("Push", of).checked,
    ]);
    expect(states).toEqual([
      [false, true],
      [false, false],
      [false, true],
    ]);
  });

  test("save what is clicked, and show the error of a refusal until it is dismissed", async () => {
    show();
    await ready();
    await userEvent.click(box("Push", "Likes"));
    expect(box("Push", "Likes").checked).toBe(false);
    await eventually(() => expect(server.preferences).toMatchObject({ types: { like: { push: false } } }));
    server.fault = ({ method }) => (method === "PUT" ? refusal(422, "validation_failed") : undefined);
    await userEvent.click(box("Push", "Likes"));
    await eventually(() => expect(screen.getByRole("alert").textContent).toContain("validation_failed"));
    expect(box("Push", "Likes").checked).toBe(false);
    await userEvent.click(screen.getByRole("button", { name: "Dismiss" }));
    expect(screen.getByRole("alert").textContent).toBe("");
  });

  test("set quiet hours in the browser's time zone, and save a time once it is complete", async () => {
    show();
    await ready();
    await userEvent.click(box("Hold pushes at night"));
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    await eventually(() =>
      expect(server.preferences).toMatchObject({ quietHours: { from: "22:00", to: "07:00", timeZone } }),
    );
    const puts = (): number => server.callsTo("/api/preferences").filter(({ method }) => method === "PUT").length;
    const before = puts();
    fireEvent.change(screen.getByLabelText("From"), { target: { value: "" } });
    fireEvent.blur(screen.getByLabelText("From"));
    fireEvent.change(screen.getByLabelText("From"), { target: { value: "23:30" } });
    expect(puts()).toBe(before);
    fireEvent.blur(screen.getByLabelText("From"));
    await eventually(() => expect(server.preferences).toMatchObject({ quietHours: { from: "23:30", to: "07:00" } }));
    await userEvent.click(box("Hold pushes at night"));
    await eventually(() => expect(server.preferences).toMatchObject({ quietHours: null }));
  });

  test("list muted chats by name, without those whose time is over", async () => {
    server.preferences = { types: {}, quietHours: null, mutedChats: { c1: null, c2: "2020-01-01T00:00:00.000Z" } };
    show({ nameOf: (id) => `The chat ${id}` });
    await ready();
    expect(screen.queryByText("The chat c2")).toBeNull();
    await userEvent.click(screen.getByRole("button", { name: "Unmute: The chat c1" }));
    await eventually(() => expect(server.preferences["mutedChats"]).toEqual({}));
    expect(screen.queryByText("The chat c1")).toBeNull();
  });
});

describe("push on this device", () => {
  const deviceBox = (): HTMLInputElement => box("Show notifications while the page is closed");

  test("is turned on and off", async () => {
    show();
    await eventually(() => expect(deviceBox().getAttribute("aria-disabled")).toBe("false"));
    await userEvent.click(deviceBox());
    await eventually(() => expect(deviceBox().checked).toBe(true));
    expect(Object.values(server.pushes.owners)).toEqual(["alice"]);
    await eventually(() => expect(deviceBox().getAttribute("aria-disabled")).toBe("false"));
    await userEvent.click(deviceBox());
    await eventually(() => expect(deviceBox().checked).toBe(false));
    expect(server.pushes.owners).toEqual({});
  });

  test("says why it cannot be, and does not ask", async () => {
    origin.permission = "denied";
    show();
    await screen.findByText("Notifications are blocked in the settings of this browser.");
    await userEvent.click(deviceBox());
    expect([deviceBox().checked, origin.asked]).toEqual([false, 0]);
  });

  test("shows the code of a failure", async () => {
    origin.refusal = new DOMException("no", "AbortError");
    show();
    await eventually(() => expect(deviceBox().getAttribute("aria-disabled")).toBe("false"));
    await userEvent.click(deviceBox());
    await screen.findByText(/push_refused/);
    expect(deviceBox().checked).toBe(false);
  });

  test("is left out where the server sends none, or the application does not want it", async () => {
    server.pushes.key = null;
    show();
    await ready();
    await eventually(() => expect(screen.queryByRole("group", { name: "This device" })).toBeNull());
    cleanup();
    server.pushes.key = "x";
    show({ push: null });
    await act(async () => {});
    expect(screen.queryByRole("group", { name: "This device" })).toBeNull();
  });
});

test("a server renders them without their content", () => {
  const html = renderToString(
    <CarillonProvider client={device.client}>
      <Preferences />
    </CarillonProvider>,
  );
  expect(html).toContain("Loading…");
  expect(server.calls).toEqual([]);
});

test.each([preferencesDe, preferencesEs])(
  "all labels of $locale exist, with the placeholders of the original",
  (labels) => {
    expect(Object.keys(labels).sort()).toEqual(Object.keys(preferencesEn).sort());
    for (const [key, label] of Object.entries(labels)) {
      const original = preferencesEn[key as keyof typeof preferencesEn];
      expect([key, label.match(/\{\w+\}/g)]).toEqual([key, original.match(/\{\w+\}/g)]);
      expect(label.trim()).not.toBe("");
    }
  },
);
