package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// configPath is the file that the flags name.
func (a *app) configPath() string {
	if a.config != "" {
		return a.config
	}
	return filepath.Join(a.data, "holdfast.yaml")
}

// connect opens Kafka: that of the configuration, else of the one-machine mode
// that runs on the data folder.
func (a *app) connect(ctx context.Context) (*client.Client, error) {
	region, brokers := "", []string(nil)
	var reach stage.Reach
	if c, err := conf.Load(a.configPath()); err == nil {
		region, brokers = c.Home(), c.Kafka.Brokers
		if reach, err = house.Kafka(c.Kafka); err != nil {
			return nil, err
		}
	} else if a.config != "" || !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if len(brokers) == 0 {
		r, err := house.ReadRunFile(a.data)
		if errors.Is(err, house.ErrNotRunning) {
			return nil, fmt.Errorf("%w; start it with: holdfast up --data %s --images DIR", err, a.data)
		}
		if err != nil {
			return nil, err
		}
		region, brokers, reach = r.Region, r.Kafka, stage.Connect(r.Kafka...)
	}
	cl, err := client.Open(region, reach...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := cl.Reach(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("%w at %v: is it running?", err, brokers)
	}
	return cl, nil
}

// eventSource is who we are as the sender of events: a person on a computer.
func eventSource() string {
	who, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return "/cli/" + host + "/" + who
}

// keyed is the source of requests whose ids people choose: one for everybody, so that
// a key is the same job from wherever it is sent.
const keyed = "/cli/key"

// sender is the source and the id of a request. Both together are its job, so a key
// that comes again is the same request again; without one each is another.
func sender(key string) (source, id string) {
	if key != "" {
		return keyed, key
	}
	return eventSource(), uuid.NewString()
}

// event makes an order of ours.
func event(source, id string, data schemas.Public, key string) (schemas.Event, error) {
	e, err := schemas.NewEvent(id, source, time.Now().UTC(), "", data)
	e.Key = key
	return e, err
}
