/**
 * The first meeting with a coordinator over TLS, by a machine that knows nothing of it but the pin in the join code.
 *
 * M1. Nothing is said to whoever answers before it has shown the pinned certificate; and that is no proof yet, since anybody can
 *     show a certificate. So it is only taken down here: the join itself goes over a connection of its own, to a server that
 *     this authority has certified, and to no other.
 */
import { connect } from "node:tls";
import { certificateFault, type Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { pinOf } from "../trust/authority.ts";

const MEET_MS = 5_000;
/** A server's own certificate, and what is above it. */
const CHAIN_MAX = 4;

/** Throws certificate_refused where another one is shown, coordinator_unreachable where none is. `file`: where it will be kept. */
export async function meet(url: string, pin: string, file: string): Promise<Trust> {
  const { hostname, host, port } = new URL(url);
  const socket = connect({
    host: hostname.replaceAll(/^\[|\]$/g, ""),
    port: Number(port) || 443,
    // Who it is is found out below.
    rejectUnauthorized: false,
    minVersion: "TLSv1.2",
  });
  try {
    await shakeHands(socket);
    let certificate = socket.getPeerX509Certificate();
    for (let n = 0; certificate !== undefined && n < CHAIN_MAX; n++, certificate = certificate.issuerCertificate)
      if (pinOf(certificate) === pin) return { authorities: [certificate.toString()], file };
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    throw (
      certificateFault(error, host, undefined) ??
      new ClusterError("coordinator_unreachable", `nobody speaks TLS at ${url} (${why})`, { cause: error })
    );
  } finally {
    socket.destroy();
  }
  throw new ClusterError(
    "certificate_refused",
    `whoever answers at ${url} is not the coordinator that made this code: its certificate is of another authority. Nothing was sent there`,
  );
}

function shakeHands(socket: ReturnType<typeof connect>): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(MEET_MS, () => socket.destroy(new Error(`no answer in ${MEET_MS} ms`)));
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the connection was closed")));
  });
}
