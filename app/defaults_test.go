package app_test

import (
	"testing"
	"time"

	"freshet/config"
	"freshet/eventlog"
	"freshet/handlers"
	"freshet/hub"
)

// A zero value in a part's Config means what the server has without flags.
func TestDefaultsOfThePartsAreThoseOfTheServer(t *testing.T) {
	c := config.Default()
	for name, values := range map[string][2]any{
		"retain-age":                  {c.RetainAge, eventlog.DefaultRetainAge},
		"retain-bytes":                {int64(c.RetainBytes), int64(eventlog.DefaultRetainBytes)},
		"retain-per-topic":            {c.RetainPerTopic, 0},
		"sync":                        {time.Duration(c.Sync), time.Duration(0)},
		"counter-interval":            {c.CounterInterval, handlers.DefaultCounterInterval},
		"heartbeat":                   {c.Heartbeat, handlers.DefaultHeartbeat},
		"retry":                       {c.Retry, config.Retry{Min: handlers.DefaultLeastRetry, Max: handlers.DefaultMostRetry}},
		"park":                        {c.Park, "on"},
		"window-bytes":                {int64(c.WindowBytes), int64(hub.DefaultWindowBytes)},
		"max-replays":                 {c.MaxReplays, hub.DefaultReplays},
		"max-connections":             {c.MaxConnections, handlers.DefaultMaxConnections},
		"max-connections-per-address": {c.MaxConnectionsPerAddress, handlers.DefaultMaxConnectionsPerAddress},
		"max-topics":                  {c.MaxTopics, handlers.DefaultMaxTopics},
		"max-body":                    {int64(c.MaxBody), int64(handlers.DefaultMaxBody)},
		"publish-rate":                {c.PublishRate, 0},
	} {
		if values[0] != values[1] {
			t.Errorf("--%s is %v by default, and the package has %v", name, values[0], values[1])
		}
	}
}
