/// <reference types="vite/client" />

import { createClient } from "@carillon/client";
// The service worker is a file of its own, which Vite serves from the page's origin.
import serviceWorker from "@carillon/client/push-worker.js?url&no-inline";
import { CarillonProvider, usePush } from "@carillon/client/react";
import { Bell, Preferences } from "@carillon/client/ui";
import { createRoot } from "react-dom/client";

// Your back end signs tokens; the local gateway does so for trying things out.
const getToken = async () => (await (await fetch("/_gateway/token?sub=alice")).json()).token;
const client = createClient({ baseUrl: "", getToken, userId: "alice" });

// A button of your own. `<Preferences />` has one too, with what rings, quiet hours and muted chats.
function Push() {
  const { status, reason, busy, error, enable, disable } = usePush();
  const isOn = status === "on";
  // Browsers ask only within a click.
  const turn = () => (isOn ? disable() : enable({ serviceWorker }));
  return (
    <main>
      <h1>Push is {status} {reason ?? error?.code}</h1>
      {(isOn || status === "off") && <button disabled={busy} onClick={turn}>Turn it {isOn ? "off" : "on"}</button>}
    </main>
  );
}

createRoot(document.getElementById("root")!).render(
  <CarillonProvider client={client}>
    <Bell align="start" />
    <Push />
    <Preferences push={null} types={[{ type: "GREETING", label: "Greetings" }]} />
  </CarillonProvider>,
);
