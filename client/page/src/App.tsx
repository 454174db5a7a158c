// The whole page: makes a client for the chosen user, and lays out the parts.

import { createClient } from "@carillon/client";
import { CarillonProvider } from "@carillon/client/react";
import { type ReactElement, useCallback, useEffect, useState } from "react";
import { Announcer } from "./Announcer.js";
import { Connection } from "./Connection.js";
import { Events } from "./Events.js";
import { Header } from "./Header.js";
import { History } from "./History.js";
import { Inbox } from "./Inbox.js";
import {
  addressOf,
  localToken,
  NoTokenService,
  storedToken,
  storeToken,
  subjectOf,
  userInAddress,
} from "./identity.js";
import { Metrics } from "./Metrics.js";
import { PasteToken } from "./PasteToken.js";
import { SendForm } from "./SendForm.js";
import { TraceProvider } from "./tracing.js";
import { useWide } from "./useWide.js";

export function App(): ReactElement {
  const [chosen, setChosen] = useState(userInAddress);
  const [pasted, setPasted] = useState(storedToken);
  const [askForToken, setAskForToken] = useState(false);

  useEffect(() => {
    const onPopState = (): void => setChosen(userInAddress());
    addEventListener("popstate", onPopState);
    return () => removeEventListener("popstate", onPopState);
  }, []);

  const paste = (token: string | null): void => {
    storeToken(token);
    setPasted(token);
    setAskForToken(token === null);
  };
  const switchUser = (user: string): void => {
    history.pushState(null, "", addressOf(user));
    setChosen(user);
  };
  const onNoTokenService = useCallback(() => setAskForToken(true), []);

  if (!pasted && askForToken) return <PasteToken onPaste={paste} />;
  const user = (pasted && subjectOf(pasted)) || chosen;
  return (
    // The key makes a new client for each user and token, so that nothing of the previous one remains visible.
    <Session
      key={`${pasted ?? ""} ${user}`}
      user={user}
      token={pasted}
      onNoTokenService={onNoTokenService}
      onSwitchUser={switchUser}
      onForgetToken={() => paste(null)}
    />
  );
}

interface SessionProps {
  user: string;
  token: string | null;
  onNoTokenService: () => void;
  onSwitchUser: (user: string) => void;
  onForgetToken: () => void;
}

function Session({ user, token, onNoTokenService, onSwitchUser, onForgetToken }: SessionProps): ReactElement {
  const [client] = useState(() =>
    createClient({
      baseUrl: "",
      userId: user,
      getToken: () =>
        token ??
        localToken(user).catch((thrown: unknown) => {
          if (thrown instanceof NoTokenService) onNoTokenService();
          throw thrown;
        }),
    }),
  );
  const wide = useWide();
  // Next to the page the inbox starts open. As an overlay it starts closed.
  const [sidebarOpen, setSidebarOpen] = useState(true);
  const [overlayOpen, setOverlayOpen] = useState(false);
  const open = wide ? sidebarOpen : overlayOpen;
  const setOpen = wide ? setSidebarOpen : setOverlayOpen;
  const overlay = !wide && overlayOpen;

  return (
    <CarillonProvider client={client}>
      <TraceProvider onTrace={() => setOverlayOpen(false)}>
        <a className="skip" href="#main">
          Skip to main content
        </a>
        <Header user={user} inboxOpen={open} onBell={() => setOpen(!open)} />
        <div className={open && wide ? "columns with-inbox" : "columns"}>
          <main id="main" tabIndex={-1} inert={overlay}>
            <Connection user={user} pasted={token !== null} onSwitchUser={onSwitchUser} onForgetToken={onForgetToken} />
            <div className="pair">
              <SendForm user={user} />
              <Events />
            </div>
            <Metrics />
            <History />
          </main>
          {overlay && <div className="scrim" onClick={() => setOverlayOpen(false)} aria-hidden="true" />}
          <Inbox user={user} open={open} overlay={overlay} onClose={() => setOpen(false)} />
        </div>
        <Announcer />
      </TraceProvider>
    </CarillonProvider>
  );
}
