// Accessible tabs: one tab stop, arrow keys move and select, Home and End jump.

import { type KeyboardEvent, type ReactElement, useRef } from "react";

export interface Tab {
  readonly key: string;
  readonly name: string;
  readonly count?: number;
}

interface TabsProps {
  label: string;
  tabs: readonly Tab[];
  active: string;
  /** The id of the panel. A tab's id is `${panel}-tab-${key}`. */
  panel: string;
  onSelect: (key: string) => void;
}

export function Tabs({ label, tabs, active, panel, onSelect }: TabsProps): ReactElement {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const current = tabs.findIndex(({ key }) => key === active);
    const next = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const index = (next + tabs.length) % tabs.length;
    const tab = tabs[index];
    if (!tab) return;
    onSelect(tab.key);
    list.current?.querySelectorAll<HTMLElement>("[role=tab]")[index]?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={onKeyDown}>
      {tabs.map(({ key, name, count }) => (
        <button
          key={key}
          type="button"
          role="tab"
          id={`${panel}-tab-${key}`}
          aria-selected={key === active}
          aria-controls={panel}
          tabIndex={key === active ? 0 : -1}
          onClick={() => onSelect(key)}
        >
          {name}
          {count !== undefined && <span className="tab-count numbers">{count}</span>}
        </button>
      ))}
    </div>
  );
}
