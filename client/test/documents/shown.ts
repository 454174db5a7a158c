// Compares what a document shows with what was printed. `…` stands for whatever varies.

/** Whether this was printed, and nothing else. */
export function isPrinted(shown: string, isJson: boolean, printed: string): boolean {
  return isJson ? pattern(compact(shown)).test(compact(printed)) : pattern(lines(shown)).test(lines(printed));
}

/** How many lines it takes until this was printed, among others; null if it was not. */
export function findPrinted(shown: string, isJson: boolean, printed: readonly string[]): number | null {
  const wanted = isJson ? [pattern(compact(shown))] : lines(shown).split("\n").map(pattern);
  let met = 0;
  for (const [number, line] of printed.entries()) {
    if (wanted[met]?.test(isJson ? compact(line) : line.trimEnd())) met++;
    if (met === wanted.length) return number + 1;
  }
  return null;
}

/** Without spaces at the ends of lines, and empty lines around. */
const lines = (text: string): string => text.replaceAll(/[ \t\r]+$/gm, "").replaceAll(/^\n+|\n+$/g, "");

/** JSON without spaces outside strings. It need not be valid: `…` may stand anywhere, and there may be several values. */
const compact = (text: string): string => text.replaceAll(/("(?:[^"\\]|\\.)*")|\s+/g, (_, string) => string ?? "");

function pattern(shown: string): RegExp {
  const parts = shown.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join("[\\s\\S]*?")}$`);
}
