// The title and the members of an open group, and what the user can change of them.

import { type ReactElement, useEffect, useId, useRef, useState } from "react";
import type { Chat } from "../chat/types.js";
import { type ChatList, usePresence } from "../chat-react.js";
import { counted } from "../ui/labels.js";
import { MAX_TITLE, suggested, useGroupLabels, useGroupStyles, userIdOf } from "./groups.js";
import { filled } from "./labels.js";
import { PersonField } from "./PersonField.js";
import { PersonRow } from "./PersonRow.js";
import { userName, useSetup } from "./setup.js";
import { useMembers } from "./useMembers.js";

interface GroupDetailsProps {
  readonly chat: Chat;
  readonly list: Pick<ChatList, "chats" | "members" | "rename" | "addMembers" | "removeMembers" | "leave">;
  readonly onLeft: () => void;
}

export function GroupDetails({ chat, list, onLeft }: GroupDetailsProps): ReactElement {
  useGroupStyles();
  const setup = useSetup();
  const labels = useGroupLabels();
  const { me } = setup;
  const { id, participants, memberCount } = chat;
  const { members, hasMore, isLoading, loadMore } = useMembers(chat, list.members);
  const ids = members.flatMap(({ userId }) => userId ?? []);
  const presence = usePresence(ids.filter((userId) => userId !== me));
  const [text, setText] = useState("");
  const [said, setSaid] = useState("");
  /** The users whose adding or removal has no answer yet. */
  const [pending, setPending] = useState<readonly string[]>([]);
  const pane = useRef<HTMLElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const field = useRef<HTMLInputElement>(null);
  // The owner is the longest member, so it is among the first by joining, which are all that the chat names.
  const isOwner = participants.some(({ userId, role }) => userId === me && role === "owner");

  /** Announces a change that was made. A refusal shows with the errors of the chats. */
  const run = async (change: Promise<unknown>, done: string): Promise<boolean> => {
    setSaid("");
    const isDone = await change.then(
      () => true,
      () => false,
    );
    if (isDone) setSaid(done);
    return isDone;
  };
  /** The same for a change that adds or removes a user. */
  const runFor = async (userId: string, change: Promise<unknown>, done: string): Promise<boolean> => {
    setPending((last) => [...last, userId]);
    const isDone = await run(change, filled(done, { name: userName(setup, userId) }));
    setPending((last) => last.filter((each) => each !== userId));
    return isDone;
  };
  const add = async (): Promise<void> => {
    const userId = userIdOf(text);
    if (pending.includes(userId)) return;
    // The user may type the next one before there is an answer.
    setText("");
    if (!(await runFor(userId, list.addMembers(id, [userId]), labels.added))) setText((last) => last || text);
  };
  const remove = async (userId: string): Promise<void> => {
    await runFor(userId, list.removeMembers(id, [userId]), labels.removed);
    // The button has disappeared, and with it the focus.
    const { activeElement } = (heading.current?.getRootNode() ?? document) as Document | ShadowRoot;
    if (!activeElement || activeElement === document.body) heading.current?.focus();
  };

  const leave = async (): Promise<void> => {
    // These details are unmounted with the chat. The conversation stays until the user opens another one.
    const conversation = pane.current?.parentElement;
    await list.leave(id);
    if (conversation?.isConnected) onLeft();
  };

  return (
    <section ref={pane} className="carillon-group" aria-label={labels.group}>
      <div className="carillon-chat-scroller">
        <TitleForm chat={chat} onRename={(title) => run(list.rename(id, title), labels.renamed)} />
        <PersonField
          field={field}
          text={text}
          suggestions={suggested(list.chats, me, ids)}
          onChange={setText}
          onAdd={() => void add()}
        />
        <h3 ref={heading} tabIndex={-1}>
          {counted(labels, labels.members, memberCount)}
        </h3>
        <ul aria-busy={isLoading}>
          {members.map(({ userId, role }, index) => (
            <PersonRow
              key={userId === null ? index : `of ${userId}`}
              userId={userId}
              isOwner={role === "owner"}
              online={presence.get(userId ?? "")?.online}
              isBusy={userId !== null && pending.includes(userId)}
              onRemove={isOwner && userId !== null && userId !== me ? () => void remove(userId) : undefined}
            />
          ))}
          {pending
            .filter((userId) => !ids.includes(userId))
            .map((userId) => (
              <PersonRow key={`of ${userId}`} userId={userId} isBusy />
            ))}
        </ul>
        {hasMore && (
          <button
            type="button"
            className="carillon-button carillon-more"
            aria-disabled={isLoading}
            onClick={isLoading ? undefined : loadMore}
          >
            {isLoading ? labels.loading : labels.moreMembers}
          </button>
        )}
      </div>
      <Leave onLeave={leave} />
      <div className="carillon-spoken" role="status">
        {said}
      </div>
    </section>
  );
}

interface TitleFormProps {
  readonly chat: Chat;
  readonly onRename: (title: string) => Promise<boolean>;
}

function TitleForm({ chat, onRename }: TitleFormProps): ReactElement {
  const labels = useGroupLabels();
  const id = useId();
  /** What the user has typed; `null` follows the title, which others may change. */
  const [typed, setTyped] = useState<string | null>(null);
  const [isSaving, setSaving] = useState(false);
  const title = (typed ?? "").trim();
  const canSave = title !== "" && title !== chat.title && !isSaving;
  const save = async (): Promise<void> => {
    if (!canSave) return;
    setSaving(true);
    if (await onRename(title)) setTyped((last) => (last === typed ? null : last));
    setSaving(false);
  };
  return (
    <form
      className="carillon-field"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <label htmlFor={id}>{labels.groupTitle}</label>
      <input
        id={id}
        value={typed ?? chat.title ?? ""}
        maxLength={MAX_TITLE}
        autoComplete="off"
        onChange={({ target }) => setTyped(target.value)}
      />
      <button type="submit" className="carillon-button" data-outlined aria-disabled={!canSave}>
        {labels.save}
      </button>
    </form>
  );
}

/** Asks for a confirmation: only another member can undo leaving. */
function Leave({ onLeave }: { onLeave: () => Promise<void> }): ReactElement {
  const labels = useGroupLabels();
  const id = useId();
  const [asks, setAsks] = useState(false);
  const [isLeaving, setLeaving] = useState(false);
  const hasAsked = useRef(false);
  const leave = useRef<HTMLButtonElement>(null);
  const cancel = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (asks) cancel.current?.focus();
    else if (hasAsked.current) leave.current?.focus();
    hasAsked.current = asks;
  }, [asks]);
  if (!asks) {
    return (
      <div className="carillon-answer">
        <button ref={leave} type="button" className="carillon-button" data-danger onClick={() => setAsks(true)}>
          {labels.leave}
        </button>
      </div>
    );
  }
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset belongs to a form
    <div
      className="carillon-answer"
      role="group"
      aria-labelledby={id}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        setAsks(false);
      }}
    >
      <p id={id}>{labels.leaveAsk}</p>
      <button
        type="button"
        className="carillon-button"
        data-danger
        aria-disabled={isLeaving}
        onClick={() => {
          if (isLeaving) return;
          setLeaving(true);
          // The error shows with the other errors of the chats.
          onLeave().catch(() => setLeaving(false));
        }}
      >
        {labels.leaveYes}
      </button>
      <button ref={cancel} type="button" className="carillon-button" data-outlined onClick={() => setAsks(false)}>
        {labels.cancel}
      </button>
    </div>
  );
}
