#!/usr/bin/env python3
"""Follows an inbox over a socket, from Python 3.10 or later; ends after COUNT notifications, otherwise never.

    pip install websockets
    python examples/ring.py [USER] [COUNT]

CARILLON_URL     where Carillon answers; http://127.0.0.1:3000
CARILLON_TOKEN   a token of the user; without it, the local gateway is asked for one
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
    """Shows each unread notification once, over as many sockets as it takes."""
    inbox = Inbox()
    failures = 0
    while len(inbox.shown) < count:
        try:
            # A ticket opens one socket and is good for 30 s: every attempt asks for its own.
            ticket = call("POST", "/api/ws/ticket", token(user))
            with connect(f"{ticket['url']}?ticket={ticket['ticket']}") as socket:
                failures = 0
                inbox.follow(socket, count)
        except (WebSocketException, OSError) as problem:
            if isinstance(problem, urllib.error.HTTPError) and problem.code < 500 and problem.code != 429:
                sys.exit(f"refused with {problem.code}: {problem.read().decode()}")
            # Every socket ends, after two hours at the latest. Waiting by chance keeps all from coming at once.
            failures += 1
            print(f"opening again: {problem}", file=sys.stderr)
            time.sleep(random.uniform(0, min(60, 2**failures)))


class Inbox:
    """What was shown, and the cursor up to which; a real client keeps both where it keeps its data."""

    def __init__(self):
        self.cursor = None
        self.shown = set()

    def follow(self, socket, count):
        self.socket, self.syncing, self.behind = socket, False, False
        self.sync()
        # The first ping finds what slipped by while the socket opened, the later ones keep it open.
        ping_at = time.monotonic() + 2
        while len(self.shown) < count:
            if time.monotonic() >= ping_at:
                self.say("ping")
                ping_at = time.monotonic() + 60
            try:
                self.hear(json.loads(socket.recv(timeout=max(0, ping_at - time.monotonic()))))
            except TimeoutError:
                continue

    def hear(self, frame):
        """Takes a frame, which may be doubled, may overtake another, or follow one that was lost."""
        match frame:
            case {"type": "sync"}:
                for notification in frame["notifications"]:
                    self.show(notification)
                self.reached(frame["cursor"])
                self.syncing = False
                if self.behind or not frame["complete"]:
                    self.sync()
            case {"type": "pong"} if frame["cursor"] != self.cursor:
                self.syncing = False
                self.sync()
            case {"type": "resync" | "fetch"}:
                self.sync()
            case {"type": "error", "code": "cursor_expired"}:
                # Away for too long: all of it again. What was shown is known by its id.
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
                self.reached(cursor)

    def sync(self):
        """Asks what changed after the cursor, one question at a time."""
        self.behind = self.syncing
        if not self.syncing:
            self.syncing = True
            self.say("sync", **({"since": self.cursor} if self.cursor else {}))

    def show(self, notification):
        if notification["id"] not in self.shown and not notification["readAt"]:
            self.shown.add(notification["id"])
            print(f"{notification['title']} ({notification['type']}, {notification['id']})", flush=True)

    def reached(self, cursor):
        self.cursor = cursor
        self.say("ack", cursor=cursor)

    def say(self, action, **members):
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
