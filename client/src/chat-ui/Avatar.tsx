// The round sign of a chat, with the presence of the other user.

import type { ReactElement } from "react";
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
  const name = chatName(setup, chat);
  const online = partner === null ? null : (presence.get(partner)?.online ?? null);
  return (
    <span className="carillon-avatar">
      {setup.slots?.avatar?.(chat) ?? (
        <span className="carillon-letter" data-hue={hueOf(partner ?? chat.id)} aria-hidden="true">
          {[...name][0]?.toLocaleUpperCase(setup.labels.locale)}
        </span>
      )}
      {online !== null && (
        <span className="carillon-presence" data-online={online}>
          <span className="carillon-spoken">{online ? setup.labels.online : setup.labels.offline}</span>
        </span>
      )}
    </span>
  );
}
