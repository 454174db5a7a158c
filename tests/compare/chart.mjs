// A bar chart of all rows with a peer: how many times better ours is, on a logarithmic axis, with its target.

import { number } from "./statistics.mjs";

const [LEFT, WIDTH, ROW, TOP] = [330, 560, 20, 46];
const MAX_GAIN = 1_000;
const COLOURS = { better: "#2f7d4f", worse: "#b4532a", target: "#1f2933", axis: "#c9d1d9" };

/** The chart as SVG. */
export function chart(figures) {
  const rows = figures.flatMap((figure) => figure.rows.filter((row) => row.ratio).map((row) => bar(figure, row)));
  const gains = rows.flatMap(({ gain, target }) => [gain, target ?? 1]);
  const [least, most] = [Math.min(...gains, 0.5), Math.max(...gains, 2)].map(Math.log10);
  const x = (gain) => LEFT + 40 + ((Math.log10(gain) - least) / (most - least)) * (WIDTH - 130);
  const height = TOP + rows.length * ROW + 12;
  const ticks = [0.001, 0.01, 0.1, 1, 10, 100, 1_000].filter(
    (tick) => tick >= 10 ** least && tick <= 10 ** most,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="8" y="18" font-weight="bold">How many times better than the peer (right) or worse (left); | is the target</text>`,
    ...ticks.map((tick) => axis(x(tick), tick, height)),
    ...rows.map((row, n) => drawn(row, TOP + n * ROW, x)),
    "</svg>\n",
  ].join("\n");
}

/** Ratios turned so that more is better. */
function bar({ number, title }, row) {
  // What costs almost nothing would be infinitely better, and the axis is logarithmic.
  const within = (gain) => Math.min(MAX_GAIN, Math.max(1 / MAX_GAIN, gain));
  const turned = (ratio) => ratio && within(row.better === "lower" ? 1 / Math.max(ratio, 1 / MAX_GAIN) : ratio);
  return { name: `${number}. ${title}`, detail: row.name, gain: turned(row.ratio), target: turned(row.target) };
}

function axis(x, tick, height) {
  const colour = tick === 1 ? COLOURS.target : COLOURS.axis;
  return (
    `<line x1="${x.toFixed(1)}" y1="${TOP - 4}" x2="${x.toFixed(1)}" y2="${height - 8}" stroke="${colour}"/>` +
    `<text x="${x.toFixed(1)}" y="${TOP - 8}" text-anchor="middle" fill="#57606a">${tick}x</text>`
  );
}

function drawn({ name, detail, gain, target }, y, x) {
  const [from, to] = [x(1), x(gain)].sort((a, b) => a - b);
  const colour = gain >= 1 ? COLOURS.better : COLOURS.worse;
  // Where a figure has several numbers, its rows begin with theirs.
  const label = escaped(/^\d+:/.test(detail) ? detail : `${name.split(".")[0]}. ${detail}`);
  const mark = target
    ? `<rect x="${(x(target) - 1).toFixed(1)}" y="${y + 1}" width="2" height="16" fill="${COLOURS.target}"/>`
    : "";
  return (
    `<text x="${LEFT - 4}" y="${y + 13}" text-anchor="end"><title>${escaped(name)}</title>${label}</text>` +
    `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${Math.max(1, to - from).toFixed(1)}" height="12" fill="${colour}"/>` +
    `${mark}<text x="${LEFT + WIDTH - 8}" y="${y + 13}" text-anchor="end">${number(gain)}x</text>`
  );
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
