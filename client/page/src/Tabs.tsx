// Tabs as listeners and keyboards know them: one stop, arrows move and choose, Home and End jump.

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
  /** The id of the panel, which names its tab as `${panel}-tab-${key}`. */
  panel: string;
  onChoose: (key: string) => void;
}

export function Tabs({ label, tabs, active, panel, onChoose }: TabsProps): ReactElement {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent): void => {
    const now = tabs.findIndex(({ key }) => key === active);
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const place = (next + tabs.length) % tabs.length;
    const tab = tabs[place];
    if (!tab) return;
    onChoose(tab.key);
    list.current?.querySelectorAll<HTMLElement>("[role=tab]")[place]?.focus();
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
          onClick={() => onChoose(key)}
        >
          {name}
          {count !== undefined && <span className="tab-count numbers">{count}</span>}
        </button>
      ))}
    </div>
  );
}
