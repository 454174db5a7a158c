#!/usr/bin/env bash
# Talks with another user, with curl: asks for the chat, says something there, and prints what was said so far. Run it as
# one user and then, with the names exchanged, as the other, who accepts the chat by asking for it too.
#
#   examples/talk.sh [ME] [OTHER] [TEXT] [KEY]
#
#   TEXT             what to say; by default, nothing
#   KEY              names the message: runs with the same key say it once; by default, each run says it
#   CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
#   CARILLON_TOKEN   a token of ME; default a token from the local gateway

set -euo pipefail

url=${CARILLON_URL:-http://127.0.0.1:3000}
me=${1:-alice}
other=${2:-bob}
text=${3:-}
key=${4:-run-$(date +%s)-$$-$RANDOM}

# Users and texts are arbitrary strings, so they must be escaped for JSON.
json_string() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# Calls Carillon and prints the answer. Every call here may be repeated: without an answer its outcome is unknown, and 429
# and 5xx are temporary. Any other refusal is permanent.
call() {
    local method=$1 path=$2 body=${3:-} answer status
    answer=$(curl --silent --show-error --write-out '\n%{http_code}' --request "$method" \
        --retry 5 --retry-all-errors --retry-max-time 60 --max-time 10 \
        --header "Authorization: Bearer $token" \
        ${body:+--header "Content-Type: application/json" --data "$body"} \
        "$url$path")
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
    if [[ $status != 2* ]]; then
        echo "refused with $status: $answer" >&2
        return 1
    fi
    printf '%s' "$answer"
}

token=${CARILLON_TOKEN:-$(
    curl --silent --show-error --fail --get --data-urlencode "sub=$me" "$url/_gateway/token" |
        sed -n 's/.*"token" *: *"\([^"]*\)".*/\1/p'
)}

# Two users have one chat, whoever asks first.
asked=$(call POST /api/chats "{\"kind\":\"direct\",\"participantIds\":[$(json_string "$other")]}")
[[ $asked =~ \"id\":\"([^\"]+)\" ]]
chat=${BASH_REMATCH[1]}

if [ -n "$text" ]; then
    call POST "/api/chats/$chat/messages" "{\"clientId\":$(json_string "$key"),\"body\":$(json_string "$text")}" >/dev/null
fi

# The last 50 messages. What is printed has been read.
said=$(call GET "/api/chats/$chat/messages?limit=50")
printf '%s\n' "$said"
if [[ $said =~ .*\"chatId\":\"$chat\",\"seq\":([0-9]+) ]]; then
    call POST "/api/chats/$chat/read" "{\"seq\":${BASH_REMATCH[1]}}" >/dev/null
fi
