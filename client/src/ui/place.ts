// Places a panel next to the button that opens it, inside the window.

const MARGIN_PX = 8;
const WIDTH_PX = 400;
const HEIGHT_PX = 600;
/** Below this height the other side of the button is tried. */
const MIN_HEIGHT_PX = 320;

export function place(panel: HTMLElement, button: HTMLElement, align: "start" | "end"): void {
  const at = button.getBoundingClientRect();
  const { clientWidth, clientHeight } = document.documentElement;
  const isLeft = (align === "start") === (getComputedStyle(button).direction !== "rtl");
  const width = Math.min(WIDTH_PX, clientWidth - 2 * MARGIN_PX);
  const left = isLeft ? at.left : at.right - width;
  const below = clientHeight - at.bottom - 2 * MARGIN_PX;
  const above = at.top - 2 * MARGIN_PX;
  const isAbove = below < MIN_HEIGHT_PX && above > below;
  const { style } = panel;
  style.left = `${Math.max(MARGIN_PX, Math.min(left, clientWidth - width - MARGIN_PX))}px`;
  style.top = isAbove ? "auto" : `${at.bottom + MARGIN_PX}px`;
  style.bottom = isAbove ? `${clientHeight - at.top + MARGIN_PX}px` : "auto";
  style.width = `${width}px`;
  style.height = `${Math.min(HEIGHT_PX, isAbove ? above : below)}px`;
}
