// What an application can configure in the chats.

import type { CSSProperties, ReactNode } from "react";
import type { Chat } from "../chat/types.js";
import type { ChatLabels } from "./labels.js";

/** Content for places in the chats. */
export interface ChatSlots {
  /** Instead of the title of the list. */
  readonly title?: ReactNode;
  /** Beside the title, for example a button that makes a chat. */
  readonly header?: ReactNode;
  /** Instead of the letter that stands for a chat. */
  readonly avatar?: (chat: Chat) => ReactNode;
  /** Buttons of an open chat. */
  readonly actions?: (chat: Chat) => ReactNode;
  /** Instead of the message of an empty list. */
  readonly empty?: ReactNode;
}

/** The props of `<Chats/>`. */
export interface ChatsProps {
  readonly id?: string;
  readonly className?: string;
  readonly style?: CSSProperties;
  /** The words. A missing label is English. */
  readonly labels?: Partial<ChatLabels> | undefined;
  readonly slots?: ChatSlots;
  /** How a user is called. Default: the id. */
  readonly nameOf?: (userId: string) => string;
  /** Whether the list has a button that creates a group. Default: `true`. */
  readonly canCreateGroups?: boolean;
  /** The chat that is open. Without it the component itself knows which one is. */
  readonly openId?: string | null;
  /** Called when the user opens a chat, or closes it (`null`). */
  readonly onOpen?: (chatId: string | null) => void;
}
