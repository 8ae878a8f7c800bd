package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/libs/watch"
	"github.com/holdfast-backup/holdfast/ops/standalone/broker"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

func (a *app) runCommand() *cobra.Command {
	var names []string
	c := &cobra.Command{
		Use:   "run --config FILE [--stages NAME,...]",
		Short: "Some stages of a region, against its Kafka, targets and ledger",
		Long: "Runs stages until it is told to stop. Stages: " + strings.Join(house.Names(), ", ") + ", all;\n" +
			"and broker alone, which is the broker of the one-machine mode at kafka.brokers[0].",
		Example: "  holdfast run --config /etc/holdfast.yaml --stages chunker,deduper\n" +
			"  holdfast run --config /etc/holdfast.yaml --stages broker",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := conf.Load(a.configPath())
			if err != nil {
				return usage(err)
			}
			if len(cfg.Kafka.Brokers) == 0 {
				return usage(cfg.Find("kafka.brokers", "none is configured; run needs a Kafka"))
			}
			log := watch.Logger(os.Stderr, slog.LevelInfo)
			if len(names) == 1 && names[0] == "broker" {
				return a.runBroker(c.Context(), cfg, log)
			}
			services, err := house.Named(names)
			if err != nil {
				return usage(err)
			}
			if cfg.Ledger.Addr == "" && len(services) == len(house.Catalogue) {
				a.say("no ledger is configured: blind; backups and restores do not need it")
				services = house.Without(services, "recorder")
			}
			kafka, err := house.Kafka(cfg.Kafka)
			if err != nil {
				return err
			}
			parts := house.NewParts(c.Context(), cfg, log)
			defer parts.Close()
			metrics, health := watch.NewMetrics(), new(watch.Health)
			at, stop, err := house.Listen(cfg.Metrics.Listen, metrics, health, log)
			if err != nil {
				return err
			}
			defer stop()
			if at != "" {
				a.say("metrics at http://%s/metrics", at)
			}
			return house.Run(c.Context(), parts, services, kafka, metrics, health)
		},
	}
	c.Flags().StringSliceVar(&names, "stages", []string{"all"}, "which, by name")
	return c
}

// runBroker is the one-machine broker as a process of its own.
func (a *app) runBroker(ctx context.Context, c *conf.Config, log *slog.Logger) error {
	host, port, err := net.SplitHostPort(c.Kafka.Brokers[0])
	if err != nil {
		return fmt.Errorf("kafka.brokers[0]: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil || host != "127.0.0.1" && host != "localhost" {
		return fmt.Errorf("kafka.brokers[0] is %s: the one-machine broker listens on loopback only", c.Kafka.Brokers[0])
	}
	if c.Data == "" {
		return errors.New("data: no folder is configured")
	}
	b, err := broker.Start(broker.Options{Dir: filepath.Join(c.Data, "kafka"), Port: n, Log: log})
	if err != nil {
		return err
	}
	defer b.Close()
	cl, err := client.Open(c.Region, stage.Connect(b.Addr())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := cl.Ensure(ctx, client.OneMachine); err != nil {
		return err
	}
	if _, err := b.Roll(ctx, cl, c.Region, filepath.Join(c.Data, "kafka", "rolls")); err != nil {
		return err
	}
	a.say("broker at %s", b.Addr())
	<-ctx.Done()
	return nil
}
