// Whether there is room for the inbox next to the page. The style sheets use the same width.

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
