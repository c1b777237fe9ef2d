/** A TLS listener in a host of its own (hosts.ts). Says its port; asked to end, it says what it has heard. */
import { readFileSync } from "node:fs";
import { openTlsListener } from "./tls-listener.ts";

const { host, certFile, keyFile } = JSON.parse(process.argv[2] as string) as { host: string; certFile: string; keyFile: string };
const listener = await openTlsListener({ host, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") });
process.once("SIGTERM", async () => {
  console.log(JSON.stringify({ connections: listener.connections, heard: await listener.heard() }));
  process.exit(0);
});
console.log(`listening on ${listener.port}`);
