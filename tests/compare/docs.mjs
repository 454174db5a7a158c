// Puts the figures of a run into docs/performance.md, between its marks, and beside it as JSON and as a chart.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chart } from "./chart.mjs";
import { figures } from "./figures.mjs";
import { root } from "./peer-packages.mjs";
import { markdown } from "./table.mjs";
import { summary, verdicts } from "./verdicts.mjs";

const page = join(root, "docs/performance.md");

/** Replaces the figures that were measured, and keeps the others. */
export function writeDocs(machine, measured) {
  const file = page.replace(/md$/, "json");
  const before = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).figures : [];
  const newest = ({ id }) => measured.find((figure) => figure.id === id) ?? before.find((figure) => figure.id === id);
  const all = figures.map(newest).filter(Boolean);
  // A line for each figure, so that a change of one is a change of one line.
  const lines = all.map((figure) => JSON.stringify(figure)).join(",\n");
  const head = `"machine": ${JSON.stringify(machine)},\n"verdicts": ${JSON.stringify(verdicts(all))}`;
  writeFileSync(file, `{${head},\n"figures": [\n${lines}\n]}\n`);
  writeFileSync(page.replace(/md$/, "svg"), chart(all));
  const dates = [...new Set(all.map((figure) => figure.date))].sort();
  const when = `Measured on ${dates.join(" and ")}. The machine is as the last run found it`;
  const preformatted = (text) => `\`\`\`\n${text}\n\`\`\``;
  const about = [
    `${when}; each figure has the load of its own run.`,
    preformatted(machine.text),
    markdown(all),
    preformatted(summary(all)),
  ].join("\n\n");
  const text = readFileSync(page, "utf8");
  writeFileSync(
    page,
    text.replace(/(<!-- compare -->\n)[\s\S]*?(<!-- \/compare -->)/, (_, from, to) => `${from}${about}\n${to}`),
  );
}
