#!/usr/bin/env python3
"""Follows an inbox over a socket, with Python 3.10 or later, until COUNT notifications were shown, or forever.

    pip install websockets
    python examples/ring.py [USER] [COUNT]

CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
CARILLON_TOKEN   a token of the user; default a token from the local gateway
"""

import json
import math
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

URL = os.environ.get("CARILLON_URL", "http://127.0.0.1:3000")


def listen(user, count):
    """Prints each unread notification once, and opens a new socket whenever one ends."""
    inbox = Inbox()
    failures = 0
    while len(inbox.shown) < count:
        try:
            # A ticket opens one socket and is valid for 30 s, so every attempt needs its own.
            ticket = call("POST", "/api/ws/ticket", token(user))
            with connect(f"{ticket['url']}?ticket={ticket['ticket']}") as socket:
                failures = 0
                inbox.follow(socket, count)
        except (WebSocketException, OSError) as problem:
            if isinstance(problem, urllib.error.HTTPError) and problem.code < 500 and problem.code != 429:
                sys.exit(f"refused with {problem.code}: {problem.read().decode()}")
            # Every socket ends after two hours at the latest. Jitter keeps clients from reconnecting all at once.
            failures += 1
            print(f"opening again: {problem}", file=sys.stderr)
            time.sleep(random.uniform(0, min(60, 2**failures)))


class Inbox:
    """The ids that were shown, and the cursor; a real client stores both."""

    def __init__(self):
        self.cursor = None
        self.shown = set()

    def follow(self, socket, count):
        self.socket, self.syncing, self.sync_again = socket, False, False
        self.sync()
        # The first ping reveals what was missed while the socket opened; later pings keep the socket open.
        ping_at = time.monotonic() + 2
        while len(self.shown) < count:
            if time.monotonic() >= ping_at:
                self.send("ping")
                ping_at = time.monotonic() + 60
            try:
                self.handle(json.loads(socket.recv(timeout=max(0, ping_at - time.monotonic()))))
            except TimeoutError:
                continue

    def handle(self, frame):
        """Handles a frame, which may be a duplicate, out of order, or preceded by a lost one."""
        match frame:
            case {"type": "sync"}:
                for notification in frame["notifications"]:
                    self.show(notification)
                self.advance(frame["cursor"])
                self.syncing = False
                if self.sync_again or not frame["complete"]:
                    self.sync()
            case {"type": "pong"} if frame["cursor"] != self.cursor:
                self.syncing = False
                self.sync()
            case {"type": "resync" | "fetch"}:
                self.sync()
            case {"type": "error", "code": "cursor_expired"}:
                # The cursor has expired: sync everything again. Shown notifications are recognised by id.
                self.cursor, self.syncing = None, False
                self.sync()
            case {"type": "error"}:
                print(f"{frame['code']}: {frame['message']}", file=sys.stderr)
            case {"prev": prev, "cursor": cursor} if offset(cursor) > offset(self.cursor):
                if offset(prev) > offset(self.cursor):
                    self.sync()
                    return
                if frame["type"] == "notification":
                    self.show(frame["notification"])
                self.advance(cursor)

    def sync(self):
        """Requests all changes after the cursor, one request at a time."""
        self.sync_again = self.syncing
        if not self.syncing:
            self.syncing = True
            self.send("sync", **({"since": self.cursor} if self.cursor else {}))

    def show(self, notification):
        if notification["id"] not in self.shown and not notification["readAt"]:
            self.shown.add(notification["id"])
            print(f"{notification['title']} ({notification['type']}, {notification['id']})", flush=True)

    def advance(self, cursor):
        self.cursor = cursor
        self.send("ack", cursor=cursor)

    def send(self, action, **members):
        self.socket.send(json.dumps({"action": action, **members}))


def offset(cursor):
    """The number in `<epoch>.<offset>`, which grows by one with every change of the inbox."""
    return int(cursor.rpartition(".")[2]) if cursor else -1


def token(user):
    query = urllib.parse.urlencode({"sub": user})
    return os.environ.get("CARILLON_TOKEN") or call("GET", f"/_gateway/token?{query}")["token"]


def call(method, path, bearer=None):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    request = urllib.request.Request(URL + path, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


if __name__ == "__main__":
    try:
        listen(sys.argv[1] if len(sys.argv) > 1 else "alice", int(sys.argv[2]) if len(sys.argv) > 2 else math.inf)
    except KeyboardInterrupt:
        pass
