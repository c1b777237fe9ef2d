/** The process that carries out BullMQ's no-op jobs: the payload comes back, as with our echo. `node bullmq-worker.ts --port N --concurrency N`; ends on SIGTERM. */
import { parseArgs } from "node:util";
import { Worker } from "bullmq";
import { QUEUE, connectTo } from "./bullmq-subject.ts";

const { values } = parseArgs({ options: { port: { type: "string" }, concurrency: { type: "string", default: "64" } } });
const worker = new Worker<{ payload: string }, string>(QUEUE, async ({ data }) => data.payload, {
  connection: connectTo(Number(values.port)),
  concurrency: Number(values.concurrency),
});
await worker.waitUntilReady();
process.stdout.write("ready\n");
process.once("SIGTERM", () => {
  void worker.close(true).then(() => process.exit(0));
});
