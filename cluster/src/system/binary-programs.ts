/**
 * What the project knows of the servers that it runs but does not ship: which versions serve, what the official release
 * is called, and how a person installs it.
 *
 * P1. A hash in this table was published by somebody who built from that very archive; where none is known there is
 *     none here, and binary-release.ts falls back to upstream's own SHA256SUMS. No hash is ever guessed.
 */
export type BinaryName = "nats-server" | "etcd";

export interface Program {
  readonly name: BinaryName;
  readonly variable: string;
  readonly versionFlag: string;
  /** Older ones are refused. */
  readonly floor: string;
  /** Older ones work but have known faults: a warning. */
  readonly safeFrom: string;
  readonly release: Release;
  /** In Debian and what derives from it: the package, and the program's place in it. */
  readonly debian: { readonly packageName: string; readonly path: string };
  readonly install: Readonly<Record<"darwin" | "win32" | "linux", string>>;
}

export interface Release {
  readonly version: string;
  /** Where the archives and SHA256SUMS lie. */
  readonly url: string;
  /** Platforms for which upstream builds, as `<os>-<arch>.<ending>` in upstream's words, by Node's `<platform>-<arch>`. */
  readonly assets: Readonly<Record<string, string>>;
  /** SHA-256 of the archive, by Node's `<platform>-<arch>`. */
  readonly hashes: Readonly<Record<string, string>>;
}

const NATS_VERSION = "2.14.7";
const ETCD_VERSION = "3.5.30";

export const PROGRAMS: Readonly<Record<BinaryName, Program>> = {
  "nats-server": {
    name: "nats-server",
    variable: "OPENCLAW_CLUSTER_NATS_BIN",
    versionFlag: "-v",
    // 2.10 brought sync_interval, and the reload by request that nats-server.ts uses; Debian 13 has 2.10.27.
    floor: "2.10.0",
    // CVE-2026-58207 to 58254 are mended in 2.14.3.
    safeFrom: "2.14.3",
    release: {
      version: NATS_VERSION,
      url: `https://github.com/nats-io/nats-server/releases/download/v${NATS_VERSION}`,
      assets: {
        "linux-x64": "linux-amd64.tar.gz",
        "linux-arm64": "linux-arm64.tar.gz",
        "linux-arm": "linux-arm7.tar.gz",
        "darwin-x64": "darwin-amd64.tar.gz",
        "darwin-arm64": "darwin-arm64.tar.gz",
        "win32-x64": "windows-amd64.zip",
        "win32-arm64": "windows-arm64.zip",
      },
      // Linux: from the Dockerfile of upstream's official image, as docker-library/repo-info records it (2.14-alpine3.22).
      // Windows: the same image's Windows variant (x64) and ScoopInstaller/Main (both; they agree). macOS: none known.
      hashes: {
        "linux-x64": "e5c20b1cb2c0566b54c544312e91e011f9e130c5c80f16a14f4cf28ef30b8be2",
        "linux-arm64": "50e0258a1b7290f3fe2e4f17506b74a90ffb1dd77867ae3a402eb0c9e2b0d40f",
        "linux-arm": "820339a81ac3321a47ed1ebd2aabeebfb23544da13d6ec2c5fda115b5af8948d",
        "win32-x64": "ef6b4604cc84cd37192e6407ce1bb975f380a5293dccfdb126eaf11311c58ac6",
        "win32-arm64": "783903719e550953d2993620c2f932fbb00c25ca238a7a19b77a5855374d11c9",
      },
    },
    debian: { packageName: "nats-server", path: "usr/sbin/nats-server" },
    install: {
      darwin: "brew install nats-server",
      win32: "scoop install nats-server",
      linux: "sudo apt install nats-server (Debian 13, Ubuntu 24.04 or newer), or unpack a release of github.com/nats-io/nats-server",
    },
  },
  etcd: {
    name: "etcd",
    variable: "OPENCLAW_CLUSTER_ETCD_BIN",
    versionFlag: "--version",
    floor: "3.5.0",
    // 3.5.0 to 3.5.2 could corrupt data after a crash, says upstream's own notice.
    safeFrom: "3.5.3",
    release: {
      version: ETCD_VERSION,
      url: `https://github.com/etcd-io/etcd/releases/download/v${ETCD_VERSION}`,
      assets: {
        "linux-x64": "linux-amd64.tar.gz",
        "linux-arm64": "linux-arm64.tar.gz",
        "darwin-x64": "darwin-amd64.zip",
        "darwin-arm64": "darwin-arm64.zip",
        "win32-x64": "windows-amd64.zip",
      },
      hashes: {},
    },
    debian: { packageName: "etcd-server", path: "usr/bin/etcd" },
    install: {
      darwin: "brew install etcd",
      win32: "scoop install etcd",
      linux: "sudo apt install etcd-server (Debian 13, Ubuntu 24.04 or newer), or unpack a release of github.com/etcd-io/etcd",
    },
  },
};
