// A device whose user has chats open.

import { type ChatState, type Chats, type ChatsState, chatsOf, type OpenChat } from "../../src/chat.js";
import { connected, type Device, deviceOf, settle } from "./device.js";
import type { FakeServer } from "./server.js";

export interface Talker extends Device {
  readonly chats: Chats;
  list(): ChatsState;
  /** Shows a chat until the end of the test. */
  shows(chatId: string): Shown;
}

export interface Shown extends OpenChat {
  state(): ChatState;
  /** The bodies of all messages, with a mark on those that are not sent. */
  bodies(): string[];
  hide(): void;
}

const marks = { sent: "", sending: "…", failed: "!" };

export async function talkerOf(server: FakeServer, options: Parameters<typeof deviceOf>[1] = {}): Promise<Talker> {
  const device = deviceOf(server, options);
  const chats = chatsOf(device.client);
  await connected(device);
  await settle();
  return {
    ...device,
    chats,
    list: chats.store.getState,
    shows(chatId) {
      const open = chats.open(chatId);
      const hide = open.store.subscribe(() => {});
      const { getState } = open.store;
      return {
        ...open,
        state: getState,
        bodies: () => getState().messages.map(({ body, state }) => body + marks[state]),
        hide,
      };
    },
  };
}
