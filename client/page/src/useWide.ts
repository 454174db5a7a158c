// Whether there is room for the inbox beside the page. The style sheet has the same number.

import { useSyncExternalStore } from "react";

const WIDE = "(min-width: 68rem)";

export function useWide(): boolean {
  return useSyncExternalStore(
    (changed) => {
      const query = matchMedia(WIDE);
      query.addEventListener("change", changed);
      return () => query.removeEventListener("change", changed);
    },
    () => matchMedia(WIDE).matches,
  );
}
