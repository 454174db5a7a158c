// What the parts of groups share: their words, their styles, and the users that they suggest.

/// <reference path="../ui/css.d.ts" />

import { useMemo } from "react";
import type { Chat } from "../chat/types.js";
import { stylesOf } from "../ui/styles.js";
import css from "./chat-groups.css?inline";
import { groupWords } from "./groupLabels.js";
import type { ChatLabels } from "./labels.js";
import { useSetup } from "./setup.js";

/** The limit of the server, in characters. */
export const MAX_TITLE = 200;
/** The most suggestions. More would be too many to choose from. */
const MAX_SUGGESTED = 200;

export const useGroupStyles: () => void = /* @__PURE__ */ stylesOf(css, "--carillon-group-styles");

/** The labels of the chats, with those of groups. */
export function useGroupLabels(): ChatLabels {
  const { labels } = useSetup();
  return useMemo(() => ({ ...groupWords, ...labels }), [labels]);
}

/** The id that a user has typed, in the form that the server requires. */
export const userIdOf = (text: string): string => text.trim().normalize("NFC");

/** The other users in these chats, without those that are `chosen` already. */
export function suggested(chats: readonly Chat[], me: string | null, chosen: readonly (string | null)[]): string[] {
  const known = new Set(chats.flatMap(({ participants }) => participants.map(({ userId }) => userId)));
  for (const userId of [me, ...chosen]) known.delete(userId);
  return [...known].filter((userId) => userId !== null).slice(0, MAX_SUGGESTED);
}
