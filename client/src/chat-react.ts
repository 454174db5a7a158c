// The hooks for chats and presence: a thin bridge between those of a client and React.

"use client";

import { useMemo, useSyncExternalStore } from "react";
import { chatsOf } from "./chat/chats.js";
import { presenceOf } from "./chat/presence.js";
import type { ChatState, Chats, ChatsState, OpenChat, PresenceMap } from "./chat/types.js";
import { useClient } from "./provider.js";
import type { Store } from "./types.js";

export type {
  Accept,
  Chat,
  ChatState,
  Chats,
  ChatsState,
  Member,
  Message,
  NewChat,
  OpenChat,
  Page,
  Participant,
  Presence,
  PresenceMap,
  ShownMessage,
  StoredMessage,
} from "./chat/types.js";

/** What `useChats` returns: the state and the acts of all chats. */
export type ChatList = ChatsState & Omit<Chats, "client" | "store" | "open">;

/** What `useChat` returns: the state and the acts of one chat. */
export type ChatThread = ChatState &
  Omit<OpenChat, "store"> & {
    readonly unread: number;
  };

function useStoreState<S>({ subscribe, getState, getInitialState }: Store<S>): S {
  return useSyncExternalStore(subscribe, getState, getInitialState);
}

/** All chats of the user, newest activity first. */
export function useChats(): ChatList {
  const { client: _, store, open: __, ...acts } = chatsOf(useClient());
  return { ...useStoreState(store), ...acts };
}

/** One chat with its messages. It is followed while a component that uses it is mounted. */
export function useChat(chatId: string): ChatThread {
  const { store, ...acts } = chatsOf(useClient()).open(chatId);
  const state = useStoreState(store);
  return { ...state, ...acts, unread: state.chat?.unread ?? 0 };
}

/** Who of these users is online. Components that show the same users share what is known of them. */
export function usePresence(userIds: readonly string[]): PresenceMap {
  const client = useClient();
  // The array may be another one each time.
  const ids = JSON.stringify(userIds);
  const store = useMemo(() => presenceOf(client).of(JSON.parse(ids)), [client, ids]);
  return useStoreState(store);
}
