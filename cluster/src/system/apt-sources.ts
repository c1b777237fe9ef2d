/**
 * Reads the machine's own apt sources, to learn which mirror it uses and which key it trusts, and writes the same source
 * for the suite that has newer packages: `testing` in Debian, `devel` in Ubuntu. Both serve: the two Go programs need
 * only a C library of 2022.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export interface AptSource {
  readonly suite: string;
  /** In deb822 form, for a `.sources` file. */
  readonly text: string;
}

interface Entry {
  readonly uris: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** As it stands there: paths, or a key block with its continuation lines. */
  readonly signedBy: string | undefined;
}

const ETC_APT = "/etc/apt";
/** Names of a release by its role, which stand in place of its code name on some machines. */
const ROLES = ["stable", "oldstable", "testing", "unstable", "sid", "devel"];

export async function findAptSource(): Promise<AptSource> {
  const release = await readFile("/etc/os-release", "utf8");
  const parts = await readdir(join(ETC_APT, "sources.list.d")).catch(() => []);
  const files = ["sources.list", ...parts.map((name) => join("sources.list.d", name))];
  const texts = new Map<string, string>();
  for (const file of files.filter((name) => name.endsWith(".list") || name.endsWith(".sources"))) {
    texts.set(file, await readFile(join(ETC_APT, file), "utf8").catch(() => ""));
  }
  const source = newerSource(release, texts);
  if (source === undefined) throw new Error("the machine's apt sources name no mirror of its distribution");
  return source;
}

/** `osRelease` is the text of /etc/os-release, `files` those of the sources by their names. */
export function newerSource(osRelease: string, files: ReadonlyMap<string, string>): AptSource | undefined {
  const field = (name: string): string | undefined => new RegExp(`^${name}="?([a-z0-9 ]+)"?$`, "m").exec(osRelease)?.[1];
  const isUbuntu = `${field("ID")} ${field("ID_LIKE")}`.includes("ubuntu");
  // A derivative names what it stands on; its own code name belongs to its own packages.
  const codename = field("UBUNTU_CODENAME") ?? field("DEBIAN_CODENAME") ?? field("VERSION_CODENAME") ?? "";
  const entries = [...files].flatMap(([name, text]) => (name.endsWith(".sources") ? parseDeb822(text) : parseOneLine(text)));
  const entry = entries.find(
    ({ suites, components }) => components.includes("main") && suites.some((suite) => suite === codename || ROLES.includes(suite)),
  );
  if (entry === undefined) return undefined;
  const suite = isUbuntu ? "devel" : "testing";
  const lines = ["Types: deb", `URIs: ${entry.uris}`, `Suites: ${suite}`, `Components: ${isUbuntu ? "main universe" : "main"}`];
  if (entry.signedBy !== undefined) lines.push(`Signed-By: ${entry.signedBy}`);
  return { suite, text: `${lines.join("\n")}\n` };
}

function parseDeb822(text: string): Entry[] {
  const entries: Entry[] = [];
  const plain = text.replaceAll(/^#.*\n?/gm, "");
  for (const stanza of plain.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    for (const [, name, value] of stanza.matchAll(/^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm))
      fields.set(name?.toLowerCase() ?? "", value ?? "");
    const words = (name: string): string[] => (fields.get(name) ?? "").split(/\s+/).filter((word) => word !== "");
    if (!words("types").includes("deb") || /^(no|false|0)$/i.test(fields.get("enabled")?.trim() ?? "")) continue;
    entries.push({
      uris: words("uris").join(" "),
      suites: words("suites"),
      components: words("components"),
      signedBy: fields.get("signed-by"),
    });
  }
  return entries;
}

/** `deb [signed-by=/path arch=amd64] http://mirror/debian trixie main` */
function parseOneLine(text: string): Entry[] {
  const entries: Entry[] = [];
  for (const line of text.split("\n")) {
    const [, options, uri, suite, rest] = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line) ?? [];
    if (uri === undefined || suite === undefined) continue;
    const signedBy = /\bsigned-by=(\S+)/i.exec(options ?? "")?.[1]?.replaceAll(",", " ");
    entries.push({ uris: uri, suites: [suite], components: (rest ?? "").trim().split(/\s+/), signedBy });
  }
  return entries;
}
