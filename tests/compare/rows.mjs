// A row of the table: medians of all sides, their ratio, and whether the target is met.

import { spread } from "./statistics.mjs";

/**
 * What a figure declares of a row:
 *
 *   name, unit, metric       the member of a side's result; peerMetric, limitMetric where theirs differs
 *   ours, peer, limit        names of sides; peer and limit are optional
 *   better                   'lower' or 'higher'
 *   target                   ratio to the peer: at most if lower is better, else at least
 *   limitTarget              the same as a ratio to the limit
 *   ceiling, floor           what ours may be at most and at least, in its unit
 *   cpuTarget                ours to the peer, at most; for a rate with a target it is the inverse of that, unless given
 *   note                     how the job of ours differs from the peer's
 */
export function judge(row, runs, problems) {
  const sides = ["ours", "peer", "limit"].filter((role) => row[role]);
  const failed =
    problems.all ?? sides.map((role) => problems[row[role]]).find((problem) => problem && !problem.leftOut);
  const judged = { ...row, failed: failed?.leftOut ? undefined : failed && firstLine(failed) };
  const leftOut = sides.map((role) => problems[row[role]]?.leftOut).find(Boolean);
  if (leftOut) judged.leftOut = leftOut;
  if (judged.failed || leftOut) return judged;

  for (const role of sides) {
    const results = runs[row[role]];
    const metric = row[`${role}Metric`] ?? row.metric;
    judged[`${role}Value`] = spread(results.map((result) => result[metric]));
    const cpu = results.map((result) => result.cpuUs?.[metric]).filter((us) => us !== undefined);
    if (cpu.length > 0) judged[`${role}CpuUs`] = spread(cpu);
  }
  const { oursValue: ours, peerValue: peer, limitValue: limit } = judged;
  if (peer) judged.ratio = ours.median / peer.median;
  if (limit) judged.ofLimit = ours.median / limit.median;
  if (judged.oursCpuUs && judged.peerCpuUs) judged.cpuRatio = judged.oursCpuUs.median / judged.peerCpuUs.median;
  judged.checks = checks(judged);
  return judged;
}

/** Each condition of the target, as text, and whether it is met. */
function checks(row) {
  const { better, target, limitTarget, ceiling, floor } = row;
  const holds = (value, bound) => (better === "lower" ? value <= bound : value >= bound);
  const sign = better === "lower" ? "≤" : "≥";
  const found = [];
  if (target) found.push({ what: `${sign} ${times(target)} peer`, isMet: holds(row.ratio, target) });
  if (limitTarget) found.push({ what: `${sign} ${times(limitTarget)} limit`, isMet: holds(row.ofLimit, limitTarget) });
  if (ceiling) found.push({ what: `≤ ${ceiling} ${row.unit}`, isMet: row.oursValue.median <= ceiling });
  if (floor) found.push({ what: `≥ ${floor}${row.unit && ` ${row.unit}`}`, isMet: row.oursValue.median >= floor });
  const cpuTarget = row.cpuTarget ?? (target && better === "higher" ? 1 / target : undefined);
  if (cpuTarget && row.cpuRatio) found.push({ what: `CPU ≤ ${times(cpuTarget)}`, isMet: row.cpuRatio <= cpuTarget });
  return found;
}

/** A ratio with two significant digits: `0.85x`, `12x`. */
export function times(ratio) {
  return `${Number(ratio.toPrecision(2))}x`;
}

function firstLine(text) {
  return String(text).split("\n")[0];
}
