// Ready-made components for React. Without "use client": its parts have it, so that a server component with a bell alone
// refers to no chats.

export type { ChatLabels, ChatSlots, ChatsProps } from "../chat-ui/index.js";
export { Chats } from "../chat-ui/index.js";
export * from "./components.js";
