// What all parts of the chats share, and how chats and users are called.

import { type Context, createContext, useContext } from "react";
import type { Chat } from "../chat/types.js";
import { named } from "../ui/format.js";
import type { FirstLabels } from "./labels.js";
import type { ChatSlots } from "./types.js";

/** The most members whom the name of a group without a title lists. */
const MAX_NAMED = 3;

export interface Setup {
  readonly labels: FirstLabels;
  readonly slots: ChatSlots | undefined;
  /** The user whose chats these are. */
  readonly me: string | null;
  readonly nameOf: ((userId: string) => string) | undefined;
  readonly open: (chatId: string | null) => void;
}

export const SetupContext: Context<Setup | null> = /* @__PURE__ */ createContext<Setup | null>(null);

export function useSetup(): Setup {
  const setup = useContext(SetupContext);
  if (!setup) throw new Error("a part of the chats is outside of them");
  return setup;
}

export function userName({ nameOf, labels }: Setup, userId: string | null): string {
  return userId === null ? labels.erasedUser : named(nameOf?.(userId) ?? userId);
}

/** The other members, as far as they are known. */
export const othersOf = (chat: Chat, me: string | null): readonly (string | null)[] =>
  chat.participants.map(({ userId }) => userId).filter((userId) => userId !== me);

export function chatName(setup: Setup, chat: Chat): string {
  if (chat.title) return named(chat.title);
  const others = othersOf(chat, setup.me);
  const names = others.slice(0, MAX_NAMED).map((userId) => userName(setup, userId));
  const more = chat.memberCount - 1 - names.length;
  if (names.length === 0) return setup.labels.you;
  return chat.kind === "group" && more > 0 ? `${names.join(", ")} +${more}` : names.join(", ");
}

/** The other user of a direct chat. */
export const partnerOf = (chat: Chat, me: string | null): string | null =>
  chat.kind === "direct" ? (othersOf(chat, me)[0] ?? null) : null;
