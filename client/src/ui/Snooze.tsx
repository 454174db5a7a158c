// The buttons of a row that choose until when it is snoozed.

import { type KeyboardEvent, type ReactElement, useEffect, useRef } from "react";
import type { Notification } from "../types.js";
import { named } from "./format.js";
import { CloseIcon } from "./icons.js";
import type { Labels } from "./labels.js";

const HOUR_MS = 3_600_000;
/** In the morning, by the local clock. */
const MORNING = 8;

type Choice = readonly [label: "inAnHour" | "tomorrow" | "nextWeek", until: Date];

/** The times to choose from. */
export function snoozeChoices(now: Date): readonly Choice[] {
  const morning = (days: number): Date => {
    const day = new Date(now);
    day.setDate(day.getDate() + days);
    day.setHours(MORNING, 0, 0, 0);
    return day;
  };
  // The next Monday, which is never today.
  const days = (8 - now.getDay()) % 7 || 7;
  return [
    ["inAnHour", new Date(now.getTime() + HOUR_MS)],
    ["tomorrow", morning(1)],
    ["nextWeek", morning(days)],
  ];
}

interface SnoozeProps {
  readonly notification: Notification;
  readonly labels: Labels;
  readonly onChoose: (until: Date) => void;
  readonly onCancel: () => void;
}

/** Takes the focus when it appears. */
export function Snooze({ notification, labels, onChoose, onCancel }: SnoozeProps): ReactElement {
  const group = useRef<HTMLSpanElement>(null);
  useEffect(() => group.current?.querySelector("button")?.focus({ preventScroll: true }), []);
  const { title, expiresAt } = notification;
  const ends = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    // It would close the inbox too.
    event.stopPropagation();
    onCancel();
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset belongs to a form
    <span
      ref={group}
      className="carillon-choices"
      role="group"
      aria-label={`${labels.snooze}: ${named(title)}`}
      onKeyDown={onKeyDown}
    >
      {snoozeChoices(new Date())
        .filter(([, until]) => until.getTime() < ends)
        .map(([label, until]) => (
          <button
            key={label}
            type="button"
            className="carillon-button"
            data-act="snooze"
            onClick={() => onChoose(until)}
          >
            {labels[label]}
          </button>
        ))}
      <button
        type="button"
        className="carillon-button"
        aria-label={labels.cancel}
        title={labels.cancel}
        onClick={onCancel}
      >
        <CloseIcon />
      </button>
    </span>
  );
}
