// The whole page: decides whose client there is, and lays the parts out.

import { createClient } from "@carillon/client";
import { CarillonProvider } from "@carillon/client/react";
import { type ReactElement, useCallback, useEffect, useState } from "react";
import { Announcer } from "./Announcer.js";
import { Connection } from "./Connection.js";
import { Events } from "./Events.js";
import { Header } from "./Header.js";
import { History } from "./History.js";
import { Inbox } from "./Inbox.js";
import { Metrics } from "./Metrics.js";
import { PasteToken } from "./PasteToken.js";
import { SendForm } from "./SendForm.js";
import { addressOf, keepToken, keptToken, localToken, NoTokenHere, subjectOf, userInAddress } from "./session.js";
import { TraceProvider } from "./tracing.js";
import { useWide } from "./useWide.js";

export function App(): ReactElement {
  const [chosen, setChosen] = useState(userInAddress);
  const [pasted, setPasted] = useState(keptToken);
  const [askForToken, setAskForToken] = useState(false);

  useEffect(() => {
    const onPopState = (): void => setChosen(userInAddress());
    addEventListener("popstate", onPopState);
    return () => removeEventListener("popstate", onPopState);
  }, []);

  const paste = (token: string | null): void => {
    keepToken(token);
    setPasted(token);
    setAskForToken(token === null);
  };
  const switchUser = (user: string): void => {
    history.pushState(null, "", addressOf(user));
    setChosen(user);
  };
  const onNoTokenHere = useCallback(() => setAskForToken(true), []);

  if (!pasted && askForToken) return <PasteToken onPaste={paste} />;
  const user = (pasted && subjectOf(pasted)) || chosen;
  return (
    // Another user or token is another client from the ground up: nothing of the last one may show through.
    <Session
      key={`${pasted ?? ""} ${user}`}
      user={user}
      token={pasted}
      onNoTokenHere={onNoTokenHere}
      onSwitchUser={switchUser}
      onForgetToken={() => paste(null)}
    />
  );
}

interface SessionProps {
  user: string;
  token: string | null;
  onNoTokenHere: () => void;
  onSwitchUser: (user: string) => void;
  onForgetToken: () => void;
}

function Session({ user, token, onNoTokenHere, onSwitchUser, onForgetToken }: SessionProps): ReactElement {
  const [client] = useState(() =>
    createClient({
      baseUrl: "",
      userId: user,
      getToken: () =>
        token ??
        localToken(user).catch((problem: unknown) => {
          if (problem instanceof NoTokenHere) onNoTokenHere();
          throw problem;
        }),
    }),
  );
  const wide = useWide();
  // Beside the page the inbox is open until it is closed; over the page it is closed until it is opened.
  const [openBeside, setOpenBeside] = useState(true);
  const [openOver, setOpenOver] = useState(false);
  const open = wide ? openBeside : openOver;
  const setOpen = wide ? setOpenBeside : setOpenOver;
  const over = !wide && openOver;

  return (
    <CarillonProvider client={client}>
      <TraceProvider onTrace={() => setOpenOver(false)}>
        <a className="skip" href="#main">
          Skip to the page
        </a>
        <Header user={user} inboxOpen={open} onBell={() => setOpen(!open)} />
        <div className={open && wide ? "columns with-inbox" : "columns"}>
          <main id="main" tabIndex={-1} inert={over}>
            <Connection user={user} pasted={token !== null} onSwitchUser={onSwitchUser} onForgetToken={onForgetToken} />
            <div className="pair">
              <SendForm user={user} />
              <Events />
            </div>
            <Metrics />
            <History />
          </main>
          {over && <div className="scrim" onClick={() => setOpenOver(false)} aria-hidden="true" />}
          <Inbox user={user} open={open} over={over} onClose={() => setOpen(false)} />
        </div>
        <Announcer />
      </TraceProvider>
    </CarillonProvider>
  );
}
