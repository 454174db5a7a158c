// Which figures are met: the summary below the table.

const RULE = "a figure is met if every row of it that has a target meets it, and none of its rows failed";

/** How many figures are met, by which rule, and a line for each. */
export function summary(figures) {
  const all = verdicts(figures);
  const met = all.filter(({ isMet }) => isMet).length;
  return [`${met} of ${all.length} figures met: ${RULE}`, ...all.map(line)].join("\n");
}

/** Whether each figure is met, in the order of their numbers, with the count of its rows in each state. */
export function verdicts(figures) {
  return figures
    .flatMap(({ number, title, rows }) => {
      const numbers = number.split(", ");
      // Where a module has several figures, its rows begin with their numbers.
      const rowsOf = (one) => (numbers.length === 1 ? rows : rows.filter(({ name }) => name.startsWith(`${one}: `)));
      return numbers.map((one) => ({ number: Number(one), title, ...verdict(rowsOf(one)) }));
    })
    .sort((a, b) => a.number - b.number);
}

function verdict(rows) {
  const counts = {};
  for (const row of rows) {
    if (row.failed || hasTarget(row)) counts[state(row)] = (counts[state(row)] ?? 0) + 1;
  }
  return { isMet: Object.keys(counts).join() === "met", rows: counts };
}

function hasTarget({ target, limitTarget, ceiling, floor, cpuTarget }) {
  return [target, limitTarget, ceiling, floor, cpuTarget].some(Boolean);
}

function state(row) {
  if (row.failed) return "failed";
  if (row.leftOut) return "left out";
  return row.checks.every(({ isMet }) => isMet) ? "met" : "missed";
}

function line({ number, title, isMet, rows }) {
  const states = Object.entries(rows).map(([state, count]) => `${count} ${state}`);
  return `${String(number).padStart(2)}. ${title}: ${isMet ? "met" : "not met"} (${states.join(", ")})`;
}
