package clickhouse

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// User of the server. Reader: SELECT on the ledger and on what says how the
// server does, within limits. Otherwise all rights on the ledger, and no others.
type User struct {
	Name     string
	Password string
	Reader   bool
}

// Hash is what the server keeps of the password.
func (u User) Hash() string { return fmt.Sprintf("%x", sha256.Sum256([]byte(u.Password))) }

const (
	// readerSeconds ends a reader's query: a scan of 100M places takes 2.4 s.
	readerSeconds = 120
	// readerShare is the divisor of MaxMemory for all queries of the reader
	// together, so that a bad question does not stop the inserts.
	readerShare = 2
)

// Two pools of two threads: more merges at once cost memory and win nothing for
// one insert a second. Statistics of columns, which newer servers make at each merge,
// help no question of ours; older ones do not know the setting.
var configXML = page(`<clickhouse>
  <log-level>warning</log-level>
  <logger><level>warning</level><log>{{.Dir}}/engine.log</log><errorlog>{{.Dir}}/engine.err.log</errorlog><size>20M</size><count>2</count></logger>
  <path>{{.Dir}}/</path>
  <tmp_path>{{.Dir}}/tmp/</tmp_path>
  <user_files_path>{{.Dir}}/</user_files_path>
  <users_config>{{.Dir}}/users.xml</users_config>
  <user_directories><users_xml><path>{{.Dir}}/users.xml</path></users_xml></user_directories>
  <listen_host>{{.Host}}</listen_host>
  <tcp_port>{{.TCPPort}}</tcp_port>
  <http_port>{{.HTTPPort}}</http_port>
  <max_server_memory_usage>{{.MaxMemory}}</max_server_memory_usage>
  <mark_cache_size>33554432</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <shutdown_wait_unfinished>1</shutdown_wait_unfinished>
  <max_connections>256</max_connections>
  <max_concurrent_queries>64</max_concurrent_queries>
  <merge_tree>
{{- if .Boot}}
    <auto_statistics_types></auto_statistics_types>
{{- end}}
    <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
  <query_log>
    <database>system</database><table>query_log</table>
    <flush_interval_milliseconds>7500</flush_interval_milliseconds>
    <ttl>event_date + INTERVAL 7 DAY DELETE</ttl>
  </query_log>
</clickhouse>
`)

// The wheel's own session logs in as "default" from loopback, without a
// password. Its three queries at the start use up the quota, so that a client
// has nothing left as "default" but a SELECT of constants.
var usersXML = page(`<clickhouse>
  <profiles>
    <default><log_queries>1</log_queries></default>
    <writer><log_queries>0</log_queries></writer>
    <reader>
      <readonly>2</readonly>
      <max_execution_time>{{.ReaderSeconds}}</max_execution_time>
      <max_memory_usage_for_user>{{.ReaderMemory}}</max_memory_usage_for_user>
      <max_threads>2</max_threads>
      <constraints>
        <max_execution_time><min>1</min><max>{{.ReaderSeconds}}</max></max_execution_time>
        <max_memory_usage_for_user><const/></max_memory_usage_for_user>
        <readonly><const/></readonly>
      </constraints>
    </reader>
  </profiles>
  <quotas><default/><boot><interval><duration>315360000</duration><queries>3</queries></interval></boot></quotas>
  <users>
{{- if .Boot}}
    <default>
      <password/><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>boot</quota>
      <grants><query>GRANT SYSTEM LISTEN, FILE, CREATE TEMPORARY TABLE ON *.*</query></grants>
    </default>
{{- end}}
{{- range .Users}}
    <{{.Name}}>
      <password_sha256_hex>{{.Hash}}</password_sha256_hex>
      <networks><ip>::/0</ip></networks><quota>default</quota>
{{- if .Reader}}
      <profile>reader</profile>
      <grants>
        <query>GRANT SELECT ON ledger.*</query>
        <query>GRANT SELECT ON system.*</query>
      </grants>
{{- else}}
      <profile>writer</profile>
      <grants>
        <query>GRANT ALL ON ledger.*</query>
        <query>GRANT TABLE ENGINE ON MergeTree</query>
        <query>GRANT TABLE ENGINE ON AggregatingMergeTree</query>
        <query>GRANT TABLE ENGINE ON ReplacingMergeTree</query>
        <query>GRANT SELECT ON system.*</query>
      </grants>
{{- end}}
    </{{.Name}}>
{{- end}}
  </users>
</clickhouse>
`)

func page(text string) *template.Template {
	return template.Must(template.New("").Parse(text))
}

// values fill the pages. All strings in it are safe in XML.
type values struct {
	Dir, Host         string
	HTTPPort, TCPPort int
	MaxMemory         int64
	ReaderSeconds     int
	ReaderMemory      int64
	Boot              bool
	Users             []User
}

// configure writes the files that the server reads at its start.
func configure(o Options, dir string, http, tcp int) error {
	v := values{Dir: escaped(dir), Host: escaped(o.Host), HTTPPort: http, TCPPort: tcp, MaxMemory: o.MaxMemory,
		ReaderSeconds: readerSeconds, ReaderMemory: o.MaxMemory / readerShare, Boot: o.Engine.binary == "", Users: o.Users}
	for name, text := range map[string]*template.Template{"config.xml": configXML, "users.xml": usersXML} {
		var b bytes.Buffer
		if err := text.Execute(&b, v); err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
		if err := writeWhole(filepath.Join(dir, name), b.Bytes()); err != nil {
			return fmt.Errorf("engine folder: %w", err)
		}
	}
	return keepSystem(dir)
}

// keepSystem gives the wheel a "system" database on disk: its own lies in
// memory, and a query_log of last time could not be opened again.
func keepSystem(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "metadata"), 0o700); err != nil {
		return fmt.Errorf("engine folder: %w", err)
	}
	name := filepath.Join(dir, "metadata", "system.sql")
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var u [16]byte
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	text := fmt.Sprintf("ATTACH DATABASE system\nUUID '%x-%x-%x-%x-%x'\nENGINE = Atomic\n", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	if err := writeWhole(name, []byte(text)); err != nil {
		return fmt.Errorf("engine folder: %w", err)
	}
	return nil
}

// writeWhole writes a file, or leaves the one that was there: half a "system" on a
// disk that was full would keep the engine from every later start.
func writeWhole(name string, b []byte) error {
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		_ = os.Remove(name + ".new") // it is in nobody's way
		return err
	}
	return os.Rename(name+".new", name)
}

func escaped(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a bytes.Buffer takes all
	return b.String()
}
