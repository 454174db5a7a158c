// Makes elements, and changes only what differs, so that nothing that is in use loses the focus.

type Value = string | number | boolean | null | undefined;
type Attributes = Readonly<Record<string, Value>>;
type Child = Node | string | null | false | undefined;

/** Sets attributes. `false`, `null` and `undefined` remove one. */
export function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    const text = value === true ? "" : value === false || value == null ? null : String(value);
    if (element.getAttribute(name) === text) continue;
    if (text === null) element.removeAttribute(name);
    else element.setAttribute(name, text);
  }
}

/** Makes an element. Text stays text, whatever it contains. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

export function icon(path: string): SVGElement {
  const make = (tag: string, attributes: Attributes): Element => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    set(element, attributes);
    return element;
  };
  const svg = make("svg", { class: "carillon-icon", viewBox: "0 0 20 20", "aria-hidden": "true" });
  svg.append(make("path", { d: path }));
  return svg as SVGElement;
}

/** A button with an icon, and with a label where there is room for it. */
export function button(attributes: Attributes, act: () => void, ...children: readonly Child[]): HTMLButtonElement {
  const element = h("button", { type: "button", class: "carillon-button", ...attributes }, ...children);
  element.addEventListener("click", act);
  return element;
}

export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes these the children. A child that stays does not move in the document, so it keeps focus and animation. */
export function arrange(parent: Element, children: readonly Element[]): void {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}

/** The element within `parent` that has the focus. */
export function focusedIn(parent: Element): HTMLElement | null {
  const { activeElement } = parent.getRootNode() as Document | ShadowRoot;
  return activeElement && activeElement !== parent && parent.contains(activeElement)
    ? (activeElement as HTMLElement)
    : null;
}
