// Accessible tabs: one tab stop, arrow keys move and select, Home and End jump.

import { type KeyboardEvent, type ReactElement, useRef } from "react";
import type { InboxTab } from "./types.js";

interface TabsProps {
  readonly label: string;
  readonly tabs: readonly InboxTab[];
  readonly active: string;
  /** The id of the panel, with which the ids of the tabs begin. */
  readonly panel: string;
  readonly onSelect: (key: string) => void;
}

export function Tabs({ label, tabs, active, panel, onSelect }: TabsProps): ReactElement {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>): void => {
    const current = tabs.findIndex(({ key }) => key === active);
    const forward = getComputedStyle(event.currentTarget).direction === "rtl" ? -1 : 1;
    const next = {
      ArrowRight: current + forward,
      ArrowLeft: current - forward,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const index = (next + tabs.length) % tabs.length;
    const tab = tabs[index];
    if (!tab) return;
    onSelect(tab.key);
    list.current?.querySelectorAll<HTMLElement>("[role=tab]")[index]?.focus();
  };
  return (
    <div className="carillon-tabs" role="tablist" aria-label={label} ref={list} onKeyDown={onKeyDown}>
      {tabs.map(({ key, label, count }, n) => (
        <button
          key={key}
          type="button"
          role="tab"
          id={`${panel}-${n}`}
          className="carillon-tab"
          aria-selected={key === active}
          aria-controls={panel}
          tabIndex={key === active ? 0 : -1}
          onClick={() => onSelect(key)}
        >
          {label}
          {count !== undefined && <span className="carillon-count">{count}</span>}
        </button>
      ))}
    </div>
  );
}
