// The chats of one user on the page, in one or two panels.

import type { Locator } from "playwright-core";
import { expect } from "vitest";
import type { Visit } from "./harness.js";

export class Panel {
  readonly root: Locator;
  readonly user: string;

  private constructor(root: Locator, user: string) {
    this.root = root;
    this.user = user;
  }

  static of({ page }: Visit, user: string): Panel {
    const title = page.getByRole("heading", { name: `Chats of ${user}`, includeHidden: true });
    return new Panel(page.locator(".carillon-chats").filter({ has: title }), user);
  }

  /** The row of the list. */
  chat(name: string): Locator {
    return this.root.locator("[data-chat]").filter({ hasText: name });
  }

  /** What the head of the open chat tells of the other user. */
  get about(): Locator {
    return this.root.locator(".carillon-with p");
  }

  get field(): Locator {
    return this.root.getByRole("textbox");
  }

  async open(name: string): Promise<void> {
    await this.chat(name).getByRole("button").first().click();
  }

  async write(text: string): Promise<void> {
    await this.field.fill(text);
    await this.field.press("Enter");
  }

  /** The texts of all messages, including duplicates. */
  texts(): Promise<string[]> {
    return this.root.locator(".carillon-text").allTextContents();
  }

  /** Waits until the conversation shows exactly these messages, in this order. */
  async shows(texts: readonly string[]): Promise<void> {
    await expect.poll(() => this.texts()).toEqual(texts);
  }
}
