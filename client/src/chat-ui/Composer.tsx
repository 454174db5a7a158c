// Where a message is written: Enter sends, Shift+Enter begins a new line, and the draft is kept.

import { type KeyboardEvent, type ReactElement, type RefObject, useId, useLayoutEffect } from "react";
import type { ChatThread } from "../chat-react.js";
import { counted } from "../ui/labels.js";
import { SendIcon } from "./icons.js";
import { filled } from "./labels.js";
import { useSetup } from "./setup.js";

/** The limit of the server, in characters. */
const MAX_LENGTH = 4_000;
/** From here on, the number of characters that are left is told. */
const TELL_FROM = 3_800;
const MAX_HEIGHT_PX = 160;

/** The server refuses control characters other than line feed and tab. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are meant
const UNWANTED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

interface ComposerProps {
  readonly name: string;
  readonly thread: Pick<ChatThread, "draft" | "setDraft" | "send">;
  readonly field: RefObject<HTMLTextAreaElement | null>;
}

export function Composer({ name, thread: { draft, setDraft, send }, field }: ComposerProps): ReactElement {
  const { labels } = useSetup();
  const id = useId();
  const text = draft.replace(UNWANTED, "").trim();
  const left = MAX_LENGTH - [...text].length;
  const canSend = text !== "" && left >= 0;
  const submit = (): void => {
    if (canSend) send(text);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: the field grows with the draft
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "auto";
    if (element.scrollHeight > 0) element.style.height = `${Math.min(element.scrollHeight + 2, MAX_HEIGHT_PX)}px`;
  }, [field, draft]);

  return (
    <form
      className="carillon-composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
        field.current?.focus();
      }}
    >
      <textarea
        ref={field}
        rows={1}
        value={draft}
        placeholder={labels.message}
        aria-label={filled(labels.messageTo, { name })}
        aria-describedby={`${id}left`}
        aria-invalid={left < 0}
        enterKeyHint="send"
        onChange={({ target }) => setDraft(target.value)}
        onKeyDown={onKeyDown}
      />
      <button
        type="submit"
        className="carillon-button"
        data-primary
        aria-label={labels.send}
        title={labels.send}
        aria-disabled={!canSend}
      >
        <SendIcon />
      </button>
      <p id={`${id}left`} className="carillon-left" data-over={left < 0 || undefined} role="status">
        {left < 0
          ? counted(labels, labels.tooLong, -left)
          : left <= MAX_LENGTH - TELL_FROM && counted(labels, labels.left, left)}
      </p>
    </form>
  );
}
