// Package kafkatest runs real Apache Kafka brokers for one test.
//
// Most tests use kfake, which starts in milliseconds and lives in virtual time. This
// package is for what kfake cannot show: replicas, lost leaders, rolling restarts, the
// log cleaner, ACLs. Each cluster is new, lies in its test's folder and ends with its test.
package kafkatest

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

//go:embed broker.properties
var properties string

// Ports lie below the kernel's ephemeral range: no outgoing connection can take the port of
// a broker that is down.
const portLow, portHigh = 19000, 20000

// Cluster is a set of brokers, each also a controller. Its methods fail the test themselves,
// so they belong to the test's own goroutine.
type Cluster struct {
	t     testing.TB
	home  string // the installed broker
	nodes []node
	admin func() *kadm.Client
}

type node struct {
	dir                    string        // dir.log and dir.properties lie beside dir
	addr, guarded, control string        // addresses
	proc                   *os.Process   // nil while down
	gone                   chan struct{} // closed when proc has ended
}

// Start returns when n brokers serve. Props are further lines of broker.properties; of two
// with one name the last counts.
func Start(t testing.TB, n int, props ...string) *Cluster {
	t.Helper()
	c, dir := &Cluster{t: t, home: home(t)}, t.TempDir()
	c.admin = sync.OnceValue(c.newAdmin)
	boot, err := os.ReadFile(c.home + "/bootstrap.checkpoint")
	if err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	voters, rf := "", min(n, 3)
	for i, addrs := 0, freeAddrs(3*n); i < n; i++ {
		c.nodes = append(c.nodes, node{dir: fmt.Sprint(dir, "/", i), addr: addrs[3*i], control: addrs[3*i+1], guarded: addrs[3*i+2]})
		voters += fmt.Sprintf(",%d@%s", i, addrs[3*i+1])
	}
	vars := map[string]string{"voters": voters[1:], "rf": fmt.Sprint(rf), "isr": fmt.Sprint((rf + 1) / 2)}
	cluster := rand.Text()[:22] // 16 bytes of base64; new, lest a broker join another test's cluster
	t.Cleanup(c.end)
	for i, n := range c.nodes {
		vars["id"], vars["addr"], vars["control"], vars["guarded"], vars["data"] = fmt.Sprint(i), n.addr, n.control, n.guarded, n.dir
		conf := os.Expand(properties, func(k string) string { return vars[k] }) + strings.Join(props, "\n")
		// These two files are what "kafka-storage format" writes, at a JVM start for each broker.
		meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", cluster, i, rand.Text()[:22])
		if err := errors.Join(os.Mkdir(n.dir, 0o755),
			os.WriteFile(n.dir+"/bootstrap.checkpoint", boot, 0o644),
			os.WriteFile(n.dir+"/meta.properties", []byte(meta), 0o644),
			os.WriteFile(n.dir+".properties", []byte(conf), 0o644)); err != nil {
			t.Fatalf("kafkatest: format broker %d: %v", i, err)
		}
		c.launch(i)
	}
	c.WaitReady()
	return c
}

// Seeds lists the address of every broker, up or down.
func (c *Cluster) Seeds() (addrs []string) {
	for i := range c.nodes { // no copies: others may be ending a broker
		addrs = append(addrs, c.nodes[i].addr)
	}
	return addrs
}

// Guarded lists the addresses where one must log in, by SCRAM-SHA-512.
func (c *Cluster) Guarded() (addrs []string) {
	for i := range c.nodes {
		addrs = append(addrs, c.nodes[i].guarded)
	}
	return addrs
}

// Kill ends broker i as a crash does.
func (c *Cluster) Kill(i int) { c.t.Helper(); c.stop(i, syscall.SIGKILL) }

// Stop ends broker i, and lets it hand over its leaderships first. The last of a quorum
// would wait for ever.
func (c *Cluster) Stop(i int) { c.t.Helper(); c.stop(i, syscall.SIGTERM) }

// Launch brings broker i back on its address and data.
func (c *Cluster) Launch(i int) { c.t.Helper(); c.launch(i) }

func (c *Cluster) launch(i int) {
	c.t.Helper()
	n := &c.nodes[i]
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		c.t.Fatalf("kafkatest: log of broker %d: %v", i, err)
	}
	defer log.Close() // the broker holds its own
	cmd := exec.Command("java", "@"+c.home+"/java.args", "kafka.Kafka", n.dir+".properties")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = Mortal()
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("kafkatest: start broker %d: %v", i, err)
	}
	n.proc, n.gone = cmd.Process, make(chan struct{})
	go func(gone chan struct{}) { cmd.Wait(); close(gone) }(n.gone)
}

func (c *Cluster) stop(i int, sig syscall.Signal) {
	c.t.Helper()
	n := &c.nodes[i]
	if n.proc == nil {
		c.t.Fatalf("kafkatest: broker %d is down already", i)
	}
	if n.proc.Signal(sig) != nil {
		c.t.Errorf("kafkatest: broker %d ended by itself", i)
	}
	<-n.gone
	n.proc = nil
}

// end kills: the data is thrown away, and the last brokers of a quorum cannot leave in order.
func (c *Cluster) end() {
	for i, n := range c.nodes {
		if n.proc != nil {
			c.stop(i, syscall.SIGKILL)
		}
		if log, err := os.ReadFile(n.dir + ".log"); err == nil && c.t.Failed() {
			c.t.Logf("broker %d complains, last:\n%s", i, complaints(string(log)))
		}
	}
}

// complaints are the last errors in a broker's log. Warnings are the weather of every
// start and stop.
func complaints(log string) string {
	var said strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "ERROR") || strings.Contains(line, "Exception") || strings.Contains(line, "OutOfMemory") {
			said.WriteString(line)
		}
	}
	return said.String()[max(0, said.Len()-2<<10):]
}

// freeAddrs holds what it found until it has all, so that they differ.
func freeAddrs(n int) (addrs []string) {
	for len(addrs) < n {
		addr := fmt.Sprintf("127.0.0.1:%d", portLow+mathrand.IntN(portHigh-portLow))
		if l, err := net.Listen("tcp", addr); err == nil {
			defer l.Close()
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
