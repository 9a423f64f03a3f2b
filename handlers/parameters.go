package handlers

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"freshet/event"
	"freshet/nearest"

	"github.com/gin-gonic/gin"
)

// parameter describes a query parameter, which means the same on every route that has it.
type parameter struct {
	repeats   bool                    // it may occur more than once
	mayBeNone bool                    // it may be empty, which means the same as leaving it out
	isFlag    bool                    // it has no value
	public    func(value string) bool // whether an access log may have the value; nil: never, because it is a credential
}

var parameters = map[string]parameter{
	"topic": {repeats: true, public: anyText},
	// Clients send an empty ID before their first event.
	"last_event_id": {mayBeNone: true, public: isID}, "lastEventId": {mayBeNone: true, public: isID},
	"lastEventID": {mayBeNone: true, public: isID}, "Last-Event-ID": {mayBeNone: true, public: isID},
	"since":   {public: isSince},
	"cursor":  {mayBeNone: true, public: isID}, // empty before the first page
	"limit":   {public: isNumber},
	"node":    {public: anyText},
	"type":    {public: anyText},
	"ttl":     {public: isTTL},
	"join":    {public: anyText},
	"merge":   {public: anyText},
	"line":    {public: isNumber},
	"end":     {isFlag: true, public: anyText},
	"subject": {public: anyText},
	"ticket":  {},
}

// lastEventIDs are the names of the last event ID, in order of precedence: the names that polyfills add when they reconnect come before
// the name that a page puts into its URL.
var lastEventIDs = []string{"lastEventId", "lastEventID", "Last-Event-ID", "last_event_id"}

// ignored are parameters that clients add by themselves to every URL. An EventSource stops for good at an error, so these are none.
var ignored = map[string]bool{
	"datastar":              true, // Datastar's @get sends the page's signals
	"_":                     true, // jQuery's cache: false sends the time
	"r":                     true, // older versions of Yaffle's EventSource polyfill send a random number
	"evs_preamble":          true, // amvtek's EventSource polyfill asks for padding
	"org.htmx.cache-buster": true, // htmx with getCacheBusterParam sends the ID of the element
}

func anyText(string) bool       { return true }
func isNumber(text string) bool { _, err := strconv.Atoi(text); return err == nil }
func isTTL(text string) bool    { _, err := event.ParseTTL(text); return err == nil }
func isID(text string) bool     { _, err := event.ParseID(text); return err == nil }
func isSince(text string) bool  { _, err := event.ParseSince(text, time.Now()); return err == nil }

// PublicParameters returns the names of the routes' parameters whose values an access log may have, each with a function that reports
// whether a value is one. A log never has the others: they are credentials, or the handlers do not know them.
func PublicParameters() map[string]func(value string) bool {
	public := map[string]func(string) bool{}
	for name, p := range parameters {
		if p.public != nil {
			public[name] = p.public
		}
	}
	return public
}

// takes returns a handler that refuses requests with other query parameters than the named ones: a misspelt topic must not select all
// topics.
func takes(names ...string) gin.HandlerFunc {
	return func(c *gin.Context) {
		if query := c.Request.URL.RawQuery; query != "" {
			if err := checkQuery(query, names); err != nil {
				fail(c, err)
			}
		}
	}
}

// checkQuery checks the names of a query's parameters and how often they occur. The routes check the values.
func checkQuery(query string, names []string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("%w: the query is not readable; write %% as %%25, ; as %%3B and & in a value as %%26", errRequest)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p := parameters[name]
		switch {
		case ignored[name]:
		case !slices.Contains(names, name):
			return unknownParameter(name, names)
		case len(values[name]) > 1 && !p.repeats:
			return fmt.Errorf("%w: parameter %q occurs %d times; send it once", errRequest, name, len(values[name]))
		case p.isFlag && values.Get(name) != "":
			return fmt.Errorf("%w: parameter %q has no value; write ?%s, or leave it out", errRequest, name, name)
		case slices.Contains(values[name], "") && !p.mayBeNone && !p.isFlag:
			return fmt.Errorf("%w: parameter %q is empty; give it a value, or leave it out", errRequest, name)
		}
	}
	return nil
}

func unknownParameter(name string, names []string) error {
	hint := "this route has no parameters"
	if near, ok := nearest.Word(name, names); ok {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if len(names) > 0 {
		known := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name != "last_event_id" && slices.Contains(lastEventIDs, name) })
		hint = "this route has " + strings.Join(known, ", ")
	}
	const most = 40
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Errorf("%w %q; %s", errUnknownParameter, name, hint)
}

// parseLimit parses the parameter limit.
func parseLimit(c *gin.Context, byDefault, most int) (int, error) {
	text, sent := c.GetQuery("limit")
	if !sent {
		return byDefault, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > most {
		return 0, &event.InvalidError{Field: "limit", Reason: fmt.Sprintf("must be from 1 to %d", most)}
	}
	return limit, nil
}
