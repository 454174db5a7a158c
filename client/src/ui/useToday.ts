// The present day, for dates that are written relative to it.

import { useEffect, useState } from "react";

/** The time of the last render, and after midnight a new one, because "today" is another day then. */
export function useToday(): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const midnight = new Date(now).setHours(24, 0, 0, 0);
    const timer = setTimeout(() => setNow(new Date()), midnight - Date.now() + 1000);
    return () => clearTimeout(timer);
  }, [now]);
  return now;
}
