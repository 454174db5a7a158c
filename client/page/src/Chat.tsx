// Chats of two users side by side: the one of this page, and on demand another one with a connection of its own.

import { type Client, createClient } from "@carillon/client";
import { useChats } from "@carillon/client/chat-react";
import { type ChatSlots, Chats } from "@carillon/client/chat-ui";
import { CarillonProvider, useCarillon, usePreferences } from "@carillon/client/react";
import { type FormEvent, type ReactElement, useId, useMemo, useState } from "react";
import { FailureLine } from "./FailureNote.js";
import { type Failure, failure } from "./failure.js";
import { STATUS } from "./format.js";
import { localToken } from "./identity.js";

interface ChatProps {
  user: string;
  /** Whether the page can be another user too, for which a local gateway signs tokens. */
  canBeOthers: boolean;
}

export function Chat({ user, canBeOthers }: ChatProps): ReactElement {
  const [second, setSecond] = useState<{ user: string; client: Client } | null>(null);
  const open = (other: string): void => {
    const client = createClient({ baseUrl: "", userId: other, getToken: () => localToken(other) });
    setSecond({ user: other, client });
  };
  return (
    <section className="card chat" aria-labelledby="chat-title">
      <div className="card-head">
        <h2 id="chat-title">Chat</h2>
        <p className="card-note">As one user or two see it.</p>
      </div>
      <ChatForm
        user={user}
        second={second?.user ?? null}
        onOpen={canBeOthers ? open : null}
        onClose={() => setSecond(null)}
      />
      <div className={second ? "chat-panels two" : "chat-panels"}>
        <Panel user={user} />
        {second && (
          // The key makes new state for each user. Without a provider the client closes.
          <CarillonProvider key={second.user} client={second.client}>
            <Panel user={second.user} />
          </CarillonProvider>
        )}
      </div>
    </section>
  );
}

function Panel({ user }: { user: string }): ReactElement {
  const { name, tone } = STATUS[useCarillon((state) => state.wsStatus)];
  const slots = useMemo(
    (): ChatSlots => ({
      title: (
        <>
          Chats <span className="inbox-of">of {user}</span>
        </>
      ),
      header: <span className={`dot ${tone}`} role="img" aria-label={name} title={name} />,
      actions: ({ id }) => <Mute chatId={id} />,
    }),
    [user, name, tone],
  );
  return <Chats className="chat-panel" slots={slots} />;
}

/** A muted chat neither pushes nor is spoken. */
function Mute({ chatId }: { chatId: string }): ReactElement {
  const { isMuted, mute, unmute } = usePreferences();
  const muted = isMuted(chatId);
  return (
    <button
      type="button"
      className="carillon-button"
      aria-pressed={muted}
      onClick={() => void (muted ? unmute(chatId) : mute(chatId))}
    >
      {muted ? "Muted" : "Mute"}
    </button>
  );
}

interface ChatFormProps {
  user: string;
  second: string | null;
  onOpen: ((user: string) => void) | null;
  onClose: () => void;
}

/** Names the other user, asks for a chat, and opens that user's chats. */
function ChatForm({ user, second, onOpen, onClose }: ChatFormProps): ReactElement {
  const id = useId();
  const { create } = useChats();
  const [other, setOther] = useState(user === "bob" ? "alice" : "bob");
  const [refused, setRefused] = useState<Failure | null>(null);
  const name = other.trim().normalize("NFC");
  const isOther = name !== "" && name !== user;
  const ask = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    if (!isOther) return;
    setRefused(null);
    try {
      await create({ kind: "direct", participantIds: [name] });
    } catch (thrown) {
      setRefused(failure(thrown));
    }
  };
  return (
    <form className="chat-form" onSubmit={(event) => void ask(event)}>
      <div className="field">
        <label htmlFor={id}>Chat with</label>
        <input
          id={id}
          value={other}
          maxLength={256}
          autoComplete="off"
          spellCheck={false}
          required
          aria-describedby={`${id}refused`}
          onChange={({ target }) => setOther(target.value)}
        />
      </div>
      <button type="submit" className="button" aria-disabled={!isOther}>
        Start a chat
      </button>
      {onOpen &&
        (second === null ? (
          <button
            type="button"
            className="button primary"
            aria-disabled={!isOther}
            onClick={() => isOther && onOpen(name)}
          >
            Open as {isOther ? name : "another user"}
          </button>
        ) : (
          <button type="button" className="button" onClick={onClose}>
            Close {second}
          </button>
        ))}
      <p className="chat-refused" id={`${id}refused`} role="status">
        {refused && <FailureLine failure={refused} />}
      </p>
    </form>
  );
}
