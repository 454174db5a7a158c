#!/usr/bin/env python3
"""Talks with another user, with Python 3.10 or later: says each line of the input, and prints what either says.

Run it in one terminal as one user and in another as the other, who accepts the chat by asking for it too.

    pip install websockets
    python examples/talk.py [ME] [OTHER]

CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
CARILLON_TOKEN   a token of ME; default a token from the local gateway
"""

import http.client
import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

URL = os.environ.get("CARILLON_URL", "http://127.0.0.1:3000")


class Conversation:
    """The chat of two users, and up to which message it was shown."""

    def __init__(self, me, other):
        self.me, self.shown, self.lock = me, 0, threading.Lock()
        query = urllib.parse.urlencode({"sub": me})
        self.bearer = os.environ.get("CARILLON_TOKEN") or repeat("GET", f"/_gateway/token?{query}")["token"]
        # Two users have one chat, whoever asks first.
        chat = repeat("POST", "/api/chats", self.bearer, {"kind": "direct", "participantIds": [other]})
        self.id, self.path = chat["id"], f"/api/chats/{chat['id']}"

    def say(self, text):
        # The client id makes it one message however often it is sent.
        repeat("POST", f"{self.path}/messages", self.bearer, {"clientId": str(uuid.uuid4()), "body": text})

    def listen(self):
        """Shows what is said, and opens a new socket whenever one ends."""
        failures = 0
        while True:
            try:
                # A ticket opens one socket and is valid for 30 s, so every attempt needs its own.
                ticket = repeat("POST", "/api/ws/ticket", self.bearer)
                with connect(f"{ticket['url']}?ticket={ticket['ticket']}") as socket:
                    failures = 0
                    self.follow(socket)
            except (WebSocketException, OSError) as problem:
                # Every socket ends after two hours at the latest. Jitter keeps clients from reconnecting all at once.
                failures += 1
                print(f"opening again: {problem}", file=sys.stderr)
                time.sleep(random.uniform(0, min(60, 2**failures)))

    def follow(self, socket):
        self.catch_up()
        # The first ping reveals what was missed while the socket opened; later pings keep the socket open.
        etag, ping_at = None, time.monotonic() + 2
        while True:
            if time.monotonic() >= ping_at:
                socket.send(json.dumps({"action": "ping"}))
                ping_at = time.monotonic() + 60
            try:
                frame = json.loads(socket.recv(timeout=max(0, ping_at - time.monotonic())))
            except TimeoutError:
                continue
            match frame:
                case {"type": "message", "chatId": self.id, "message": message}:
                    self.hear(message)
                case {"type": "fetch", "chatId": self.id} | {"type": "resync"}:
                    self.catch_up()
                case {"type": "pong"} if frame["etag"] != etag:
                    etag = frame["etag"]
                    self.catch_up()
                case {"type": "error"}:
                    print(f"{frame['code']}: {frame['message']}", file=sys.stderr)

    def hear(self, message):
        """Shows a message that was pushed. It may be a duplicate, out of order, or preceded by a lost one."""
        with self.lock:
            if message["seq"] == self.shown + 1:
                self.show([message])
            is_early = message["seq"] > self.shown
        if is_early:
            self.catch_up()

    def catch_up(self):
        """Shows all that follows what was shown."""
        with self.lock:
            complete = False
            while not complete:
                page = repeat("GET", f"{self.path}/messages?after={self.shown}&limit=200", self.bearer)
                self.show(page["items"])
                complete = page["complete"]

    def show(self, messages):
        for message in messages:
            print(f"{message['senderId']}: {message['body']}", flush=True)
            self.shown = message["seq"]
        # Own messages are read by being written.
        if any(message["senderId"] != self.me for message in messages):
            repeat("POST", f"{self.path}/read", self.bearer, {"seq": self.shown})


def repeat(method, path, bearer=None, body=None):
    """Calls Carillon, in up to six attempts. Without an answer the outcome is unknown; all that is called may be repeated."""
    for attempt in range(1, 7):
        retry_after = 0
        try:
            return call(method, path, bearer, body)
        except urllib.error.HTTPError as refusal:
            if attempt == 6 or refusal.code < 500 and refusal.code != 429:
                print(f"refused with {refusal.code}: {refusal.read().decode()}", file=sys.stderr)
                os._exit(1)
            retry_after = float(refusal.headers.get("Retry-After", 0))
        except (OSError, http.client.HTTPException):
            if attempt == 6:
                raise
        time.sleep(max(retry_after, random.uniform(0, 0.25 * 2**attempt)))


def call(method, path, bearer, body):
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or "null")


def main():
    conversation = Conversation(*(sys.argv[1:] + ["alice", "bob"][len(sys.argv) - 1 :]))
    threading.Thread(target=conversation.listen, daemon=True).start()
    for line in sys.stdin:
        if line.strip():
            conversation.say(line.rstrip("\n"))
    conversation.catch_up()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
