// The tables of docs/cost.md, and how the calculator prints.

import { data } from "./estimate.mjs";

/** What may happen in a busy second, and the limit: of AWS by default, or of the templates. */
const BUSY = [
  ["open sockets", "openSockets", () => "none"],
  ["sockets opened a second", "socketsOpened", () => 500],
  ["frames from clients a second", "framesIn", () => 4_000],
  ["HTTP calls a second", "httpCalls", () => 2_000],
  ["requests a second, pushes included", "requests", () => 10_000],
  ["calls at once", "callsAtOnce", () => 1_000],
  ["statements a second", "statements", () => "none"],
  ["Redis commands a second", "commands", () => "none"],
  ["ACUs of the writer", "acus", ({ parameters }) => Number(parameters.AuroraMaxCapacity)],
];

const MONTH = [
  ["notifications", "notifications"],
  ["messages", "messages"],
  ["hours of open sockets", "openHours"],
  ["frames: in, replies and pushes", "frames"],
  ["of them pushes, each a POST", "pushes"],
  ["HTTP calls", "httpCalls"],
  ["invocations", "invocations"],
  ["statements", "statements"],
  ["Redis commands", "commands"],
  ["GB in the database after a year", "storedGb"],
];

const head = (first, estimates, ...more) => [
  [first, ...estimates.map(({ size, users }) => `${size}: ${number(users)} users`), ...more],
  ["---", ...estimates.map(() => "--:"), ...more.map(() => "---")],
];

export const billTable = (estimates) => [
  ...head("USD a month", estimates, "what is multiplied", "by the price"),
  ...estimates[0].lines.map(({ name, formula }, n) => [
    name,
    ...estimates.map(({ lines }) => usd(lines[n].usd)),
    formula,
    [...new Set(estimates.map(({ lines }) => `\`${lines[n].price}\``))].join(", "),
  ]),
  ["**in all**", ...estimates.map((estimate) => `**${usd(estimate.usd)}**`), "", ""],
  ["for each daily user", ...estimates.map(({ usdPerUser }) => usd(usdPerUser, 4)), "", ""],
];

export const monthTable = (estimates) => [
  ...head("a month", estimates),
  ...MONTH.map(([name, key]) => [name, ...estimates.map(({ month }) => number(month[key]))]),
];

export const busyTable = (estimates) => [
  ...head("in a busy second", estimates, "limit"),
  ...BUSY.map(([name, key, limit]) => {
    const limits = [...new Set(estimates.map(limit))];
    const cell = (estimate) => {
      const isOver = estimate.busy[key] > limit(estimate);
      return isOver ? `**${number(estimate.busy[key])}**` : number(estimate.busy[key]);
    };
    const shown = limits.map((each) => (typeof each === "number" ? number(each) : each));
    return [name, ...estimates.map(cell), shown.join(", ")];
  }),
];

export const countTable = () => [
  ["act", "what it is", "calls", "in", "replies", "pushes", "statements", "commands", "bytes out", "stored"],
  ["---", "---", "---", "--:", "--:", "--:", "--:", "--:", "--:", "--:"],
  ...Object.entries(data.counts).map(([act, each]) => [
    `\`${act}\``,
    data.acts[act],
    Object.entries(each.invocations)
      .map(([name, n]) => (n === 1 ? name : `${n} ${name}`))
      .join(", ") || "–",
    ...["framesIn", "replies", "pushes", "statements", "commands", "bytesOut"].map((key) => number(each[key])),
    each.storedBytes ? number(each.storedBytes) : "–",
  ]),
];

export const assumptionTable = () => [
  ["option", "is", "what"],
  ["---", "---", "---"],
  ...Object.entries(data.assumptions).map(([name, { is, of }]) => [
    `\`--${option(name)}\``,
    typeof is === "object" ? Object.values(is).join(", ") : `${is}`,
    of,
  ]),
];

export const priceTable = () => [
  ["price", "USD", "for", "where to check", "checked"],
  ["---", "---", "---", "---", "---"],
  ...Object.entries(data.prices).map(([name, { usd, per, unit, source, checked }]) => [
    `\`${name}\``,
    typeof usd === "number"
      ? `${usd}`
      : usd.map(([to, each]) => (to ? `${each} up to ${number(to)}` : `${each} after`)).join(", "),
    per === 1 ? unit : `${number(per)} ${unit}`,
    `[${new URL(source).pathname.split("/").filter(Boolean).slice(0, -1).join(" ")}](${source})`,
    checked?.map(({ on, at }) => `[${confirmer(at)}, ${on}](${at})`).join("<br>") ?? "no",
  ]),
];

/** Who wrote a page: the owner of a repository, or the site. */
function confirmer(at) {
  const { hostname, pathname } = new URL(at);
  const isRepository = ["github.com", "raw.githubusercontent.com"].includes(hostname);
  return isRepository ? pathname.split("/")[1] : hostname.replace(/^www\./, "");
}

/** `visibleHoursPerUser` as an option: `visible-hours-per-user`. */
export const option = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

export const markdown = (rows) => rows.map((row) => `| ${row.join(" | ")} |`).join("\n");

/** The same for a terminal: columns of equal width, without marks and addresses. */
export function printed(rows) {
  const plain = (cell) =>
    cell
      .replaceAll(/\[(.*?)\]\(.*?\)/g, "$1")
      .replaceAll("<br>", "; ")
      .replaceAll(/[*`]/g, "");
  const lines = rows.filter((_, n) => n !== 1).map((row) => row.map(plain));
  const widths = lines[0].map((_, n) => Math.max(...lines.map((line) => line[n].length)));
  const isLeft = rows[1].map((cell) => cell === "---");
  const pad = (cell, n) => (isLeft[n] ? cell.padEnd(widths[n]) : cell.padStart(widths[n]));
  return lines.map((line) => line.map(pad).join("  ").trimEnd()).join("\n");
}

function usd(value, digits = 2) {
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Three digits, or all of a whole number below a thousand. */
function number(value) {
  if (value >= 1e9) return `${short(value / 1e9)} billion`;
  if (value >= 1e6) return `${short(value / 1e6)} million`;
  return value >= 1_000 ? Math.round(value).toLocaleString("en-US") : short(value);
}

const short = (value) => `${Number(value.toPrecision(3))}`;
