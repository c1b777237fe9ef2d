/** Chooses the port of a server that we start. Between the choice and the start another program may take it; then the start fails. */
import { createServer } from "node:net";
import { ClusterError } from "@openclaw-cluster/contract/errors";

/** `wanted`: exactly that one; 0: the former one or any; absent: the former one, the usual one, or any. */
export async function choosePort(host: string, wanted: number | undefined, former: number | undefined, usual: number): Promise<number> {
  if (wanted !== undefined && wanted !== 0) {
    if (await isFree(host, wanted)) return wanted;
    throw new ClusterError("port_taken", `port ${wanted} of ${host} is in use`);
  }
  for (const port of wanted === 0 ? [former] : [former, usual]) {
    if (port !== undefined && (await isFree(host, port))) return port;
  }
  return probePort(host, 0);
}

async function isFree(host: string, port: number): Promise<boolean> {
  try {
    return (await probePort(host, port)) === port;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw new ClusterError("config_invalid", `cannot listen at ${host}:${port}`, { cause: error });
  }
}

/** Listens for a moment; returns the port, chosen by the system for 0. */
function probePort(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen({ host, port, exclusive: true }, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : port));
    });
  });
}
