package nats

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"freshet/app/apptest"
	"freshet/client"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Clients of NATS and of MQTT publish what a reader of Freshet gets, and a sensor publishes to no other topic.
func TestNATSAndMQTT(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Setenv("NATS_PASSWORD", "the-password-of-freshet")
	t.Setenv("SENSORS_PASSWORD", "the-password-of-sensors")
	options, err := server.ProcessConfigFile("nats.conf")
	must(t, err)
	broker := apptest.FreeAddress(t)
	_, port, err := net.SplitHostPort(broker)
	must(t, err)
	options.MQTT.Port, err = strconv.Atoi(port)
	must(t, err)
	options.Port = server.RANDOM_PORT
	options.StoreDir, options.NoSigs = t.TempDir(), true
	s, err := server.NewServer(options)
	must(t, err)
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS is not ready")
	}
	url := strings.Replace(s.ClientURL(), "//", "//freshet:the-password-of-freshet@", 1)
	freshet := apptest.Start(t, t.TempDir(), "", "--nats", url)

	nc, err := nats.Connect(url)
	must(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	must(t, err)
	for range 2 {
		must(t, overNATS(ctx, js, "orders.eu", "paid", `{"order":17}`, "order-17"))
	}

	sensor := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker).SetClientID("kitchen").SetUsername("sensors").SetPassword("the-password-of-sensors"))
	connected := sensor.Connect()
	connected.Wait()
	must(t, connected.Error())
	t.Cleanup(func() { sensor.Disconnect(0) })
	must(t, overMQTT(sensor, "kitchen", "21.5"))
	sensor.Publish("event/orders/eu", 0, false, "forged").Wait()
	must(t, overMQTT(sensor, "hall", "19"))

	_, err = freshet.Publish(ctx, "done", "", "", "")
	must(t, err)
	c, err := client.New(client.Config{URL: freshet.URL})
	must(t, err)
	var got []string
	for e, err := range c.Subscribe(ctx, client.Subscription{Topics: []string{">"}, Since: "all"}) {
		must(t, err)
		if e.Topic == "done" {
			break
		}
		got = append(got, e.Topic+" "+e.Type+" "+e.Data)
	}
	const want = `orders.eu paid {"order":17}, sensors.kitchen sensors.kitchen 21.5, sensors.hall sensors.hall 19`
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("the events are %s", text)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
