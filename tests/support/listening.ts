/** Which ports the programs of a host listen on, and which docs/deployment.md says they do. */
import { readFile } from "node:fs/promises";
import { run } from "../../scripts/child.ts";
import type { Host } from "./hosts.ts";

export interface Listener {
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
  readonly program: string;
}

export interface DocumentedPort {
  readonly protocol: string;
  readonly port: number;
  /** `coordinator: HTTP API` */
  readonly who: string;
}

/** Of TCP those that listen, of UDP all: there whoever knows the port may send. */
export async function listenersOf({ inside }: Host): Promise<Listener[]> {
  const argv = [...inside, "ss", "-Hnltup"];
  const listed = await run(argv[0] as string, argv.slice(1)).output();
  return listed
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const [protocol = "", , , , local = "", , users = ""] = line.trim().split(/\s+/);
      const at = local.lastIndexOf(":");
      return {
        protocol,
        address: local.slice(0, at).replace(/^\[|\]$/g, ""),
        port: Number(local.slice(at + 1)),
        program: /"([^"]+)"/.exec(users)?.[1] ?? "?",
      };
    });
}

const DEPLOYMENT = new URL("../../docs/deployment.md", import.meta.url);

/** The table of the section Ports. */
export async function documentedPorts(): Promise<DocumentedPort[]> {
  const [, section = ""] = /^## Ports\n([\s\S]*?)^## /m.exec(await readFile(DEPLOYMENT, "utf8")) ?? [];
  return Array.from(section.matchAll(/^\| (\d+)\/(tcp|udp)[^|]*\|[^|]*\| ([^|]+?) \|/gm), ([, port, protocol, who]) => ({
    ...{ protocol: String(protocol), who: String(who) },
    port: Number(port),
  }));
}
