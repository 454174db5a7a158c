// The whole page: makes a client for the chosen user, and lays out the parts.

import { createClient } from "@carillon/client";
import { CarillonProvider } from "@carillon/client/react";
import { type ReactElement, useCallback, useEffect, useState } from "react";
import { Chat } from "./Chat.js";
import { Connection } from "./Connection.js";
import { EmitForm } from "./EmitForm.js";
import { Events } from "./Events.js";
import { Header } from "./Header.js";
import { History } from "./History.js";
import { PageToasts, Sidebar } from "./Inbox.js";
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
import { Settings } from "./Settings.js";
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
  const [open, setOpen] = useState(true);
  const sidebar = wide ? { open, setOpen } : null;
  const withSidebar = wide && open;
  const signOut = (): void => {
    void client.signOut();
    onForgetToken();
  };

  return (
    <CarillonProvider client={client}>
      <TraceProvider>
        <a className="skip" href="#main">
          Skip to main content
        </a>
        <Header user={user} sidebar={sidebar} />
        <div className={withSidebar ? "columns with-inbox" : "columns"}>
          <main id="main" tabIndex={-1}>
            <Connection user={user} pasted={token !== null} onSwitchUser={onSwitchUser} onForgetToken={signOut} />
            <div className="pair">
              <SendForm user={user} />
              <Events />
            </div>
            <EmitForm user={user} />
            <Settings user={user} />
            <Metrics />
            <Chat user={user} canBeOthers={token === null} />
            <History />
          </main>
          {withSidebar && <Sidebar user={user} onClose={() => setOpen(false)} />}
        </div>
        {!withSidebar && <PageToasts />}
      </TraceProvider>
    </CarillonProvider>
  );
}
