// Talks with another user, with Go 1.18 or later: says each line of the input, and prints what either says. Run it in one
// terminal as one user and in another as the other, who accepts the chat by asking for it too. It listens to an event
// stream, for which Go needs no other package.
//
//	go run examples/talk.go [ME] [OTHER]
//
//	CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
//	CARILLON_TOKEN   a token of ME; default a token from the local gateway

//go:build ignore

package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	base  = environment("CARILLON_URL", "http://127.0.0.1:3000")
	token = os.Getenv("CARILLON_TOKEN")
	// A stream has no time-out: it lasts up to 15 minutes, with a comment every 15 s.
	client = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 10 * time.Second}}
)

type message struct {
	Seq      int64
	SenderID string
	Body     string
}

// conversation is the chat of two users, and up to which message it was shown.
type conversation struct {
	me, id, path string
	lock         sync.Mutex
	shown        int64
}

func main() {
	me, other := argument(1, "alice"), argument(2, "bob")
	if token == "" {
		var local struct{ Token string }
		repeat("GET", "/_gateway/token?"+url.Values{"sub": {me}}.Encode(), nil, &local)
		token = local.Token
	}
	// Two users have one chat, whoever asks first.
	var chat struct{ ID string }
	repeat("POST", "/api/chats", map[string]any{"kind": "direct", "participantIds": []string{other}}, &chat)
	talk := conversation{me: me, id: chat.ID, path: "/api/chats/" + chat.ID}
	go talk.listen()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) != "" {
			// The client id makes it one message however often it is sent.
			said := map[string]string{"clientId": randomID(), "body": lines.Text()}
			repeat("POST", talk.path+"/messages", said, nil)
		}
	}
	talk.catchUp()
}

// listen shows what is said, and opens a new stream whenever one ends.
func (talk *conversation) listen() {
	for attempt := 1; ; attempt++ {
		begun := time.Now()
		if err := talk.follow(); err != nil {
			fmt.Fprintln(os.Stderr, "opening again:", err)
		}
		if time.Since(begun) > time.Minute {
			attempt = 1
		}
		time.Sleep(jitter(attempt))
	}
}

func (talk *conversation) follow() error {
	// A ticket opens one stream and is valid for 30 s, so every attempt needs its own.
	var ticket struct{ Ticket, EventsURL string }
	repeat("POST", "/api/ws/ticket", nil, &ticket)
	answer, err := client.Get(ticket.EventsURL + "?" + url.Values{"ticket": {ticket.Ticket}}.Encode())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusedWith(answer)
	}
	etag := ""
	for lines := bufio.NewReader(answer.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		// Each event is one line of JSON. Comments keep the stream open.
		if !strings.HasPrefix(line, "data: ") {
			continue
		}
		var event struct {
			Type, Code, ChatID, ETag string
			// Of an event it is what was said, and of an error its text.
			Message json.RawMessage
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &event); err != nil {
			return err
		}
		switch {
		case event.Type == "message" && event.ChatID == talk.id:
			var said message
			if err := json.Unmarshal(event.Message, &said); err != nil {
				return err
			}
			talk.hear(said)
		case event.Type == "fetch" && event.ChatID == talk.id, event.Type == "resync":
			talk.catchUp()
		// The first pong reveals what was missed while the stream opened, and each later one what a push has lost.
		case event.Type == "pong" && event.ETag != etag:
			etag = event.ETag
			talk.catchUp()
		case event.Type == "error":
			return fmt.Errorf("%s: %s", event.Code, event.Message)
		case event.Type == "reconnect":
			return nil
		}
	}
}

// hear shows a message that was pushed. It may be a duplicate, out of order, or preceded by a lost one.
func (talk *conversation) hear(said message) {
	talk.lock.Lock()
	if said.Seq == talk.shown+1 {
		talk.show([]message{said})
	}
	isEarly := said.Seq > talk.shown
	talk.lock.Unlock()
	if isEarly {
		talk.catchUp()
	}
}

// catchUp shows all that follows what was shown.
func (talk *conversation) catchUp() {
	talk.lock.Lock()
	defer talk.lock.Unlock()
	for complete := false; !complete; {
		var page struct {
			Items    []message
			Complete bool
		}
		repeat("GET", fmt.Sprintf("%s/messages?after=%d&limit=200", talk.path, talk.shown), nil, &page)
		talk.show(page.Items)
		complete = page.Complete
	}
}

func (talk *conversation) show(messages []message) {
	isOthers := false
	for _, each := range messages {
		fmt.Printf("%s: %s\n", each.SenderID, each.Body)
		talk.shown = each.Seq
		isOthers = isOthers || each.SenderID != talk.me
	}
	// Own messages are read by being written.
	if isOthers {
		repeat("POST", talk.path+"/read", map[string]int64{"seq": talk.shown}, nil)
	}
}

// repeat calls Carillon, in up to six attempts, and ends the program if it is refused. Without an answer the outcome is unknown;
// all that is called here may be repeated.
func repeat(method, path string, body any, into any) {
	for attempt := 1; ; attempt++ {
		err := call(method, path, body, into)
		if err == nil {
			return
		}
		wait := jitter(attempt)
		var refusal *refused
		isRefused := errors.As(err, &refusal)
		isTemporary := !isRefused || refusal.status == http.StatusTooManyRequests || refusal.status >= 500
		if !isTemporary || attempt == 6 {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if isRefused && refusal.retryAfter > wait {
			wait = refusal.retryAfter
		}
		time.Sleep(wait)
	}
}

// jitter keeps clients from coming back all at once.
func jitter(attempt int) time.Duration {
	if attempt > 8 {
		attempt = 8
	}
	most := uint64(250*time.Millisecond) << attempt
	return time.Duration(binary.BigEndian.Uint64(randomBytes(8)) % most)
}

func call(method, path string, body any, into any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, base+path, content)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return refusedWith(answer)
	}
	if into == nil || answer.StatusCode == http.StatusNoContent {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// refused is an answer other than success.
type refused struct {
	status     int
	body       string
	retryAfter time.Duration
}

func refusedWith(answer *http.Response) *refused {
	body, _ := io.ReadAll(answer.Body)
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	return &refused{answer.StatusCode, string(body), time.Duration(seconds) * time.Second}
}

func (r *refused) Error() string { return fmt.Sprintf("refused with %d: %s", r.status, r.body) }

func randomID() string { return fmt.Sprintf("%x", randomBytes(16)) }

func randomBytes(count int) []byte {
	drawn := make([]byte, count)
	if _, err := rand.Read(drawn); err != nil {
		panic(err)
	}
	return drawn
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func argument(n int, otherwise string) string {
	if len(os.Args) > n {
		return os.Args[n]
	}
	return otherwise
}
