// What happens in a month: from what users do, and what each act takes.

export const DAYS = 30.4;
export const HOURS = DAYS * 24;
export const SECONDS = HOURS * 3_600;
/** How often a client pings in a page that is hidden. */
const HIDDEN_PING_MS = 240_000;
/** How long an event stream lasts. */
const STREAM_MINUTES = 14;
const GB = 1e9;

/** The sums of a month: `is` are the assumptions, and `counts` what each act takes. */
export function monthOf(users, is, counts, { PingEveryMs, MaxStreams, MaxDrains, RetentionDays }) {
  const monthly = (perUser) => users * perUser * DAYS;
  const visibleHours = monthly(is.visibleHoursPerUser);
  const hiddenHours = monthly(is.hiddenHoursPerUser);
  const openHours = visibleHours + hiddenHours;
  const streamHours = Math.min(openHours * is.streamShare, Number(MaxStreams) * HOURS);
  const streams = (streamHours * 60) / STREAM_MINUTES;
  const notifications = monthly(is.notificationsPerUser);
  const sockets = monthly(is.socketsPerUser);
  const messages = monthly(is.messagesPerUser);
  const times = {
    sendAbsent: notifications * (1 - is.connectedShare),
    sendRung: notifications * is.connectedShare,
    socket: sockets,
    offline: sockets,
    ping: (visibleHours * 3_600_000) / Number(PingEveryMs) + (hiddenHours * 3_600_000) / HIDDEN_PING_MS,
    list: monthly(is.listsPerUser),
    read: monthly(is.readsPerUser),
    message: messages,
    readChat: monthly(is.chatReadsPerUser),
    typing: messages * is.typingPerMessage,
    drain: HOURS * 60,
  };
  const sum = (of) => Object.entries(times).reduce((total, [act, n]) => total + n * of(counts[act], act), 0);

  const calls = sum(({ invocations: { drain: _, ...others } }) => Object.values(others).reduce((a, b) => a + b, 0));
  // One partner who sees a user come and go was counted.
  const pushes = sum((each) => each.pushes) + (is.partnersPerUser - 1) * (times.socket + times.offline);
  // The pushes of a call go out at once, and those of the drain in its own time.
  const pushingCalls = sum((each, act) => (each.pushes > 0 && act !== "offline" ? 1 : 0));
  const httpCalls = sum((each) => each.http);
  const framesIn = sum((each) => each.framesIn);
  const replies = sum((each) => each.replies);
  const drainHours = Math.min(is.drains, Number(MaxDrains)) * HOURS;
  const invocations = calls + times.drain + streams;
  const callSeconds = (calls * is.callMs + pushingCalls * is.pushMs) / 1_000;
  return {
    notifications,
    messages,
    sockets,
    openHours,
    framesIn,
    frames: framesIn + replies + pushes,
    pushes,
    httpCalls,
    streams,
    invocations,
    callSeconds,
    functionSeconds: callSeconds + (drainHours + streamHours) * 3_600,
    statements: sum((each) => each.statements),
    commands: sum((each) => each.commands),
    storedGb:
      ((notifications / DAYS) * Number(RetentionDays) * counts.sendAbsent.storedBytes +
        messages * is.messageMonths * counts.message.storedBytes) /
      GB,
    outGb: (sum((each) => each.bytesOut) + (httpCalls + replies + pushes) * is.overheadBytes) / GB,
    natGb: ((pushes + notifications * is.webPushShare) * is.postBytes) / GB,
    logGb: (invocations * is.logBytesPerCall) / GB,
  };
}

/** What that is in the hours into which it falls. */
export function busy(month, is) {
  const hours = DAYS * is.busyHours;
  const aSecond = (monthly) => monthly / (hours * 3_600);
  return {
    openSockets: month.openHours / hours,
    socketsOpened: aSecond(month.sockets),
    framesIn: aSecond(month.framesIn),
    httpCalls: aSecond(month.httpCalls),
    requests: aSecond(month.frames + month.httpCalls),
    callsAtOnce: aSecond(month.callSeconds),
    statements: aSecond(month.statements),
    commands: aSecond(month.commands),
    acus: aSecond(month.statements) / is.statementsPerAcu,
  };
}
