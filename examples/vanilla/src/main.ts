import "@carillon/client/element";

const bell = document.querySelector("carillon-bell")!;
const status = document.querySelector("#status")!;

// Your back end signs tokens; the local gateway does so for trying things out.
bell.getToken = async () => (await (await fetch("/_gateway/token?sub=alice")).json()).token;

// With a token the bell has a client, whose store tells the rest of the page.
bell.client?.store.subscribe(({ unreadCount, wsStatus }) => {
  status.textContent = `${unreadCount} unread, ${wsStatus}`;
});
