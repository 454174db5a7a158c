// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://app.example.com/" }

import { act, cleanup, configure, render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { type ReactElement, type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Chats, type ChatsProps, de, en, es } from "../../../src/chat-ui/index.js";
import { CarillonProvider } from "../../../src/react.js";
import { type Device, deviceOf } from "../../harness/device.js";
import { FakeServer, refusal } from "../../harness/server.js";

const timeout = 30_000;
configure({ asyncUtilTimeout: timeout });
const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout });

let server: FakeServer;
let device: Device;
/** A group of carol's, with alice and bob. */
let id: string;

beforeEach(() => {
  // Without it everything counts as in sight.
  vi.stubGlobal("IntersectionObserver", undefined);
  server = new FakeServer();
  device = deviceOf(server);
  id = server.chats.between("carol", "alice", "group");
  server.chats.rows.get(id)?.members.set("bob", { role: "member", readSeq: 0, clearedSeq: -1, hiddenSeq: -1 });
  Object.assign(server.chats.rows.get(id) ?? {}, { title: "Lunch" });
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
const show = (props: ChatsProps = {}): ReturnType<typeof render> => render(<Chats {...props} />, { wrapper: page });
const button = (name: string | RegExp): HTMLElement => screen.getByRole("button", { name });
const press = async (name: string | RegExp): Promise<void> =>
  userEvent.click(await screen.findByRole("button", { name }));
const field = (name: string): HTMLInputElement => screen.getByLabelText(name);
const conversation = (): HTMLElement => document.querySelector(".carillon-conversation") as HTMLElement;
const people = (): string[] =>
  [...document.querySelectorAll(".carillon-person .carillon-chat-about")].map((one) =>
    [...one.children].map(({ textContent }) => textContent).join(": "),
  );
const suggestions = (): (string | null)[] =>
  [...document.querySelectorAll("datalist option")].map((option) => option.getAttribute("value"));
const spoken = (): string => document.querySelector(".carillon-group > [role=status]")?.textContent ?? "";
const members = (chatId = id): string[] => [...(server.chats.rows.get(chatId)?.members.keys() ?? [])];
const created = (): string[] => [...server.chats.rows.keys()].filter((chatId) => chatId !== id);
const own = (chatId = id): void => {
  for (const [userId, member] of server.chats.rows.get(chatId)?.members ?? []) {
    member.role = userId === "alice" ? "owner" : "member";
  }
};

async function asksForGroup(name = "New group"): Promise<void> {
  // Before it is known who the user is, nothing is kept.
  await screen.findByText("Lunch");
  await press(name);
}

/** Another user does something. */
async function calls(sub: string, method: string, path: string, body: object): Promise<void> {
  const { client } = deviceOf(server, { sub });
  client.connect();
  await act(async () => void (await client.request(method, `/api/chats/${id}${path}`, { body })));
  client.close();
}

async function opens(name = "Lunch"): Promise<void> {
  const [row] = await screen.findAllByText(name);
  await userEvent.click(row as HTMLElement);
}

async function opensDetails(name = "Lunch"): Promise<void> {
  await opens(name);
  await press(`Group details: ${name}`);
  await screen.findByRole("region", { name: "Group details" });
}

describe("a new group", () => {
  test("is made from the list, of people who are typed or suggested, and opens", async () => {
    server.chats.between("alice", "dave");
    show({ nameOf: (userId) => userId.toUpperCase() });
    await screen.findByText("DAVE");
    await asksForGroup();
    await eventually(() => expect(document.activeElement?.textContent).toBe("New group"));
    expect(suggestions().sort()).toEqual(["bob", "carol", "dave"]);
    await userEvent.type(field("Title (optional)"), " Trip ");
    await userEvent.type(field("Add a user ID"), "bob{Enter}");
    expect(spoken()).toBe("BOB was added.");
    expect(suggestions().sort()).toEqual(["carol", "dave"]);
    await userEvent.type(field("Add a user ID"), " erin ");
    await press("Add");
    expect(document.activeElement).toBe(field("Add a user ID"));
    expect(people()).toEqual(["ALICE: You, Owner", "BOB", "ERIN"]);
    screen.getByRole("heading", { name: "3 members" });
    await press("Remove: BOB");
    expect([people(), spoken(), document.activeElement]).toEqual([
      ["ALICE: You, Owner", "ERIN"],
      "BOB was removed.",
      field("Add a user ID"),
    ]);
    // What is still in the field counts too.
    await userEvent.type(field("Add a user ID"), "dave");
    await press("Create group");
    await eventually(() => within(conversation()).getByRole("heading", { name: "Trip" }));
    const made = created().at(-1) ?? "";
    expect([members(made), server.chats.rows.get(made)?.kind]).toEqual([["alice", "erin", "dave"], "group"]);
    // The list is back in its place.
    button("New group");
  });

  test("needs no title, but another person than the user", async () => {
    show();
    await asksForGroup();
    await screen.findByLabelText("Add a user ID");
    expect(button("Create group").getAttribute("aria-disabled")).toBe("true");
    await press("Create group");
    expect(document.activeElement).toBe(field("Add a user ID"));
    await userEvent.keyboard("alice{Enter}{Enter}");
    expect([people(), created()]).toEqual([[], []]);
    // Enter in the empty field creates it.
    await userEvent.keyboard("bob{Enter}{Enter}");
    await eventually(() => expect(created()).toHaveLength(1));
    expect(server.chats.rows.get(created()[0] ?? "")?.title).toBeNull();
  });

  test("that is refused keeps what was typed, and shows why", async () => {
    server.fault = ({ method }) => (method === "POST" ? refusal(422, "validation_failed") : undefined);
    show();
    await asksForGroup();
    await userEvent.type(await screen.findByLabelText("Title (optional)"), "Trip");
    await userEvent.type(field("Add a user ID"), "bob{Enter}");
    await press("Create group");
    await screen.findByText("validation_failed");
    expect([field("Title (optional)").value, people().at(-1)]).toEqual(["Trip", "bob"]);
    await press("Dismiss");
    server.fault = () => undefined;
    await press("Create group");
    await eventually(() => expect(created()).toHaveLength(1));
  });

  test("is left with Escape, and the focus goes back", async () => {
    show();
    await asksForGroup();
    await userEvent.type(await screen.findByLabelText("Title (optional)"), "Trip{Escape}");
    await eventually(() => expect(document.activeElement).toBe(button("New group")));
  });

  test("does not open once the user has left its form", async () => {
    let answer: (value: undefined) => void = () => {};
    const later = new Promise<undefined>((resolve) => {
      answer = resolve;
    });
    server.fault = ({ method }) => (method === "POST" ? later : undefined);
    show();
    await asksForGroup();
    await userEvent.type(await screen.findByLabelText("Add a user ID"), "bob");
    await press("Create group");
    await press("Back to the chats");
    answer(undefined);
    await eventually(() => expect(document.querySelectorAll("[data-chat]")).toHaveLength(2));
    expect(conversation()).toBeNull();
  });

  test("can be left to the application", async () => {
    show({ canCreateGroups: false });
    await screen.findByText("Lunch");
    expect(screen.queryByRole("button", { name: "New group" })).toBeNull();
  });
});

describe("the details of a group", () => {
  test("show who is in it, who owns it and who is online, in place of the messages", async () => {
    server.presence.set("bob", true);
    server.chats.say(id, "bob", "Hungry?");
    show();
    await opensDetails();
    expect(people()).toEqual(["carol: Owner", "alice: You", "bob"]);
    screen.getByRole("heading", { name: "3 members" });
    const row = (name: string): HTMLElement => screen.getByText(name).closest("li") as HTMLElement;
    await eventually(() => within(row("bob")).getByText("Online"));
    expect(within(row("alice")).queryByText(/line$/)).toBeNull();
    expect(conversation().querySelector(".carillon-text")).toBeNull();
    const toggle = button("Group details: Lunch");
    expect(toggle.getAttribute("aria-expanded")).toBe("true");
    field("Title").focus();
    await userEvent.keyboard("{Escape}");
    expect([document.activeElement, toggle.getAttribute("aria-expanded")]).toEqual([toggle, "false"]);
    await screen.findByRole("textbox", { name: "Message to Lunch" });
  });

  test("change the title, which every member can", async () => {
    show();
    await opensDetails();
    const save = button("Save");
    expect([field("Title").value, save.getAttribute("aria-disabled")]).toEqual(["Lunch", "true"]);
    await userEvent.clear(field("Title"));
    await userEvent.type(field("Title"), "{Enter} Dinner {Enter}");
    await eventually(() => expect(spoken()).toBe("Title saved."));
    expect(server.chats.rows.get(id)?.title).toBe("Dinner");
    within(conversation()).getByRole("heading", { name: "Dinner" });
    expect(field("Title").value).toBe("Dinner");
    // It follows the others, but not while the user types.
    await calls("bob", "PATCH", "", { title: "Brunch" });
    await eventually(() => expect(field("Title").value).toBe("Brunch"));
    await userEvent.type(field("Title"), "!");
    await calls("bob", "PATCH", "", { title: "Supper" });
    await eventually(() => within(conversation()).getByRole("heading", { name: "Supper" }));
    expect(field("Title").value).toBe("Brunch!");
  });

  test("add people, which every member can", async () => {
    server.chats.between("alice", "dave");
    show();
    await opensDetails();
    expect(suggestions()).toEqual(["dave"]);
    server.fault = ({ path }) => (path.endsWith("/members") ? refusal(409, "conflict") : undefined);
    await userEvent.type(field("Add a user ID"), "dave{Enter}");
    await screen.findByText("conflict");
    expect([field("Add a user ID").value, spoken()]).toEqual(["dave", ""]);
    server.fault = () => undefined;
    await press("Add");
    await eventually(() => expect(spoken()).toBe("dave was added."));
    expect([people().at(-1), field("Add a user ID").value, suggestions()]).toEqual(["dave", "", []]);
    expect(screen.queryByText("conflict")).toBeNull();
    expect(document.activeElement).toBe(field("Add a user ID"));
  });

  test("take the next person before there is an answer for the last one", async () => {
    let answer: (value: undefined) => void = () => {};
    const later = new Promise<undefined>((resolve) => {
      answer = resolve;
    });
    server.fault = ({ path }) => (path.endsWith("/members") ? later : undefined);
    show();
    await opensDetails();
    await userEvent.type(field("Add a user ID"), "dave{Enter}erin{Enter}");
    expect(people().slice(3)).toEqual(["dave: Loading…", "erin: Loading…"]);
    await act(async () => answer(undefined));
    await eventually(() => expect(people().slice(3)).toEqual(["dave", "erin"]));
  });

  test("remove a member for the owner alone", async () => {
    show();
    await opensDetails();
    expect(screen.queryByRole("button", { name: /^Remove/ })).toBeNull();
    // The longest member owns.
    await calls("carol", "POST", "/leave", {});
    await press("Remove: bob");
    await eventually(() => expect(spoken()).toBe("bob was removed."));
    expect([people(), members()]).toEqual([["alice: You, Owner"], ["alice"]]);
    expect(document.activeElement?.textContent).toBe("1 member");
  });

  test("show that a member could not be removed", async () => {
    own();
    server.fault = ({ path }) => (path.endsWith("/remove") ? refusal(403, "forbidden") : undefined);
    show();
    await opensDetails();
    await press("Remove: bob");
    await screen.findByText("forbidden");
    expect([document.activeElement, spoken()]).toEqual([button("Remove: bob"), ""]);
  });

  test("let the user leave, once that is confirmed", async () => {
    show();
    await opensDetails();
    await press("Leave group");
    const question = screen.getByRole("group", { name: /^Leave this group/ });
    expect(document.activeElement).toBe(within(question).getByRole("button", { name: "Cancel" }));
    await userEvent.keyboard("{Enter}");
    expect(document.activeElement).toBe(button("Leave group"));
    await userEvent.keyboard("{Enter}{Escape}");
    expect(document.activeElement).toBe(button("Leave group"));
    expect(members()).toContain("alice");

    server.fault = ({ path }) => (path.endsWith("/leave") ? refusal(403, "forbidden") : undefined);
    await userEvent.keyboard("{Enter}");
    await press("Leave");
    await screen.findByText("forbidden");
    server.fault = () => undefined;
    await press("Leave");
    await screen.findByText("Choose a chat.");
    expect([members(), conversation(), document.querySelectorAll("[data-chat]")]).toEqual([
      ["carol", "bob"],
      null,
      expect.objectContaining({ length: 0 }),
    ]);
    await eventually(() => expect(document.activeElement).toBe(button("New group")));
  });

  test("go when the user is removed", async () => {
    show();
    await opensDetails();
    await calls("carol", "POST", "/members/remove", { userIds: ["alice"] });
    await eventually(() => within(conversation()).getAllByText("This chat no longer exists."));
    expect(screen.queryByRole("region", { name: "Group details" })).toBeNull();
  });

  test("load the members of a large group page by page, and keep them while it changes", async () => {
    const all = server.chats.rows.get(id)?.members;
    for (let n = 0; n < 40; n++) all?.set(`u${n}`, { role: "member", readSeq: 0, clearedSeq: -1, hiddenSeq: -1 });
    server.chats.maxPage = 15;
    own();
    show();
    await opensDetails();
    await eventually(() => expect(people()).toHaveLength(15));
    screen.getByRole("heading", { name: "43 members" });
    await press("Show more");
    await eventually(() => expect(people()).toHaveLength(30));
    await press("Remove: u20");
    await eventually(() => expect(people()).not.toContain("u20"));
    expect(people()).toHaveLength(30);
    await press("Show more");
    await eventually(() => expect(people()).toHaveLength(42));
    expect(screen.queryByRole("button", { name: "Show more" })).toBeNull();
    expect(new Set(people()).size).toBe(42);
  });

  test("are only those of a group", async () => {
    server.chats.between("alice", "dave");
    show();
    await opens("dave");
    await screen.findByRole("textbox", { name: "Message to dave" });
    expect(screen.queryByRole("button", { name: /^Group details/ })).toBeNull();
  });
});

test.each([
  [en, "Create group"],
  [de, "Gruppe erstellen"],
  [es, "Crear grupo"],
  [{ newGroup: "Neuf", create: "Créer" }, "Créer"],
])("a new group speaks the language of the labels", async (labels, name) => {
  show({ labels });
  await asksForGroup(labels.newGroup);
  await screen.findByRole("button", { name });
  // A missing label is English.
  screen.getByLabelText("titleOptional" in labels ? labels.titleOptional : "Title (optional)");
});

test("a part that did not load is a change that was not made, and can be tried again", async () => {
  vi.doMock("../../../src/chat-ui/onDemand.js", () => {
    throw new TypeError("network");
  });
  show();
  await asksForGroup();
  await screen.findByText("no_answer");
  vi.doUnmock("../../../src/chat-ui/onDemand.js");
  await asksForGroup();
  await screen.findByLabelText("Title (optional)");
  expect(screen.queryByText("no_answer")).toBeNull();
});
