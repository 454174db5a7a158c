#!/usr/bin/env bash
# Prints what Carillon tells other programs on Redis, with redis-cli: accepted notifications, messages of chats, emitted
# events, and who comes online and goes offline. Ids alone, at most once, and only what happens while it runs.
#
#   examples/hear.sh
#
#   REDIS_URL          the Redis of Carillon; default redis://127.0.0.1. Of several, each tells its own part: run it for each
#   REDIS_KEY_PREFIX   the prefix of its keys and channels; default carillon

set -euo pipefail

prefix=${REDIS_KEY_PREFIX:-carillon}

# Each of the two patterns matches channels by name: notification-events, and channel:chat-messages, channel:system-events
# and channel:user-presence. Written to a pipe, redis-cli prints four lines for each: pmessage, pattern, channel and body.
exec redis-cli -u "${REDIS_URL:-redis://127.0.0.1}" psubscribe "$prefix:notification-events" "$prefix:channel:*"
