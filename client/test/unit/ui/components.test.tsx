// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://app.example.com/" }

import { act, cleanup, configure, fireEvent, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactElement, type ReactNode, StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CarillonProvider } from "../../../src/react.js";
import { Bell, de, es, Inbox, type InboxOptions, Toasts } from "../../../src/ui/index.js";
import { type Device, deviceOf } from "../../harness/device.js";
import { FakeServer, refusal } from "../../harness/server.js";
import { tokenOf } from "../../harness/token.js";

const timeout = 30_000;
configure({ asyncUtilTimeout: timeout });
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout });

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

const page = ({ children }: { children: ReactNode }): ReactElement => (
  <StrictMode>
    <CarillonProvider client={device.client}>{children}</CarillonProvider>
  </StrictMode>
);
const show = (element: ReactElement): ReturnType<typeof render> => render(element, { wrapper: page });
const press = (name: string | RegExp): Promise<void> => userEvent.click(screen.getByRole("button", { name }));
const connected = (): Promise<void> => eventually(() => expect(device.state().wsStatus).toBe("connected"));
const titles = (): (string | null | undefined)[] =>
  [...document.querySelectorAll("[data-notification]")].map((row) => row.querySelector("p")?.textContent);
const list = (): HTMLElement => screen.getByRole("tabpanel");

describe("the inbox", () => {
  test("loads, shows what there is, reads, deletes and marks all as read", async () => {
    server.send({ title: "One" });
    server.send({ title: "Two" });
    show(<Inbox />);
    expect(screen.queryByText("No notifications yet.")).toBeNull();
    await screen.findByText("Two");
    expect(titles()).toEqual(["Unread: Two", "Unread: One"]);
    await press("Mark as read: Two");
    expect(titles()).toEqual(["Two", "Unread: One"]);
    await press("Mark as unread: Two");
    await press("Mark all read");
    expect(titles()).toEqual(["Two", "One"]);
    await eventually(() => expect(server.unreadCount).toBe(0));
    fireEvent.pointerLeave(list());
    await press("Delete: Two");
    fireEvent.pointerLeave(list());
    expect(titles()).toEqual(["One"]);
    await press("Delete: One");
    fireEvent.pointerLeave(list());
    await screen.findByText("No notifications yet.");
  });

  test("keeps its rows in place under the pointer, and shows what waited on demand", async () => {
    for (const title of ["One", "Two", "Three"]) server.send({ title });
    show(<Inbox />);
    await screen.findByText("Three");
    fireEvent.pointerEnter(list());
    act(() => void server.send({ title: "Four" }));
    act(() => void server.send({ title: "Five" }));
    expect(titles()).toEqual(["Unread: Three", "Unread: Two", "Unread: One"]);
    await press("Delete: Two");
    expect(titles()).toEqual(["Unread: Three", "Unread: One"]);
    expect(document.querySelector("[data-gone]")?.textContent).toContain("Deleted");
    fireEvent.pointerEnter(list());
    await press("2 new");
    expect(titles()).toEqual(["Unread: Five", "Unread: Four", "Unread: Three", "Unread: One"]);
    expect(document.querySelector("[data-gone]")).toBeNull();
    expect(document.activeElement).toBe(list());
  });

  test("shows what waited as soon as the pointer leaves", async () => {
    server.send({ title: "One" });
    show(<Inbox />);
    await screen.findByText("One");
    fireEvent.pointerEnter(list());
    act(() => void server.send({ title: "Two" }));
    expect(titles()).toEqual(["Unread: One"]);
    fireEvent.pointerLeave(list());
    expect(titles()).toEqual(["Unread: Two", "Unread: One"]);
  });

  test("shows nothing of a user to the next one, even under the pointer", async () => {
    let sub = "alice";
    device = deviceOf(server, { getToken: () => tokenOf(sub) });
    server.send({ title: "Alice's" });
    show(<Inbox />);
    await screen.findByText("Alice's");
    fireEvent.pointerEnter(list());
    sub = "bob";
    act(() => {
      device.client.close();
      device.client.connect();
    });
    await eventually(() => expect(device.state().userId).toBe("bob"));
    expect(screen.queryByText("Alice's")).toBeNull();
  });

  test("undoes a refused change, and shows the error until it is dismissed", async () => {
    server.send({ title: "Stays" });
    show(<Inbox />);
    await screen.findByText("Stays");
    server.fault = ({ method }) => (method === "DELETE" ? refusal(403, "forbidden") : undefined);
    await press("Delete: Stays");
    await eventually(() => expect(screen.getByRole("alert").textContent).toContain("forbidden"));
    fireEvent.pointerLeave(list());
    expect(titles()).toEqual(["Unread: Stays"]);
    await press("Dismiss");
    expect(screen.getByRole("alert").textContent).toBe("");
  });

  test("filters by tab, and marks only the type of its tab as read", async () => {
    server.send({ title: "Like", type: "like" });
    server.send({ title: "News", type: "news" });
    const tabs = [
      { key: "all", label: "Everything" },
      { key: "likes", label: "Likes", type: "like" },
    ];
    show(<Inbox tabs={tabs} />);
    await screen.findByText("News");
    await userEvent.click(screen.getByRole("tab", { name: "Likes" }));
    expect(titles()).toEqual(["Unread: Like"]);
    await press("Mark all read");
    expect(titles()).toEqual(["Like"]);
    await eventually(() => expect(server.unreadCount).toBe(1));
  });

  test("has in a tab what the inbox has, and not only what is loaded", async () => {
    for (let n = 0; n < 10; n++) server.send({ title: `like ${n}`, type: "like" });
    for (let n = 0; n < 60; n++) server.send({ title: `news ${n}`, type: "news" });
    show(
      <Inbox
        tabs={[
          { key: "all", label: "All" },
          { key: "like", label: "Likes", type: "like", unread: true },
        ]}
      />,
    );
    await screen.findByText("news 59");
    await userEvent.click(screen.getByRole("tab", { name: "Likes" }));
    await screen.findByText("like 9");
    expect(titles()).toHaveLength(10);
    // Under the pointer it stays as read, though the tab no longer has it and the loaded page never had it.
    fireEvent.pointerEnter(list());
    await press("Mark as read: like 9");
    await screen.findByRole("button", { name: "Mark as unread: like 9" });
    await eventually(() => expect(server.unreadCount).toBe(69));
    expect(titles()[0]).toBe("like 9");
    fireEvent.pointerLeave(list());
    await eventually(() => expect(titles()).toHaveLength(9));
  });

  test("pages", async () => {
    for (let n = 0; n < 60; n++) server.send({ title: `t${n}` });
    show(<Inbox />);
    await screen.findByText("t59");
    expect(titles()).toHaveLength(50);
    await press("Show older");
    await eventually(() => expect(titles()).toHaveLength(60));
    expect(screen.queryByRole("button", { name: "Show older" })).toBeNull();
  });

  test("moves by arrow keys from row to row, on the same button", async () => {
    for (const title of ["One", "Two", "Three"]) server.send({ title });
    show(<Inbox />);
    await screen.findByText("Three");
    const focused = (): string | null | undefined => document.activeElement?.getAttribute("aria-label");
    screen.getByRole("button", { name: "Delete: Three" }).focus();
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe("Delete: Two");
    await userEvent.keyboard("{End}");
    expect(focused()).toBe("Delete: One");
    await userEvent.keyboard("{ArrowDown}");
    expect(focused()).toBe("Delete: One");
    await userEvent.keyboard("{Home}");
    expect(focused()).toBe("Delete: Three");
    await userEvent.keyboard("{ArrowDown}{Enter}");
    await eventually(() => expect(titles()).toEqual(["Unread: Three", "Unread: One"]));
    expect(focused()).toBe("Delete: One");
  });

  test("takes custom rows, slots and a handler for links", async () => {
    server.send({ title: "One", actionUrl: "/orders/1" });
    const opened: string[] = [];
    const options: InboxOptions = {
      slots: { icon: ({ title }) => <img alt={title} />, meta: ({ type }) => `of ${type}`, footer: <p>Foot</p> },
      onOpen: ({ title }, event) => {
        event.preventDefault();
        opened.push(title);
      },
    };
    const shown = show(<Inbox {...options} />);
    await userEvent.click(await screen.findByRole("link", { name: "One" }));
    expect(opened).toEqual(["One"]);
    expect(device.state().unreadCount).toBe(0);
    for (const text of ["of like", "Foot"]) expect(screen.getByText(text)).toBeDefined();
    expect(screen.getByAltText("One")).toBeDefined();
    shown.rerender(
      <Inbox
        renderRow={({ title }, { remove }, link) => (
          <button type="button" onClick={remove}>
            {title} {link?.href}
          </button>
        )}
      />,
    );
    await press("One /orders/1");
    fireEvent.pointerLeave(list());
    expect(titles()).toEqual([]);
  });

  test.each([
    ["javascript:alert(1)", null],
    ["data:text/html,x", null],
    ["//example.com", null],
    ["/\\example.com", null],
    ["/\u0001x", null],
    ["https://[", null],
    ["/orders/1", null],
    ["https://example.com/", "noopener noreferrer"],
  ])("renders a link only if it is safe: %j", async (actionUrl, rel) => {
    const safe = actionUrl === "/orders/1" || rel !== null;
    server.send({ title: "One", actionUrl });
    show(
      <>
        <Inbox />
        <Toasts />
      </>,
    );
    await screen.findByText("One");
    await connected();
    act(() => void server.send({ title: "Two", actionUrl }));
    await eventually(() => expect(document.querySelectorAll("[data-toast]")).toHaveLength(1));
    const links = screen.queryAllByRole("link");
    // Two in the inbox, and one in the toast.
    expect(links.map((link) => link.getAttribute("href"))).toEqual(safe ? [actionUrl, actionUrl, actionUrl] : []);
    for (const link of links) expect(link.getAttribute("rel")).toBe(rel);
  });

  test("cuts a title of 100,000 characters, in its text and in the names of its buttons", async () => {
    server.send({ title: "😀".repeat(50_000) });
    show(<Inbox />);
    const remove = await screen.findByRole("button", { name: /^Delete/ });
    expect(remove.getAttribute("aria-label")).toHaveLength("Delete: ".length + 81);
    const title = document.querySelector("[data-notification] p")?.textContent ?? "";
    expect(title.length).toBeLessThan(700);
    // No half of a pair is left.
    expect(title).toBe([...title].filter((one) => one.length === 2 || one === "…" || /[\w: ]/.test(one)).join(""));
  });

  test.each([
    [de, "Benachrichtigungen"],
    [es, "Notificaciones"],
    [{ title: "Avis" }, "Avis"],
  ])("speaks the language of its labels", async (labels, name) => {
    server.send({ title: "One" });
    show(<Inbox labels={labels} />);
    await screen.findByText("One");
    screen.getByRole("heading", { name });
    screen.getByRole("button", { name: `${(labels as typeof de).delete ?? "Delete"}: One` });
  });
});

describe("the bell", () => {
  test("counts, opens and closes, and gives the focus back", async () => {
    for (let n = 0; n < 2; n++) server.send({ title: `t${n}` });
    show(<Bell />);
    const bell = await screen.findByRole("button", { name: "Notifications, 2 unread" });
    expect(bell.getAttribute("aria-expanded")).toBe("false");
    await userEvent.click(bell);
    const panel = screen.getByRole("dialog", { name: "Notifications" });
    expect(bell.getAttribute("aria-expanded")).toBe("true");
    expect(bell.getAttribute("aria-controls")).toBe(panel.id);
    expect(document.activeElement).toBe(panel);
    within(panel).getByText("t1");
    await userEvent.keyboard("{Escape}");
    expect(screen.queryByRole("dialog")).toBeNull();
    expect(document.activeElement).toBe(bell);
    await userEvent.click(bell);
    await userEvent.click(document.body);
    expect(screen.queryByRole("dialog")).toBeNull();
  });

  test("keeps the focus where it is while notifications arrive", async () => {
    server.send({ title: "One" });
    show(<Bell />);
    await userEvent.click(await screen.findByRole("button", { name: "Notifications, 1 unread" }));
    const button = screen.getByRole("button", { name: "Delete: One" });
    button.focus();
    act(() => void server.send({ title: "Two" }));
    expect(document.activeElement).toBe(button);
  });
});

describe("toasts", () => {
  test("show arrivals, at most three, until they are dismissed or read", async () => {
    server.send({ title: "Before" });
    show(<Toasts />);
    await connected();
    const toasts = (): (string | undefined)[] =>
      [...document.querySelectorAll<HTMLElement>("[data-toast]")].map(
        (one) => one.querySelector("p")?.textContent ?? "",
      );
    expect(toasts()).toEqual([]);
    for (const title of ["One", "Two", "Three", "Four"]) act(() => void server.send({ title }));
    expect(toasts()).toEqual(["Two", "Three", "Four"]);
    await press("Dismiss: Three");
    expect(toasts()).toEqual(["Two", "Four"]);
    fireEvent.pointerLeave(screen.getByRole("region"));
    await act(() => device.client.markAllAsRead());
    await eventually(() => expect(toasts()).toEqual([]));
  });

  test.each(["deleted", "snoozed"] as const)(
    "disappear when their notification was %s, here or elsewhere",
    async (kind) => {
      show(<Toasts />);
      await connected();
      for (const title of ["One", "Two", "Three"]) act(() => void server.send({ title }));
      const shown = (): (string | undefined)[] =>
        [...document.querySelectorAll("[data-toast] p:first-child")].map((title) => title.textContent);
      expect(shown()).toEqual(["One", "Two", "Three"]);
      act(() => void server.change(kind, ["n1"]));
      expect(shown()).toEqual(["Two", "Three"]);
      const { client } = device;
      const until = new Date(Date.now() + 60_000);
      act(() => void (kind === "deleted" ? client.deleteNotification("n2") : client.snooze("n2", until)));
      expect(shown()).toEqual(["Three"]);
      if (kind === "deleted") return;
      // What comes back pops up again, once.
      act(() => void server.wake("n1"));
      expect(shown()).toEqual(["Three", "One"]);
    },
  );

  test("disappear by themselves, but not under the pointer", async () => {
    show(<Toasts showMs={50} />);
    await connected();
    act(() => void server.send({ title: "One" }));
    await screen.findByText("One");
    await eventually(() => expect(screen.queryByText("One")).toBeNull());
    fireEvent.pointerEnter(screen.getByRole("region"));
    act(() => void server.send({ title: "Two" }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    screen.getByText("Two");
    fireEvent.pointerLeave(screen.getByRole("region"));
    await eventually(() => expect(screen.queryByText("Two")).toBeNull());
  });
});

test("an arrival is announced once, however many components there are", async () => {
  show(
    <>
      <Bell />
      <Inbox />
      <Toasts />
    </>,
  );
  await connected();
  act(() => void server.send({ title: "It costs $& more" }));
  const spoken = (): string => [...document.querySelectorAll("[aria-live]")].map((one) => one.textContent).join("");
  await eventually(() => expect(spoken()).toBe("New notification: It costs $& more"));
  act(() => void server.send({ title: "a" }));
  act(() => void server.send({ title: "b" }));
  await eventually(() => expect(spoken()).toBe("2 new notifications"));
});

test("everything renders on a server", () => {
  const html = renderToString(
    page({
      children: (
        <>
          <Bell />
          <Inbox />
          <Toasts />
        </>
      ),
    }),
  );
  expect(html).toContain("Notifications, none unread");
});
