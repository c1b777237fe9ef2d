/** A process that runs a nats-server in the folder given and then only waits, to be killed by a test. */
import { systemClock } from "../../cluster/src/system/clock.ts";
import { startNatsServer } from "../../cluster/src/bus/nats-server.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { natsBinary } from "./nats.ts";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: nats-parent.ts <folder>");
const server = await startNatsServer({
  binary: await natsBinary(),
  folder,
  port: 0,
  coordinator: createNodeKeys(),
  nodes: [],
  log: silentLog,
  clock: systemClock,
});
process.stdout.write(`${JSON.stringify({ pid: server.pid, url: server.url })}\n`);
