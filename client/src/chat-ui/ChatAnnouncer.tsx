// Announces messages and requests to screen readers: a single one by its text, a burst by its count. A muted chat is not
// announced.

import { type ReactElement, useEffect, useRef, useState } from "react";
import type { Chat } from "../chat/types.js";
import { named } from "../ui/format.js";
import { counted } from "../ui/labels.js";
import { filled } from "./labels.js";
import { chatName, userName, useSetup } from "./setup.js";
import { useMutes } from "./useMutes.js";

const GATHER_MS = 800;

interface ChatAnnouncerProps {
  readonly chats: readonly Chat[];
  readonly loading: boolean;
}

export function ChatAnnouncer({ chats, loading }: ChatAnnouncerProps): ReactElement {
  const setup = useSetup();
  const isMuted = useMutes();
  const [text, setText] = useState("");
  /** Up to where each chat is known. Before the list is loaded, nothing arrives. */
  const known = useRef<Map<string, number> | null>(null);
  /** The time of the newest activity. What a later page of the list brings is older. */
  const newest = useRef("");
  const gathered = useRef<string[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (loading) return;
    const isFirst = known.current === null;
    const seen = new Map(known.current ?? []);
    const before = newest.current;
    known.current = seen;
    for (const chat of chats) {
      const { id, lastMessage, lastSeq, status, createdBy, createdAt } = chat;
      const last = seen.get(id);
      const at = lastMessage?.createdAt ?? createdAt;
      seen.set(id, Math.max(last ?? 0, lastSeq));
      if (at > newest.current) newest.current = at;
      const isNews = last === undefined ? at > before : lastSeq > last;
      if (isFirst || !isNews || isMuted(id)) continue;
      const { labels, me } = setup;
      if (lastMessage && lastMessage.senderId !== me) {
        const name = userName(setup, lastMessage.senderId);
        gathered.current.push(filled(labels.arrived, { name, text: named(lastMessage.body) }));
      } else if (last === undefined && status === "PENDING" && createdBy !== me) {
        gathered.current.push(filled(labels.requestFrom, { name: chatName(setup, chat) }));
      }
    }
    if (gathered.current.length === 0) return;
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const [first, second] = gathered.current;
      const { labels } = setup;
      setText(
        first !== undefined && second === undefined
          ? first
          : counted(labels, labels.arrivedMany, gathered.current.length),
      );
      gathered.current = [];
    }, GATHER_MS);
    // The same text twice in a row would be no change, and not be read.
    setText("");
  }, [chats, loading, setup, isMuted]);
  return (
    <div className="carillon-spoken" role="status">
      {text}
    </div>
  );
}
