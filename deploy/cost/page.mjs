// docs/cost.md with the tables of today's docs/cost.json, deploy/*.toml and templates.

import { fileURLToPath } from "node:url";
import { SIZES, text } from "./deployment.mjs";
import { estimate } from "./estimate.mjs";
import { assumptionTable, billTable, busyTable, countTable, markdown, monthTable, priceTable } from "./tables.mjs";

export const page = fileURLToPath(new URL("../../docs/cost.md", import.meta.url));

/** The page, in which each table stands between the marks of its name. */
export function written() {
  const estimates = Object.keys(SIZES).map((size) => estimate({ size }));
  const tables = {
    bill: billTable(estimates),
    month: monthTable(estimates),
    busy: busyTable(estimates),
    counts: countTable(),
    assumptions: assumptionTable(),
    prices: priceTable(),
  };
  return Object.entries(tables).reduce((text, [name, rows]) => {
    const marked = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`);
    if (!marked.test(text)) throw new Error(`docs/cost.md has no marks for ${name}`);
    return text.replace(marked, (_, from, to) => `${from}${markdown(rows)}\n${to}`);
  }, text("docs/cost.md"));
}
