/** A process that runs a nats-server in the folder given and then only waits, to be killed by a test. */
import { startNatsServer } from "../../cluster/src/bus/nats-server.ts";
import { natsIn } from "./nats.ts";

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: nats-parent.ts <folder>");
const server = await startNatsServer(await natsIn(folder));
process.stdout.write(`${JSON.stringify({ pid: server.pid, url: server.url })}\n`);
