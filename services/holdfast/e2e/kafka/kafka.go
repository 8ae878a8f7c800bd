// Package kafka holds the tests of a region on real Apache Kafka brokers: every
// stage is processes of its own, and all of them, brokers too, are killed and
// restarted while machines are backed up.
package kafka
