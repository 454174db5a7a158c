// A month of a deployment: what happens, what that is in a busy second, and what it costs.

import { bill } from "./bill.mjs";
import { deployment, SIZES, sizeFor, text } from "./deployment.mjs";
import { busy, monthOf } from "./month.mjs";

/** The prices, the assumptions and the counts. */
export const data = JSON.parse(text("docs/cost.json"));

/** `assumptions` and `prices` replace those of docs/cost.json, and `parameters` those of the size. */
export function estimate({ users, size, assumptions = {}, prices = {}, parameters = {} }) {
  size ??= sizeFor(users);
  users ??= SIZES[size];
  const is = { ...assumed(size), ...assumptions };
  const deployed = deployment(size, parameters);
  const month = monthOf(users, is, data.counts, deployed.parameters);
  const peak = busy(month, is);
  const acus = averageAcus(peak.acus, is, deployed.parameters);
  const priced = { ...data.prices };
  for (const [name, usd] of Object.entries(prices)) {
    if (!data.prices[name]) throw new Error(`docs/cost.json has no price ${name}`);
    priced[name] = { ...data.prices[name], usd };
  }
  const lines = bill({ month, is, acus, ...deployed }, priced);
  const usd = lines.reduce((sum, line) => sum + line.usd, 0);
  return { size, users, is, month, busy: peak, lines, usd, usdPerUser: usd / users, ...deployed };
}

function assumed(size) {
  const of = ({ is }) => (typeof is === "object" ? is[size] : is);
  return Object.fromEntries(Object.entries(data.assumptions).map(([name, assumption]) => [name, of(assumption)]));
}

/** Of one instance, over day and night. Instances that stand by grow with the writer. */
function averageAcus(wanted, { busyHours }, { AuroraMinCapacity, AuroraMaxCapacity }) {
  const least = Number(AuroraMinCapacity);
  const atWork = Math.min(Math.max(wanted, least), Number(AuroraMaxCapacity));
  return (atWork * busyHours + least * (24 - busyHours)) / 24;
}
