// The messages of a chat by day. The order of the messages stays: clocks may differ a little around midnight.

import type { ShownMessage } from "../chat/types.js";

/** Messages one after the other from the same local day. */
export interface Day {
  readonly key: string;
  readonly date: Date;
  readonly messages: readonly ShownMessage[];
}

export function daysOf(messages: readonly ShownMessage[]): readonly Day[] {
  const days: { key: string; date: Date; messages: ShownMessage[] }[] = [];
  const keys = new Map<string, number>();
  for (const message of messages) {
    const date = new Date(message.createdAt);
    date.setHours(0, 0, 0, 0);
    const last = days.at(-1);
    if (last?.date.getTime() === date.getTime()) {
      last.messages.push(message);
      continue;
    }
    const name = date.toDateString();
    const count = keys.get(name) ?? 0;
    keys.set(name, count + 1);
    days.push({ key: count > 0 ? `${name} ${count}` : name, date, messages: [message] });
  }
  return days;
}
