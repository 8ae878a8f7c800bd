package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// told is a context that ends with the first SIGINT or SIGTERM. The second ends the
// process at once: whoever waits for a stop must not wait for it for ever, and what
// dies here is what kill -9 leaves, which every start expects.
func told(say io.Writer) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	go func() {
		for again := false; ; again = true {
			select {
			case <-over:
				return
			case s := <-signals:
				if again {
					fmt.Fprintf(say, "holdfast: told to stop twice (%s): ends at once; what was not done is done again at the next start\n", s)
					os.Exit(exitStopped)
				}
				cancel()
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		cancel()
	}
}
