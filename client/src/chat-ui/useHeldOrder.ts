// Keeps the chats of a list in their places while the pointer is over it.

import { useLayoutEffect, useRef } from "react";
import type { Chat } from "../chat/types.js";

/** The chats in order, or while `isHeld` as they stood before, with new ones below. */
export function heldOrder(previous: readonly string[], chats: readonly Chat[], isHeld: boolean): readonly Chat[] {
  if (!isHeld || previous.length === 0) return chats;
  const rest = new Map(chats.map((chat) => [chat.id, chat]));
  const kept = previous.flatMap((id) => {
    const chat = rest.get(id);
    rest.delete(id);
    return chat ?? [];
  });
  return [...kept, ...rest.values()];
}

export function useHeldOrder(chats: readonly Chat[], isHeld: boolean): readonly Chat[] {
  const previous = useRef<readonly string[]>([]);
  const shown = heldOrder(previous.current, chats, isHeld);
  useLayoutEffect(() => {
    previous.current = shown.map(({ id }) => id);
  });
  return shown;
}
