"""Checks a gateway with Python's `websockets` and boto3: `compat.py URL`. No other client may be connected.

Neither library knows Carillon: the first speaks RFC 6455, the second the management API as AWS documents it.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import boto3
from botocore.config import Config
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

URL = sys.argv[1]
SOCKET_URL = URL.replace("http://", "ws://") + "/live"
KB = 1024

management = boto3.client(
    "apigatewaymanagementapi",
    endpoint_url=f"{URL}/live",
    region_name="eu-central-1",
    aws_access_key_id="none",
    aws_secret_access_key="none",
    config=Config(proxies={}, retries={"total_max_attempts": 1}),
)


def a_posted_payload_arrives_byte_for_byte():
    with opened() as (socket, connection):
        for payload in [b'{"type":"x"}', " ünï ☃ 𝄞 \u0000 é\r\n".encode(), ("é" * 20 * KB).encode(), b"x" * 128 * KB]:
            management.post_to_connection(ConnectionId=connection, Data=payload)
            assert socket.recv(timeout=10, decode=False) == payload, payload[:40]
        socket.send('{"action":"ping","ref":"1"}')
        assert json.loads(socket.recv(timeout=10))["ref"] == "1"


def a_connection_is_described():
    with opened() as (_, connection):
        shown = management.get_connection(ConnectionId=connection)
        assert shown["ConnectedAt"].tzinfo and shown["LastActiveAt"] >= shown["ConnectedAt"], shown
        assert shown["Identity"]["SourceIp"] == "127.0.0.1", shown
        assert "websockets" in shown["Identity"]["UserAgent"], shown


def a_deleted_connection_is_closed_and_gone():
    with opened() as (socket, connection):
        management.delete_connection(ConnectionId=connection)
        assert close_code(socket) == 1000
        for call in (management.get_connection, management.delete_connection):
            raises(management.exceptions.GoneException, call, ConnectionId=connection)
        gone = raises(
            management.exceptions.GoneException, management.post_to_connection, ConnectionId=connection, Data=b"x"
        )
        assert gone.response["ResponseMetadata"]["HTTPStatusCode"] == 410, gone.response


def a_connection_closed_by_its_client_is_gone():
    with opened() as (socket, connection):
        socket.close()
        raises(management.exceptions.GoneException, management.post_to_connection, ConnectionId=connection, Data=b"x")


def a_payload_above_128_kb_is_refused_and_the_socket_stays_open():
    with opened() as (socket, connection):
        too_large = b"x" * (128 * KB + 1)
        refused = management.exceptions.PayloadTooLargeException
        raises(refused, management.post_to_connection, ConnectionId=connection, Data=too_large)
        management.post_to_connection(ConnectionId=connection, Data=b"still here")
        assert socket.recv(timeout=10) == "still here"


def a_handshake_without_a_valid_ticket_is_401():
    used = ticket()
    handshake(f"?ticket={used}")
    for query in ["", "?ticket=", "?ticket=AAAAAAAAAAAAAAAAAAAAAA", f"?ticket={used}"]:
        refused = raises(InvalidStatus, handshake, query)
        assert refused.response.status_code == 401, (query, refused.response)


def frames_that_aws_refuses_close_the_socket():
    for frame, code in [("x" * 33 * KB, 1009), (b"binary", 1003)]:
        with opened() as (socket, _):
            socket.send(frame)
            assert close_code(socket) == code, code


def a_message_in_several_frames_is_accepted_up_to_32_kb():
    message = json.dumps({"action": "ping", "ref": "r"}).ljust(32 * KB)
    with opened() as (socket, _):
        socket.send([message[: 30 * KB], message[30 * KB :]])
        assert json.loads(socket.recv(timeout=10))["type"] == "pong"
        # Stricter than API Gateway, behind which the function refuses it.
        socket.send([message, " "])
        assert close_code(socket) == 1009


def plain_http_on_the_socket_route_is_426():
    refused = raises(urllib.error.HTTPError, http, "GET", "/live")
    assert refused.code == 426, refused


@contextmanager
def opened():
    """An open socket and its connection id. Waits until all earlier connections have ended."""
    with connect(f"{SOCKET_URL}?ticket={ticket()}", proxy=None) as socket:
        deadline = time.monotonic() + 10
        while len(connections := http("GET", "/_gateway/connections")["connections"]) != 1:
            assert time.monotonic() < deadline, connections
            time.sleep(0.01)
        yield socket, connections[0]["connectionId"]


def handshake(query):
    with connect(SOCKET_URL + query, proxy=None):
        pass


def ticket():
    token = http("GET", "/_gateway/token?sub=alice")["token"]
    return http("POST", "/api/ws/ticket", token)["ticket"]


def http(method, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(URL + path, headers=headers, method=method), timeout=10) as answer:
        return json.load(answer)


def close_code(socket):
    return raises(ConnectionClosed, socket.recv, timeout=10).rcvd.code


def raises(expected, call, *given, **named):
    try:
        outcome = call(*given, **named)
    except expected as error:
        return error
    raise AssertionError(f"expected {expected.__name__}, got {outcome!r}")


for check in [
    a_posted_payload_arrives_byte_for_byte,
    a_connection_is_described,
    a_deleted_connection_is_closed_and_gone,
    a_connection_closed_by_its_client_is_gone,
    a_payload_above_128_kb_is_refused_and_the_socket_stays_open,
    a_handshake_without_a_valid_ticket_is_401,
    frames_that_aws_refuses_close_the_socket,
    a_message_in_several_frames_is_accepted_up_to_32_kb,
    plain_http_on_the_socket_route_is_426,
]:
    check()
    print("ok", check.__name__, flush=True)
