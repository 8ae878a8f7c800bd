package s3test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The keys of every test server, which have all rights.
const (
	AccessKey = "holdfast"
	SecretKey = "holdfast-secret-1"
	// Bucket is there from the start.
	Bucket = "vault"
)

// startMax is far above the 150 ms that a start takes on an idle machine.
const startMax = time.Minute

// Server is one process with a folder and an address of its own.
type Server struct {
	URL       string
	AccessKey string // a file
	SecretKey string // a file
	Dir       string // buckets are folders of Data

	t    testing.TB
	port string
	args []string
	cmd  *exec.Cmd
}

// Start runs a server in a folder, made if it is not there, until the test ends.
// More arguments are versitygw's.
func Start(t testing.TB, dir string, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: dir, args: args}
	for _, d := range []string{s.Data() + "/" + Bucket, dir + "/versions", dir + "/iam"} {
		s.must(os.MkdirAll(d, 0o755))
	}
	s.AccessKey, s.SecretKey = s.secret("access", AccessKey), s.secret("secret", SecretKey)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	s.port = l.Addr().String()
	s.must(l.Close())
	s.URL = "http://" + s.port
	s.Again()
	t.Cleanup(s.Kill)
	return s
}

// Data holds a folder for each bucket.
func (s *Server) Data() string { return filepath.Join(s.Dir, "data") }

func (s *Server) secret(name, word string) string {
	path := filepath.Join(s.Dir, name)
	s.must(os.WriteFile(path, []byte(word+"\n"), 0o600))
	return path
}

// Again starts a server that was killed, with what it had, at its address.
func (s *Server) Again() {
	s.t.Helper()
	args := append([]string{"--port", s.port, "--access", AccessKey, "--secret", SecretKey, "--iam-dir", s.Dir + "/iam", "--iam-cache-disable",
		"--quiet", "--keep-alive", "--health", "/healthz"}, s.args...)
	s.cmd = exec.Command(Binary(s.t), append(args, "posix", "--versioning-dir", s.Dir+"/versions", s.Data())...)
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	s.must(err)
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.must(s.cmd.Start())
	for end := time.Now().Add(startMax); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(s.URL + "/healthz")
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(end) {
			b, _ := os.ReadFile(log.Name())
			s.t.Fatalf("the S3 server does not start: %v: %s", err, b)
		}
	}
}

// Kill ends it as a loss of power would, but for what the kernel has.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait() // that it was killed is no news
}

// Pause stops it where it is, with its connections open, until the returned
// function is called.
func (s *Server) Pause() (resume func()) {
	s.t.Helper()
	s.must(s.cmd.Process.Signal(syscall.SIGSTOP))
	return func() { s.must(s.cmd.Process.Signal(syscall.SIGCONT)) }
}

// CPU is how much of it the server has used since it was last started; 0 where no
// /proc tells.
func (s *Server) CPU() time.Duration {
	const tick = 10 * time.Millisecond // of every Linux
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var user, kernel int64
	if len(fields) > 12 {
		fmt.Sscan(fields[11]+" "+fields[12], &user, &kernel)
	}
	return time.Duration(user+kernel) * tick
}

// Admin runs versitygw's admin command, such as create-user.
func (s *Server) Admin(args ...string) {
	s.t.Helper()
	out, err := exec.Command(Binary(s.t), append([]string{"admin", "-a", AccessKey, "-s", SecretKey, "--er", s.URL}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("versitygw admin %v: %v: %s", args, err, out)
	}
}

// Tmpfs mounts a small file system for a server to fill. Without the right to
// mount, the test is skipped.
func Tmpfs(t testing.TB, bytes int64) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", bytes)); err != nil {
		t.Skip("no right to mount: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
