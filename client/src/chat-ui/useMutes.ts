// Which chats are muted.

import { useEffect } from "react";
import { preferencesOf, type UserPreferences } from "../preferences.js";
import { useClient } from "../provider.js";

/** Tells whether a chat is muted. None is until the preferences are known. Nothing renders again for it. */
export function useMutes(): UserPreferences["isMuted"] {
  const { store, isMuted } = preferencesOf(useClient());
  useEffect(() => store.subscribe(() => {}), [store]);
  return isMuted;
}
