// @vitest-environment happy-dom

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type CarillonBell, de } from "../../src/element.js";
import { type Device, deviceOf } from "../harness/device.js";
import { BASE_URL, FakeServer, refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000 });

let server: FakeServer;
let device: Device;
let element: CarillonBell;

beforeEach(() => {
  server = new FakeServer();
  device = deviceOf(server);
  element = document.createElement("carillon-bell");
  element.client = device.client;
});

afterEach(() => {
  document.body.replaceChildren();
  device.client.close();
});

const find = <E extends HTMLElement>(selector: string): E | null =>
  element.shadowRoot?.querySelector<E>(selector) ?? null;
const all = (selector: string): HTMLElement[] => [
  ...(element.shadowRoot?.querySelectorAll<HTMLElement>(selector) ?? []),
];
const bell = (): HTMLElement => find(".carillon-bell") as HTMLElement;
const label = (of: Element | null | undefined): string | null | undefined => of?.getAttribute("aria-label");
const titles = (): (string | null)[] => all(".carillon-row-title").map((title) => title.textContent);
const press = (label: string): void => find(`[aria-label="${label}"]`)?.click();
const key = (name: string): boolean =>
  (element.shadowRoot?.activeElement ?? bell()).dispatchEvent(
    new KeyboardEvent("keydown", { key: name, bubbles: true, composed: true }),
  );

/** In the document, connected and open. */
async function open(): Promise<void> {
  document.body.append(element);
  await eventually(() => expect(device.state().wsStatus).toBe("connected"));
  bell().click();
}

describe("the bell", () => {
  test("tells how many are unread, and opens the inbox", async () => {
    server.send({ title: "older" });
    server.send({ title: "newer" });
    document.body.append(element);
    expect(label(bell())).toBe("Notifications, none unread");
    await eventually(() => expect(label(bell())).toBe("Notifications, 2 unread"));
    expect(find(".carillon-badge")?.textContent).toBe("2");
    expect(bell().getAttribute("aria-expanded")).toBe("false");
    bell().click();
    expect(bell().getAttribute("aria-expanded")).toBe("true");
    expect(find("[role=dialog]")).toBe(element.shadowRoot?.activeElement);
    expect(titles()).toEqual(["Unread: newer", "Unread: older"]);
  });

  test("closes with Escape, from the focus, and at a pointer elsewhere", async () => {
    await open();
    key("Escape");
    expect(find("[role=dialog]")).toBeNull();
    expect(element.shadowRoot?.activeElement).toBe(bell());
    bell().click();
    document.body.dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    expect(find("[role=dialog]")).toBeNull();
    bell().click();
    find(".carillon-scroller")?.dispatchEvent(new Event("pointerdown", { bubbles: true, composed: true }));
    expect(find("[role=dialog]")).not.toBeNull();
  });

  test("announces an arrival, and a burst by its count", async () => {
    await open();
    server.send({ title: "$& first" });
    const live = find("[aria-live]");
    await eventually(() => expect(live?.textContent).toBe("New notification: $& first"));
    server.send();
    server.send();
    await eventually(() => expect(live?.textContent).toBe("2 new notifications"));
  });

  test("speaks the language of its labels, also one that is set later", async () => {
    server.send();
    await open();
    element.labels = { ...de, title: "Neues" };
    expect(label(bell())).toBe("Benachrichtigungen, 1 ungelesen");
    expect(find("h2")?.textContent).toBe("Neues");
    expect(find("[data-act=delete]")?.title).toBe("Löschen");
  });
});

describe("the inbox", () => {
  test("marks as read and unread, and deletes", async () => {
    server.send({ title: "a" });
    server.send({ title: "b" });
    await open();
    const button = find('[aria-label="Mark as read: b"]');
    button?.click();
    expect(titles()).toEqual(["b", "Unread: a"]);
    // The button stays the same one, so it keeps the focus.
    expect(button?.isConnected).toBe(true);
    press("Mark as unread: b");
    expect(titles()).toEqual(["Unread: b", "Unread: a"]);
    press("Delete: a");
    expect(titles()).toEqual(["Unread: b"]);
    press("Mark all read");
    expect(titles()).toEqual(["b"]);
    await eventually(() => expect(server.unreadCount).toBe(0));
  });

  test("moves the focus to the neighbour of a deleted row, and at the end to the list", async () => {
    server.send({ title: "a" });
    server.send({ title: "b" });
    await open();
    const focusAndDelete = (title: string): void => {
      find(`[aria-label="Delete: ${title}"]`)?.focus();
      press(`Delete: ${title}`);
    };
    focusAndDelete("b");
    expect(label(element.shadowRoot?.activeElement)).toBe("Delete: a");
    focusAndDelete("a");
    expect(element.shadowRoot?.activeElement?.className).toBe("carillon-scroller");
    expect(find(".carillon-empty")?.textContent).toContain("No notifications yet.");
  });

  test("keeps arrivals waiting while a row has the focus", async () => {
    server.send({ title: "a" });
    await open();
    find("[data-act=delete]")?.focus();
    server.send({ title: "b" });
    await eventually(() => expect(find(".carillon-waiting")?.textContent).toBe("1 new"));
    expect(titles()).toEqual(["Unread: a"]);
    find(".carillon-waiting")?.click();
    expect(titles()).toEqual(["Unread: b", "Unread: a"]);
    expect(find(".carillon-waiting")).toBeNull();
  });

  test("keeps the place of a row that was deleted under the pointer", async () => {
    server.send({ title: "a" });
    server.send({ title: "b" });
    await open();
    find(".carillon-scroller")?.dispatchEvent(new Event("pointerenter"));
    press("Delete: b");
    expect(titles()).toEqual(["b", "Unread: a"]);
    expect(find("[data-gone]")?.textContent).toContain("Deleted");
    find(".carillon-scroller")?.dispatchEvent(new Event("pointerleave"));
    expect(titles()).toEqual(["Unread: a"]);
  });

  test("shows nothing of a user who signed out, not even under the pointer", async () => {
    server.send({ title: "secret" });
    await open();
    server.send({ title: "secret too" });
    await eventually(() => expect(find("[aria-live]")?.textContent).toContain("secret too"));
    find(".carillon-scroller")?.dispatchEvent(new Event("pointerenter"));
    void device.client.signOut();
    expect(titles()).toEqual([]);
    expect(element.shadowRoot?.textContent).not.toContain("secret");
  });

  test("loads older pages", async () => {
    for (let n = 0; n < 60; n++) server.send({ title: `t${n}` });
    await open();
    expect(all("li").length).toBe(50);
    find(".carillon-more")?.click();
    await eventually(() => expect(all("li").length).toBe(60));
    expect(find(".carillon-more")).toBeNull();
  });

  test("shows a refusal until it is dismissed", async () => {
    server.send({ title: "stays" });
    await open();
    server.fault = ({ method }) => (method === "DELETE" ? refusal(403, "forbidden") : undefined);
    press("Delete: stays");
    await eventually(() => expect(find("[role=alert]")?.textContent).toBe("The change was not made. forbidden"));
    expect(titles()).toEqual(["Unread: stays"]);
    press("Dismiss");
    expect(find("[role=alert]")?.textContent).toBe("");
  });

  test("shows that older notifications could not be loaded", async () => {
    for (let n = 0; n < 60; n++) server.send({ frame: "lost" });
    await open();
    await eventually(() => expect(find(".carillon-more")).not.toBeNull());
    server.fault = ({ path }) => (path.includes("&cursor=") ? refusal(503, "overloaded") : undefined);
    find(".carillon-more")?.click();
    await eventually(() => expect(find("[role=alert]")?.textContent).toContain("overloaded"));
    press("Dismiss");
    expect(find("[role=alert]")?.textContent).toBe("");
  });

  test("shows hostile content as text, and only safe links", async () => {
    const urls = [
      "javascript:alert(1)",
      "//evil.example",
      "data:text/html,x",
      "https://user@evil.example/",
      "/ok",
      "https://b.example/",
    ];
    for (const actionUrl of urls) server.send({ title: "<img src=x onerror=alert(1)>", actionUrl });
    server.send({ title: "x".repeat(100_000) });
    await open();
    expect(find("img")).toBeNull();
    expect(titles()[1]).toContain("<img src=x onerror=alert(1)>");
    expect(titles()[0]?.length).toBeLessThan(1_000);
    const links = all("a");
    expect(links.map((link) => link.getAttribute("href"))).toEqual(["https://b.example/", "/ok"]);
    expect(links.map((link) => [link.getAttribute("target"), link.getAttribute("rel")])).toEqual([
      ["_blank", "noopener noreferrer"],
      [null, null],
    ]);
  });

  test("leaves a followed link to the application, and marks it as read", async () => {
    const { id } = server.send({ actionUrl: "/reports/1" });
    const opened: string[] = [];
    document.body.addEventListener("carillon-open", (event) => {
      opened.push((event as CustomEvent<{ id: string }>).detail.id);
      event.preventDefault();
    });
    await open();
    const click = new MouseEvent("click", { bubbles: true, cancelable: true, composed: true });
    find("a")?.dispatchEvent(click);
    expect(opened).toEqual([id]);
    expect(click.defaultPrevented).toBe(true);
    await eventually(() => expect(server.unreadCount).toBe(0));
  });
});

describe("the connection", () => {
  const connects = (): Promise<void> => eventually(() => expect(device.state().wsStatus).toBe("connected"));

  test("lasts while the element is in the document, also when it moves there", async () => {
    document.body.append(element);
    await connects();
    const section = document.createElement("section");
    document.body.append(section);
    section.append(element);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(server.callsTo("/api/ws/ticket").length).toBe(1);
    element.remove();
    await eventually(() => expect(device.state().wsStatus).toBe("closed"));
    document.body.append(element);
    await connects();
  });

  test("is made from the attributes, with a getToken that was set before the element was defined", async () => {
    vi.stubGlobal("fetch", server.fetch);
    vi.stubGlobal("WebSocket", server.WebSocket);
    server.send();
    element = document.createElement("carillon-bell");
    element.setAttribute("base-url", BASE_URL);
    document.body.append(element);
    expect(element.client).toBeNull();
    element.remove();
    // An element that is not defined yet has no accessors, so a value becomes a property of its own.
    Object.defineProperty(element, "getToken", { value: () => tokenOf("alice"), configurable: true, writable: true });
    document.body.append(element);
    await eventually(() => expect(label(bell())).toBe("Notifications, 1 unread"));

    const first = element.client;
    element.setAttribute("base-url", `${BASE_URL}/other`);
    expect(first?.store.getState().wsStatus).toBe("closed");
    expect(element.client).not.toBe(first);
    element.client = null;
    element.remove();
  });
});
