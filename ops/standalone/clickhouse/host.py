# Serves ClickHouse out of the chdb-core wheel (26.9 or newer: older ones end
# when a client sends garbage). argv: the wheel's folder, the data folder, which
# holds config.xml; the engine reads that from its working directory. Serves
# until stdin ends, so that the engine never outlives its parent.
import importlib.util
import os
import sys
import threading
import time

wheel, data = sys.argv[1:3]
os.chdir(data)

# The engine runs as long as its last query does, and that one reads this pipe.
fifo = os.path.join(data, "hold.fifo")
if os.path.exists(fifo):
    os.unlink(fifo)
os.mkfifo(fifo, 0o600)
hold = os.open(fifo, os.O_RDWR)


def watch():
    while os.read(0, 4096):
        pass
    os.close(hold)
    # If the query has not opened the pipe yet it waits for a writer.
    for _ in range(300):
        time.sleep(0.1)
        os.close(os.open(fifo, os.O_RDWR))
    os._exit(1)


threading.Thread(target=watch, daemon=True).start()

spec = importlib.util.spec_from_file_location(
    "_chdb", os.path.join(wheel, "chdb", "_chdb.abi3.so"))
engine = importlib.util.module_from_spec(spec)
spec.loader.exec_module(engine)
end = engine.query(
    "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "
    "SELECT count() FROM file('hold.fifo', 'LineAsString', 'l String')",
    "CSV", path=data)
if end.has_error():
    why = end.error_message().split(", Stack trace")[0]
    sys.exit("engine: " + " ".join(why.split()))
