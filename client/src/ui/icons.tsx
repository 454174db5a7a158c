// The icons. They are hidden from screen readers, so the element around each has a name.

import type { ReactElement } from "react";
import { ARROW, BELL, CHECK, CHECK_ALL, CLOCK, CLOSE, DELETE, UNREAD } from "./paths.js";

export function icon(path: string): () => ReactElement {
  return () => (
    <svg className="carillon-icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={path} />
    </svg>
  );
}

export const BellIcon: () => ReactElement = icon(BELL);
export const CheckIcon: () => ReactElement = icon(CHECK);
export const CheckAllIcon: () => ReactElement = icon(CHECK_ALL);
export const UnreadIcon: () => ReactElement = icon(UNREAD);
export const SnoozeIcon: () => ReactElement = icon(CLOCK);
export const DeleteIcon: () => ReactElement = icon(DELETE);
export const CloseIcon: () => ReactElement = icon(CLOSE);
export const ArrowIcon: () => ReactElement = icon(ARROW);
