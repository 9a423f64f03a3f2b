// Package nats publishes events to Freshet through the NATS servers that keep its log.
package nats

import (
	"context"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// overNATS publishes an event, and returns when NATS has stored it. A repetition with the same key within two minutes is not stored.
func overNATS(ctx context.Context, js jetstream.JetStream, topic, typ, data, key string) error {
	m := nats.NewMsg("event." + topic)
	m.Header.Set("Event-Type", typ)
	m.Data = []byte(data)
	_, err := js.PublishMsg(ctx, m, jetstream.WithMsgID(key))
	return err
}

// overMQTT publishes an event to the topic sensors.ROOM.
func overMQTT(client mqtt.Client, room, data string) error {
	published := client.Publish("event/sensors/"+room, 1, false, data)
	published.Wait()
	return published.Error()
}
