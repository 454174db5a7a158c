#!/usr/bin/env bash
# Rings a user with curl.
#
#   examples/send.sh [USER] [TITLE] [KEY]
#
#   CARILLON_URL     where Carillon answers; http://127.0.0.1:3000
#   CARILLON_TOKEN   a token with the scope notify:send; without it, the local gateway is asked for one

set -euo pipefail

url=${CARILLON_URL:-http://127.0.0.1:3000}
user=${1:-alice}
title=${2:-Report approved}
# The key names what happened, not when this ran: whoever repeats it, after a crash or from another machine,
# gets the first answer again and nobody is rung twice. A time or a random number would protect from nothing.
key=${3:-report-123-approved}

# Users and titles come from elsewhere; a shell cannot quote JSON by itself.
json_string() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

token=${CARILLON_TOKEN:-$(
    curl --silent --show-error --fail "$url/_gateway/token?sub=shop&scope=notify:send" |
        sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p'
)}

# No answer means unknown, and 429 and 5xx mean not now: curl tries these again, waits as long as Retry-After says,
# and sends the same key each time. Any other refusal would be the same the next time.
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
