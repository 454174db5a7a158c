// Sends a notification to a user, with Go 1.18 or later, and prints what arrives in the inbox until this notification is
// there. It listens to an event stream, for which Go needs no other package.
//
//	go run examples/ring.go [USER] [TITLE] [KEY]
//
//	KEY              names the event: runs with the same key send once; by default, each run sends
//	CARILLON_URL     the address of Carillon; default http://127.0.0.1:3000
//	CARILLON_TOKEN   a token of the user with the scope notify:send; default a token from the local gateway

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
	"time"
)

var (
	base  = environment("CARILLON_URL", "http://127.0.0.1:3000")
	token = os.Getenv("CARILLON_TOKEN")
	// A stream has no time-out: it lasts up to 15 minutes, with a comment every 15 s.
	client = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 10 * time.Second}}
)

type notification struct {
	ID     string  `json:"id"`
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	ReadAt *string `json:"readAt"`
}

// inbox is what was shown, and up to which cursor; a real client stores both.
type inbox struct {
	cursor string
	shown  map[string]bool
}

func main() {
	user, title := argument(1, "alice"), argument(2, "Report approved")
	// A key that names the event, such as report-123-approved, makes the whole run repeatable. Without one, the key only
	// makes the retries of this run safe.
	key := argument(3, randomKey())
	if token == "" {
		query := url.Values{"sub": {user}, "scope": {"notify:send"}}
		var local struct{ Token string }
		repeat("GET", "/_gateway/token?"+query.Encode(), nil, nil, &local)
		token = local.Token
	}

	inbox := inbox{shown: map[string]bool{}}
	inbox.sync()
	var sent struct {
		SendID        string `json:"sendId"`
		Notifications []struct{ ID string }
	}
	send := map[string]any{"type": "REPORT_APPROVED", "userIds": []string{user}, "title": title}
	repeat("POST", "/api/notifications/send", send, http.Header{"Idempotency-Key": {key}}, &sent)
	fmt.Println("sent", sent.SendID)
	for attempt := 0; !inbox.shown[sent.Notifications[0].ID]; attempt++ {
		if attempt > 0 {
			time.Sleep(jitter(attempt))
		}
		if err := inbox.follow(sent.Notifications[0].ID); err != nil {
			fmt.Fprintln(os.Stderr, "opening again:", err)
		}
	}
}

// sync shows all that changed after the cursor, or everything there is without one.
func (in *inbox) sync() {
	for complete := false; !complete; {
		query := ""
		if in.cursor != "" {
			query = "?" + url.Values{"since": {in.cursor}}.Encode()
		}
		var page struct {
			Notifications []notification
			Cursor        string
			Complete      bool
		}
		if repeat("GET", "/api/sync"+query, nil, nil, &page) == http.StatusGone {
			// The cursor has expired: sync everything again. Shown notifications are recognised by id.
			in.cursor = ""
			continue
		}
		for _, each := range page.Notifications {
			in.show(each)
		}
		in.advance(page.Cursor)
		complete = page.Complete
	}
}

// follow shows what an event stream tells after the cursor, until it ends or the notification with this id was shown.
func (in *inbox) follow(id string) error {
	// A ticket opens one stream and is valid for 30 s, so every attempt needs its own.
	var ticket struct{ Ticket, EventsURL string }
	repeat("POST", "/api/ws/ticket", nil, nil, &ticket)
	query := url.Values{"ticket": {ticket.Ticket}, "since": {in.cursor}}
	answer, err := client.Get(ticket.EventsURL + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusedWith(answer)
	}
	for lines := bufio.NewReader(answer.Body); !in.shown[id]; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		// Each event is one line of JSON. Its id is the cursor, and stands in it too; comments keep the stream open.
		if !strings.HasPrefix(line, "data: ") {
			continue
		}
		var event struct {
			Type, Code, Message, Cursor string
			Notification                notification
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &event); err != nil {
			return err
		}
		switch event.Type {
		case "notification":
			in.show(event.Notification)
			in.advance(event.Cursor)
		case "changed":
			in.advance(event.Cursor)
		case "fetch", "resync":
			in.sync()
		case "error":
			return fmt.Errorf("%s: %s", event.Code, event.Message)
		case "reconnect":
			return nil
		}
	}
	return nil
}

func (in *inbox) show(each notification) {
	if !in.shown[each.ID] && each.ReadAt == nil {
		fmt.Printf("%s (%s, %s)\n", each.Title, each.Type, each.ID)
	}
	in.shown[each.ID] = true
}

// advance acknowledges what was shown: it is not offered again.
func (in *inbox) advance(cursor string) {
	if cursor != in.cursor {
		in.cursor = cursor
		repeat("POST", "/api/ack", map[string]string{"cursor": cursor}, nil, nil)
	}
}

// repeat calls Carillon, in up to six attempts, and ends the program if it is refused, but for an expired cursor. Without an
// answer the outcome is unknown; all that is called here may be repeated.
func repeat(method, path string, body any, header http.Header, into any) (status int) {
	for attempt := 1; ; attempt++ {
		err := call(method, path, body, header, into)
		if err == nil {
			return http.StatusOK
		}
		wait := jitter(attempt)
		var refusal *refused
		isRefused := errors.As(err, &refusal)
		if isRefused && refusal.status == http.StatusGone {
			return refusal.status
		}
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

func call(method, path string, body any, header http.Header, into any) error {
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
	for name, values := range header {
		request.Header[name] = values
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

func randomKey() string { return fmt.Sprintf("%x", randomBytes(16)) }

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
