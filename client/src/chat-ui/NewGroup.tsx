// The form that creates a group: an optional title, and the members.

import { type ReactElement, useEffect, useId, useRef, useState } from "react";
import type { ChatList } from "../chat-react.js";
import { counted } from "../ui/labels.js";
import { MAX_TITLE, suggested, useGroupLabels, useGroupStyles, userIdOf } from "./groups.js";
import { BackIcon } from "./icons.js";
import { filled } from "./labels.js";
import { PersonField } from "./PersonField.js";
import { PersonRow } from "./PersonRow.js";
import { userName, useSetup } from "./setup.js";

interface NewGroupProps {
  readonly titleId: string;
  readonly list: Pick<ChatList, "chats" | "create">;
  readonly onClose: () => void;
  readonly onOpen: (chatId: string) => void;
}

export function NewGroup({ titleId, list, onClose, onOpen }: NewGroupProps): ReactElement {
  useGroupStyles();
  const setup = useSetup();
  const labels = useGroupLabels();
  const { me } = setup;
  const id = useId();
  const [title, setTitle] = useState("");
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const isShown = useRef(false);
  useEffect(() => {
    isShown.current = true;
    heading.current?.focus();
    return () => {
      isShown.current = false;
    };
  }, []);

  /** The chosen users, and the one in the field. */
  const withText = (): readonly string[] =>
    [...new Set([...chosen, userIdOf(text)])].filter((userId) => userId !== "" && userId !== me);
  const isEmpty = withText().length === 0;
  const add = (): void => {
    if (busy) return;
    setChosen(withText());
    setSaid(filled(labels.added, { name: userName(setup, userIdOf(text)) }));
    setText("");
  };
  const remove = (userId: string): void => {
    setChosen(chosen.filter((each) => each !== userId));
    setSaid(filled(labels.removed, { name: userName(setup, userId) }));
    // The button disappears, and with it the focus.
    field.current?.focus();
  };
  const create = async (): Promise<void> => {
    if (busy) return;
    if (isEmpty) return field.current?.focus();
    setBusy(true);
    const named = title.trim();
    try {
      const participantIds = withText();
      const chat = await list.create({ kind: "group", participantIds, ...(named !== "" && { title: named }) });
      if (isShown.current) onOpen(chat.id);
    } catch {
      // The error shows with the other errors of the chats, and the form stays for another attempt.
    }
    setBusy(false);
  };

  return (
    <>
      <div className="carillon-head">
        <button
          type="button"
          className="carillon-button"
          aria-label={labels.back}
          title={labels.back}
          onClick={onClose}
        >
          <BackIcon />
        </button>
        <h2 id={titleId} ref={heading} tabIndex={-1}>
          {labels.newGroup}
        </h2>
      </div>
      <form
        className="carillon-group"
        aria-labelledby={titleId}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || event.nativeEvent.isComposing) return;
          event.stopPropagation();
          onClose();
        }}
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <div className="carillon-chat-scroller">
          <div className="carillon-field">
            <label htmlFor={`${id}title`}>{labels.titleOptional}</label>
            <input
              id={`${id}title`}
              value={title}
              maxLength={MAX_TITLE}
              autoComplete="off"
              onChange={({ target }) => setTitle(target.value)}
            />
          </div>
          <PersonField
            field={field}
            text={text}
            suggestions={suggested(list.chats, me, chosen)}
            onChange={setText}
            onAdd={add}
          />
          {chosen.length > 0 && (
            <>
              <h3>{counted(labels, labels.members, chosen.length + 1)}</h3>
              <ul>
                <PersonRow userId={me} isOwner />
                {chosen.map((userId) => (
                  <PersonRow key={userId} userId={userId} isBusy={busy} onRemove={() => remove(userId)} />
                ))}
              </ul>
            </>
          )}
        </div>
        <div className="carillon-answer">
          <button type="submit" className="carillon-button" data-primary aria-disabled={isEmpty || busy}>
            {labels.create}
          </button>
        </div>
        <div className="carillon-spoken" role="status">
          {said}
        </div>
      </form>
    </>
  );
}
