// Chats and presence, without a framework: `chatsOf(client)` and `presenceOf(client)`.

export { chatsOf } from "./chat/chats.js";
export { presenceOf } from "./chat/presence.js";
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
  Presences,
  ShownMessage,
  StoredMessage,
} from "./chat/types.js";
