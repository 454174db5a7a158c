"use client";

// Ready-made chats for React: an entry of its own, so that a page with a bell alone downloads nothing of them.

export type { Counted } from "../ui/labels.js";
export { Chats } from "./Chats.js";
export type { GroupLabels } from "./groupLabels.js";
export { type ChatLabels, de, en, es } from "./labels.js";
export type { ChatSlots, ChatsProps } from "./types.js";
