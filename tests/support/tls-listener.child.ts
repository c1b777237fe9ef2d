/** A TLS listener in a host of its own (hosts.ts). Says its port; asked to end, it says what it has heard. */
import { readFileSync } from "node:fs";
import { openTlsListener } from "./tls-listener.ts";

const { host, certFile, keyFile } = JSON.parse(process.argv[2] as string) as { host: string; certFile: string; keyFile: string };
const listener = await openTlsListener({ host, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") });
async function tell(): Promise<void> {
  process.stdout.write(`${JSON.stringify({ connections: listener.connections, heard: await listener.heard() })}\n`);
  await listener.close();
}
process.once("SIGTERM", () => void tell());
process.stdout.write(`listening on ${listener.port}\n`);
