// Whether the user can see an element: what is out of sight was not read.

import { type RefObject, useEffect, useState } from "react";

export function useInSight(element: RefObject<HTMLElement | null>): boolean {
  const [isVisible, setVisible] = useState(false);
  const [isInSight, setInSight] = useState(false);
  useEffect(() => {
    const update = (): void => setVisible(document.visibilityState !== "hidden");
    update();
    document.addEventListener("visibilitychange", update);
    return () => document.removeEventListener("visibilitychange", update);
  }, []);
  useEffect(() => {
    if (!element.current) return;
    if (typeof IntersectionObserver === "undefined") return setInSight(true);
    const threshold = 0.25;
    const update: IntersectionObserverCallback = (entries) =>
      setInSight((entries.at(-1)?.intersectionRatio ?? 0) >= threshold);
    const observer = new IntersectionObserver(update, { threshold });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [element]);
  return isVisible && isInSight;
}
