// The printed table, and the same as Markdown.

import { times } from "./rows.mjs";
import { number } from "./statistics.mjs";

const HEADING = [
  "figure",
  "ours",
  "peer",
  "limit",
  "to peer",
  "to limit",
  "target",
  "met",
  "CPU ours",
  "CPU peer",
  "load",
  "the job differs",
];

/** The table with columns of equal width. */
export function printed(figures) {
  const lines = [
    HEADING,
    ...figures.flatMap((figure) => [[heading(figure)], ...figure.rows.map((row) => cells(figure, row, true))]),
  ];
  const widths = HEADING.map((_, n) =>
    Math.max(...lines.filter((line) => line.length > 1).map((line) => line[n].length)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The table as Markdown, with medians only. */
export function markdown(figures) {
  const lines = figures.flatMap((figure) => [
    [`**${heading(figure)}**`, ...HEADING.slice(1).map(() => "")],
    ...figure.rows.map((row) => cells(figure, row, false)),
  ]);
  const rule = HEADING.map((_, n) => (n > 0 && n < 6 ? "--:" : "---"));
  return [HEADING, rule, ...lines].map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function heading({ number, title }) {
  return `${number}. ${title}`;
}

function cells(figure, row, withRange) {
  const note = row.note ?? "";
  if (row.failed || row.leftOut) {
    const [what, why] = row.failed ? ["FAILED", row.failed] : ["left out", row.leftOut];
    return [row.name, what, "", "", "", "", "", "", "", "", "", why.replaceAll("|", "/")];
  }
  const value = (role) => (row[`${role}Value`] ? `${text(row[`${role}Value`], withRange)} ${row.unit}` : "–");
  const cpu = (role) => (row[`${role}CpuUs`] ? `${number(row[`${role}CpuUs`].median)} µs` : "–");
  const ratio = (of) => (of === undefined ? "–" : times(of));
  return [
    row.name,
    value("ours"),
    value("peer"),
    value("limit"),
    ratio(row.ratio),
    ratio(row.ofLimit),
    row.checks.map(({ what }) => what).join(", ") || "–",
    met(row.checks),
    cpu("ours"),
    cpu("peer"),
    figure.load.from === figure.load.to ? `${figure.load.from}` : `${figure.load.from}–${figure.load.to}`,
    note,
  ];
}

function met(checks) {
  if (checks.length === 0) return "–";
  const missed = checks.filter(({ isMet }) => !isMet);
  if (missed.length === 0) return "yes";
  return missed.length === checks.length ? "no" : `not ${missed.map(({ what }) => what).join(", ")}`;
}

function text({ median, min, max }, withRange) {
  return withRange && min !== max ? `${number(median)} [${number(min)}..${number(max)}]` : number(median);
}
