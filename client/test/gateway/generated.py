"""A service and a user that know Carillon only by a client generated from docs/openapi.yaml.

generated.py FOLDER URL: the folder of the package `carillon`; tokens come from the gateway at the URL.
"""

import json
import sys
import urllib.parse
import urllib.request

folder, url = sys.argv[1:]
sys.path.insert(0, folder)

from carillon.api.inbox import count_unread, get_notification, list_notifications, read_notification
from carillon.api.sends import send
from carillon.client import AuthenticatedClient
from carillon.models import (
    AcceptedNotification,
    Count,
    Inbox,
    NotFoundError,
    Notification,
    Send,
    SendData,
    Sent,
    ValidationError,
)


def client(user: str, scope: str = "") -> AuthenticatedClient:
    query = urllib.parse.urlencode({"sub": user, "scope": scope})
    with urllib.request.urlopen(f"{url}/_gateway/token?{query}") as answer:
        return AuthenticatedClient(base_url=url, token=json.load(answer)["token"])


shop, alice = client("shop", "notify:send"), client("reader")

parcel = Send(type_="ORDER_SHIPPED", user_ids=["reader"], title="Your parcel is on its way",
              data=SendData.from_dict({"orderId": 7}))
sent = send.sync(client=shop, body=parcel, idempotency_key="order-7")
assert isinstance(sent, Sent), sent
[accepted] = sent.notifications
assert isinstance(accepted, AcceptedNotification), accepted
assert send.sync(client=shop, body=parcel, idempotency_key="order-7") == sent

inbox = list_notifications.sync(client=alice, unread=True, limit=10)
assert isinstance(inbox, Inbox), inbox
[notification] = inbox.items
assert isinstance(notification, Notification), notification
assert notification.id == accepted.id and notification.title == parcel.title, notification
assert notification.data.to_dict() == {"orderId": 7}, notification.data
assert notification.read_at is None and inbox.unread_count == 1 and inbox.next_cursor is None, inbox

answer = read_notification.sync_detailed(client=alice, id=notification.id)
assert answer.status_code == 204, answer
read = get_notification.sync(client=alice, id=notification.id)
assert isinstance(read, Notification) and read.read_at >= read.created_at, read
count = count_unread.sync(client=alice)
assert isinstance(count, Count) and count.count == 0, count

refused = send.sync(client=shop, body=Send(type_="no spaces", user_ids=["reader"], title="Hi"))
assert isinstance(refused, ValidationError) and refused.error.fields == ["type"], refused
assert isinstance(get_notification.sync(client=shop, id=notification.id), NotFoundError)
print("done")
