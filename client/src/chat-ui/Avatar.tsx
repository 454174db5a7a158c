// The round sign of a chat or a user, with the presence of the user.

import type { ReactElement, ReactNode } from "react";
import type { Chat, PresenceMap } from "../chat/types.js";
import { chatName, partnerOf, useSetup } from "./setup.js";

const HUES = 6;

/** The same user has the same colour everywhere. */
function hueOf(text: string): number {
  let sum = 0;
  for (const letter of text) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 9_973;
  return sum % HUES;
}

export function Avatar({ chat, presence }: { chat: Chat; presence: PresenceMap }): ReactElement {
  const setup = useSetup();
  const partner = partnerOf(chat, setup.me);
  return (
    <Sign of={partner ?? chat.id} name={chatName(setup, chat)} online={presence.get(partner ?? "")?.online}>
      {setup.slots?.avatar?.(chat)}
    </Sign>
  );
}

interface SignProps {
  /** Whose colour it has. */
  readonly of: string;
  readonly name: string;
  readonly online: boolean | null | undefined;
  /** Instead of the letter. */
  readonly children?: ReactNode;
}

export function Sign({ of, name, online, children }: SignProps): ReactElement {
  const { labels } = useSetup();
  return (
    <span className="carillon-avatar">
      {children ?? (
        <span className="carillon-letter" data-hue={hueOf(of)} aria-hidden="true">
          {[...name][0]?.toLocaleUpperCase(labels.locale)}
        </span>
      )}
      {typeof online === "boolean" && (
        <span className="carillon-presence" data-online={online}>
          <span className="carillon-spoken">{online ? labels.online : labels.offline}</span>
        </span>
      )}
    </span>
  );
}
