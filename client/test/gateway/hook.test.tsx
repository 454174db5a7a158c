// The hook as the components of the services that Carillon replaces call it, unchanged but for the import.

import { act, cleanup, configure, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import type { ReactElement } from "react";
import { afterAll, afterEach, beforeAll, expect, expectTypeOf, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type Client, createClient, type Notification, type Problem } from "../../src/index.js";
import { CarillonProvider, useNotifications } from "../../src/react.js";
import { createNotification } from "../../src/server.js";
import { Gateway } from "./gateway.js";

// A document for Node: with its own `fetch`, since that of happy-dom fails on answers like 304.
await vi.hoisted(async () => {
  const { Window } = await import("happy-dom");
  const window = new Window();
  for (const name of Object.getOwnPropertyNames(window)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value: Reflect.get(window, name) });
  }
});

configure({ asyncUtilTimeout: 45_000 });

let gateway: Gateway;
let client: Client;

beforeAll(async () => {
  gateway = await Gateway.start();
  client = createClient({
    baseUrl: gateway.url,
    getToken: () => gateway.token("user-id", ""),
    environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket },
  });
});

afterEach(cleanup);

afterAll(async () => {
  client?.close();
  await gateway?.stop();
});

function NotificationsPage(): ReactElement {
  // biome-ignore format: as its callers have it
  const {
    notifications,
    filteredNotifications,
    groupedNotifications,
    hasNotifications,
    loading,
    error,
    activeTab,
    setActiveTab,
    markAsRead,
    markAllAsRead,
    deleteNotification,
    wsStatus,
  } = useNotifications();

  expectTypeOf(notifications).toEqualTypeOf<readonly Notification[]>();
  expectTypeOf(filteredNotifications).toEqualTypeOf<readonly Notification[]>();
  expectTypeOf(groupedNotifications[0]?.items).toEqualTypeOf<readonly Notification[] | undefined>();
  expectTypeOf(hasNotifications).toBeBoolean();
  expectTypeOf(loading).toBeBoolean();
  expectTypeOf(error).toEqualTypeOf<Problem | null>();
  expectTypeOf(activeTab).toBeString();
  expectTypeOf(wsStatus).toBeString();
  const titles = (shown: readonly Notification[]): string =>
    shown.map(({ title, readAt }) => (readAt ? title : `${title} (new)`)).join(", ");
  return (
    <>
      <p role="status">
        {wsStatus}, {loading ? "loading" : "loaded"}, {hasNotifications ? "some" : "none"}, tab {activeTab}
      </p>
      {error && <p role="alert">{error.code}</p>}
      <p data-testid="all">{titles(notifications)}</p>
      <p data-testid="filtered">{titles(filteredNotifications)}</p>
      <p data-testid="grouped">{titles(groupedNotifications.flatMap(({ items }) => items))}</p>
      <button type="button" onClick={() => setActiveTab("unread")}>
        Unread
      </button>
      <button type="button" onClick={() => void markAllAsRead()}>
        Read all
      </button>
      {notifications.map(({ id, title }) => (
        <div key={id}>
          <button type="button" onClick={() => void markAsRead(id)}>
            Read {title}
          </button>
          <button type="button" onClick={() => void deleteNotification(id)}>
            Delete {title}
          </button>
        </div>
      ))}
    </>
  );
}

const eventually = (check: () => void | Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 45_000 });
const press = (name: string): Promise<void> => userEvent.click(screen.getByRole("button", { name }));

/** The titles of the whole inbox, of the tab, and of the tab's days. */
const shown = (): (string | null)[] =>
  ["all", "filtered", "grouped"].map((name) => screen.getByTestId(name).textContent);

/** What the server has, as the page shows titles. */
async function stored(): Promise<string> {
  const list = await client.request<{ items: Notification[] }>("GET", "/api/notifications");
  return list.items.map(({ title, readAt }) => (readAt ? title : `${title} (new)`)).join(", ");
}

test("every member that they take from useNotifications works", async () => {
  const options = { baseUrl: gateway.url, token: await gateway.token("shop") };
  const rings = (title: string): Promise<string> =>
    act(() => createNotification({ userId: "user-id", type: "like", title }, options));

  render(
    <CarillonProvider client={client}>
      <NotificationsPage />
    </CarillonProvider>,
  );
  const status = screen.getByRole("status");
  expect(status.textContent).toContain("loading, none, tab all");
  await eventually(() => expect(status.textContent).toBe("connected, loaded, none, tab all"));
  for (const title of ["One", "Two", "Three"]) await rings(title);
  await eventually(() => expect(shown()).toEqual(Array(3).fill("Three (new), Two (new), One (new)")));
  await eventually(() => expect(status.textContent).toBe("connected, loaded, some, tab all"));

  await press("Read Two");
  await eventually(async () => expect(await stored()).toBe("Three (new), Two, One (new)"));
  await eventually(() => expect(shown()).toEqual(Array(3).fill("Three (new), Two, One (new)")));
  await press("Unread");
  await eventually(() =>
    expect(shown()).toEqual(["Three (new), Two, One (new)", ...Array(2).fill("Three (new), One (new)")]),
  );
  await eventually(() => expect(status.textContent).toContain("tab unread"));

  await press("Delete One");
  await eventually(async () => expect(await stored()).toBe("Three (new), Two"));
  await press("Read all");
  await eventually(async () => expect(await stored()).toBe("Three, Two"));
  await eventually(() => expect(shown()).toEqual(["Three, Two", "", ""]));
  await eventually(() => expect(status.textContent).toContain("some, tab unread"));
  expect(screen.queryByRole("alert")).toBeNull();

  for (const title of ["Two", "Three"]) await press(`Delete ${title}`);
  await eventually(async () => expect(await stored()).toBe(""));
  await eventually(() => expect(status.textContent).toContain("none, tab unread"));

  await gateway.kill();
  await screen.findByRole("alert");
  await eventually(() => expect(status.textContent).not.toContain("connected"));
  await gateway.restart();
  await eventually(() => expect(status.textContent).toContain("connected"));
  await eventually(() => expect(screen.queryByRole("alert")).toBeNull());
});
