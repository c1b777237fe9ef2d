/** Every secret of a stage, read from where it lies, and the files that may hold it. */
import { createPrivateKey } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fromSeed } from "@nats-io/nkeys";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { STRANGER } from "./secret-acts.ts";
import type { Secret } from "./secret-search.ts";
import { GATEWAY_TOKEN, IN_ENVIRONMENT, IN_PAYLOAD, REFUSED_GATEWAY_TOKEN, WRONG_CODE, WRONG_TOKEN, type Stage } from "./secret-stage.ts";

export interface Holders {
  readonly secrets: readonly Secret[];
  /** By their file: what its secrets' names begin with. */
  readonly files: ReadonlyMap<string, string>;
}

/** An API token's public beginning is in logs and database on purpose. */
const secretPart = (token: string): string => token.slice("occ_12345678_".length);

export async function findHolders({ cluster, studio, joined, folder, code }: Stage): Promise<Holders> {
  const secrets: Secret[] = [
    { name: "admin's token", value: secretPart(cluster.token) },
    { name: "wrong token", value: secretPart(WRONG_TOKEN) },
    { name: "join code", value: code },
    { name: "join code's secret", value: readJoinCode(code).secret },
    { name: "wrong join code", value: WRONG_CODE },
    { name: "Gateway's token", value: GATEWAY_TOKEN },
    { name: "refused token of the Gateway", value: REFUSED_GATEWAY_TOKEN },
    { name: "token in the environment", value: IN_ENVIRONMENT },
    { name: "secret that tasks name", value: IN_PAYLOAD },
  ];
  const files = new Map([
    [path.join(cluster.lead.home, "admin.token"), "admin's token"],
    [path.join(studio.home, "gateway.token"), "refused token of the Gateway"],
    [path.join(studio.home, "secrets.yaml"), "secret that tasks name"],
  ]);
  // Of one that was not let in, it lies where the coordinator's name is on it (compose/joining-key.ts).
  const seeds = await Promise.all([cluster.lead.home, studio.home, joined.home, path.join(folder, STRANGER)].map(seedIn));
  const [coordinators, copy] = ["", "backups/identity"].map((place) => path.join(cluster.lead.home, place, "coordinator.seed"));
  for (const file of [...seeds, coordinators as string]) {
    const name = `${path.basename(file)} of ${path.basename(path.dirname(file))}`;
    if (file === coordinators) files.set(copy as string, name);
    const seed = (await readFile(file, "utf8")).trim();
    files.set(file, name);
    secrets.push({ name, value: seed.slice(2) }, { name: `${name}, raw`, value: rawSeed(seed) });
  }
  for (const { home } of [studio, joined]) {
    const [file, name] = [path.join(home, "gateway-device.json"), `device key of ${path.basename(home)}`];
    const { privateKey } = JSON.parse(await readFile(file, "utf8")) as { privateKey: string };
    const raw = createPrivateKey(privateKey).export({ type: "pkcs8", format: "der" }).subarray(-32);
    files.set(file, name);
    secrets.push({ name, value: privateKey.replaceAll(/-----.*-----|\s/g, "") }, { name: `${name}, raw`, value: raw });
  }
  await addAuthorityKey(cluster.lead.home, secrets, files);
  return { secrets, files };
}

async function seedIn(home: string): Promise<string> {
  return path.join(home, (await readdir(home)).find((name) => name.startsWith("node.seed")) ?? "node.seed");
}

async function addAuthorityKey(home: string, secrets: Secret[], files: Map<string, string>): Promise<void> {
  const [file, copy] = ["data", "backups/identity"].map((place) => path.join(home, place, "authority.key")) as [string, string];
  const pem = await readFile(file, "utf8");
  // Before these every such key says the same, and behind them comes its public half.
  const begin = pem.split("\n")[1]?.slice(48) ?? "";
  const { d = "" } = createPrivateKey(pem).export({ format: "jwk" });
  secrets.push({ name: "authority's key", value: begin }, { name: "authority's key, raw", value: Buffer.from(d, "base64url") });
  files.set(file, "authority's key").set(copy, "authority's key");
}

/** The package's type does not tell of it. */
function rawSeed(seed: string): Uint8Array {
  return (fromSeed(new TextEncoder().encode(seed)) as unknown as { getRawSeed(): Uint8Array }).getRawSeed();
}
