#!/usr/bin/env bash
# Sends a notification to a user with curl.
#
#   examples/send.sh [USER] [TITLE] [KEY]
#
#   KEY              names the event: runs with the same key send once; by default, each run sends
#   CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
#   CARILLON_TOKEN   a token with the scope notify:send; default a token from the local gateway

set -euo pipefail

url=${CARILLON_URL:-http://127.0.0.1:3000}
user=${1:-alice}
title=${2:-Report approved}
# A key that names the event, such as report-123-approved, makes the whole run repeatable: after a crash or from another
# machine it returns the first answer and sends no duplicate. Without one, each run is an event of its own, and the key
# only makes the retries of this run safe.
key=${3:-run-$(date +%s)-$$-$RANDOM}

# Users and titles are arbitrary strings, so they must be escaped for JSON.
json_string() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

token=${CARILLON_TOKEN:-$(
    curl --silent --show-error --fail "$url/_gateway/token?sub=shop&scope=notify:send" |
        sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p'
)}

# Without an answer the outcome is unknown, and 429 and 5xx are temporary. curl retries these with the same key and
# honours Retry-After. Any other refusal is permanent.
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
status=$(
    curl --silent --show-error --output "$answer" --write-out '%{http_code}' \
        --retry 5 --retry-all-errors --retry-max-time 60 --max-time 10 \
        --header "Authorization: Bearer $token" \
        --header "Content-Type: application/json" \
        --header "Idempotency-Key: $key" \
        --data "{\"type\":\"REPORT_APPROVED\",\"userIds\":[$(json_string "$user")],\"title\":$(json_string "$title")}" \
        "$url/api/notifications/send"
)

cat "$answer"
echo
[ "$status" = 202 ] || {
    echo "refused with $status" >&2
    exit 1
}
