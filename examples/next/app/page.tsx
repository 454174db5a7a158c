import { sendNotification } from "@carillon/client/server";
import { Bell } from "@carillon/client/ui";
import { Inbox } from "./carillon";
import { baseUrl, tokenOf } from "./gateway";

// A server action: your back end may send to any user.
async function ring() {
  "use server";
  const token = await tokenOf("shop", "notify:send");
  await sendNotification({ type: "GREETING", userId: "alice", title: "Hello" }, { baseUrl, token });
}

export default function Page() {
  return <main><form action={ring}><button>Ring</button></form><Bell align="start" /><Inbox /></main>;
}
