// The buttons of a row that choose until when it is snoozed.

import { type KeyboardEvent, type ReactElement, useEffect, useRef } from "react";
import type { Notification } from "../types.js";
import { formatsOf, named } from "./format.js";
import { CloseIcon } from "./icons.js";
import type { Labels } from "./labels.js";

const HOUR_MS = 3_600_000;
/** In the morning, by the local clock. */
const MORNING = 8;

/** The times to choose from: in an hour, tomorrow morning, and the morning of the next Monday after today. */
export function snoozeTimes(now: Date): readonly [Date, Date, Date] {
  const morning = (days: number): Date => {
    const day = new Date(now);
    day.setDate(day.getDate() + days);
    day.setHours(MORNING, 0, 0, 0);
    return day;
  };
  return [new Date(now.getTime() + HOUR_MS), morning(1), morning((8 - now.getDay()) % 7 || 7)];
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
  const [hour, tomorrow, monday] = snoozeTimes(new Date());
  const choices = [
    { name: labels.inAnHour, until: hour },
    { name: labels.tomorrow, until: tomorrow },
    { name: formatsOf(labels.locale).weekday(monday), until: monday },
  ];
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
      className="carillon-snooze"
      role="group"
      aria-label={`${labels.snooze}: ${named(title)}`}
      onKeyDown={onKeyDown}
    >
      {choices
        .filter(({ until }, n) => until.getTime() < ends && until.getTime() !== choices[n - 1]?.until.getTime())
        .map(({ name, until }) => (
          <button
            key={name}
            type="button"
            className="carillon-button"
            data-act="snooze"
            // The second click of a double click on the button that was here before chooses nothing.
            onClick={({ detail }) => detail < 2 && onChoose(until)}
          >
            {name}
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
