#!/bin/sh
# install.sh POM DIR: puts into DIR what kafkatest starts brokers from.
#   lib/                  the jars
#   bootstrap.checkpoint  the feature levels that "kafka-storage format" chose
#   broker.jsa            the classes a broker loads, parsed (a third less CPU at start)
#   java.args             how to run it; the archive serves only an equal class path
set -eu
export LC_ALL=C
pom=$1 dir=$2
rm -rf "$dir" && mkdir -p "$dir"
mvn -q -B -ntp -f "$pom" dependency:copy-dependencies -DoutputDirectory="$dir/lib"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cat >"$tmp/server.properties" <<END
process.roles=broker,controller
node.id=0
controller.quorum.voters=0@127.0.0.1:18999
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:18998,CONTROLLER://127.0.0.1:18999
log.dirs=$tmp/data
END
# For short lives: no second compiler, a simple collector, a small heap. A broker out of memory
# would otherwise hang rather than end.
cat >"$dir/java.args" <<END
-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError
-Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS
-cp $(echo "$dir"/lib/*.jar | tr ' ' :)
END
java "@$dir/java.args" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAQ -c "$tmp/server.properties" >"$tmp/log" 2>&1 ||
	{ cat "$tmp/log" >&2; exit 1; }

java "@$dir/java.args" -XX:ArchiveClassesAtExit="$dir/broker.jsa" \
	kafka.Kafka "$tmp/server.properties" >"$tmp/log" 2>&1 &
pid=$!
for _ in $(seq 600); do
	grep -q 'Kafka Server started' "$tmp/log" && break
	kill -0 "$pid" || { cat "$tmp/log" >&2; exit 1; }
	sleep 0.1
done
kill "$pid"
wait "$pid" || true
[ ! -s "$dir/broker.jsa" ] || echo "-XX:SharedArchiveFile=$dir/broker.jsa" >>"$dir/java.args"

# Last, because its presence says that the rest is here.
cp "$tmp/data/bootstrap.checkpoint" "$dir/"
