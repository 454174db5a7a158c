// The preferences of the user, and push in this browser.

import { useChats } from "@carillon/client/chat-react";
import { Preferences } from "@carillon/client/ui";
import type { ReactElement } from "react";
import { typeName } from "./format.js";
import { EXAMPLE_TYPES } from "./SendForm.js";

const TYPES = EXAMPLE_TYPES.map((type) => ({ type, label: typeName(type) }));
const PUSH = { serviceWorker: "/test/redis-notification/push-worker.js" };

export function Settings({ user }: { user: string }): ReactElement {
  const { chats } = useChats();
  const nameOf = (chatId: string): string => {
    const chat = chats.find(({ id }) => id === chatId);
    const others = chat?.participants.flatMap(({ userId }) => (userId === user ? [] : (userId ?? [])));
    return chat?.title ?? others?.join(", ") ?? chatId;
  };
  return <Preferences className="settings" types={TYPES} push={PUSH} nameOf={nameOf} />;
}
