// The chats of the user: the list, and beside it or in its place the one that is open.

import { type ReactElement, useEffect, useId, useMemo, useRef, useState } from "react";
import { useChats, usePresence } from "../chat-react.js";
import { useCarillon } from "../hooks.js";
import { ChatAnnouncer } from "./ChatAnnouncer.js";
import { ChatList } from "./ChatList.js";
import { Conversation } from "./Conversation.js";
import { ChatsIcon, PlusIcon } from "./icons.js";
import { complete } from "./labels.js";
import { Notice } from "./Notice.js";
import { partnerOf, type Setup, SetupContext } from "./setup.js";
import { useChatStyles } from "./styles.js";
import type { ChatsProps } from "./types.js";
import { useOnDemand } from "./useOnDemand.js";

/** The user's chats, with the messages of the one that is open. */
export function Chats(props: ChatsProps): ReactElement {
  useChatStyles();
  const userId = useCarillon((state) => state.userId);
  // Nothing of a user remains for the next one.
  return <Panes key={userId} {...props} me={userId} />;
}

function Panes(props: ChatsProps & { me: string | null }): ReactElement {
  const { id, className, style, slots, nameOf, me, onOpen, canCreateGroups = true } = props;
  const ids = useId();
  const labels = complete(props.labels);
  const list = useChats();
  const wsStatus = useCarillon((state) => state.wsStatus);
  const [chosen, setChosen] = useState<string | null>(null);
  const openId = props.openId === undefined ? chosen : props.openId;
  const onDemand = useOnDemand();
  const { parts, load } = onDemand;
  /** What stands in the place of the list. */
  const [inPlace, setInPlace] = useState<"DeletedChats" | "NewGroup" | null>(null);
  const Part = inPlace && parts?.[inPlace];
  const root = useRef<HTMLElement>(null);
  const takesFocus = useRef(false);
  const latest = useRef(onOpen);
  useEffect(() => {
    latest.current = onOpen;
  });
  const setup = useMemo(
    (): Setup => ({
      labels,
      slots,
      me,
      nameOf,
      open(chatId) {
        takesFocus.current = chatId !== null;
        setChosen(chatId);
        latest.current?.(chatId);
      },
    }),
    [labels, slots, me, nameOf],
  );
  const partners = useMemo(() => list.chats.flatMap((chat) => partnerOf(chat, me) ?? []), [list.chats, me]);
  const presence = usePresence(partners);

  const offline = wsStatus === "offline";
  const waits = list.loading && !offline;
  /** Focuses the first of these that exists. */
  const focusOn = (...selectors: string[]): void => {
    // The part that has it may be about to appear.
    requestAnimationFrame(() => {
      for (const selector of selectors) {
        const found = root.current?.querySelector<HTMLElement>(selector);
        if (found) return found.focus();
      }
    });
  };
  const back = (isGone?: boolean): void => {
    const side = root.current?.querySelector<HTMLElement>(".carillon-chat-side");
    // Where both have room, the chat stays open.
    if (isGone || side?.offsetParent === null) setup.open(null);
    focusOn(`[data-chat="${CSS.escape(openId ?? "")}"] > button`, ".carillon-chat-side button");
  };
  return (
    <SetupContext.Provider value={setup}>
      <section
        ref={root}
        id={id}
        style={style}
        className={className ? `carillon-chats ${className}` : "carillon-chats"}
        aria-labelledby={`${ids}title`}
        aria-busy={waits}
      >
        <div className="carillon-panes" data-open={openId !== null || undefined}>
          <div className="carillon-chat-side">
            {Part ? (
              <Part
                titleId={`${ids}title`}
                list={list}
                onClose={() => {
                  setInPlace(null);
                  focusOn(`[data-opens="${inPlace}"]`);
                }}
                onOpen={(chatId) => {
                  setInPlace(null);
                  setup.open(chatId);
                }}
              />
            ) : (
              <>
                <div className="carillon-head">
                  <h2 id={`${ids}title`}>{slots?.title ?? labels.title}</h2>
                  {slots?.header}
                  {canCreateGroups && (
                    <button
                      type="button"
                      className="carillon-button"
                      data-opens="NewGroup"
                      aria-label={labels.newGroup}
                      title={labels.newGroup}
                      onClick={() => load(() => setInPlace("NewGroup"))}
                    >
                      <PlusIcon />
                    </button>
                  )}
                </div>
                <ChatList
                  list={list}
                  presence={presence}
                  openId={openId}
                  waits={waits}
                  offline={offline}
                  onDeleted={() => load(() => setInPlace("DeletedChats"))}
                />
              </>
            )}
          </div>
          {openId === null ? (
            <div className="carillon-empty carillon-choose">
              <ChatsIcon />
              <p>{labels.choose}</p>
            </div>
          ) : (
            <Conversation
              key={openId}
              chatId={openId}
              list={list}
              presence={presence}
              takesFocus={takesFocus}
              offline={offline}
              onDemand={onDemand}
              onBack={back}
            />
          )}
        </div>
        <Notice
          error={onDemand.error ?? list.error}
          onDismiss={() => {
            onDemand.dismissError();
            list.dismissError();
          }}
        />
        <ChatAnnouncer chats={list.chats} loading={list.loading} />
      </section>
    </SetupContext.Provider>
  );
}
