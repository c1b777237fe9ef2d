/** An etcd for the benchmark: members as a control node starts them, each with its disk synced, over TLS, and a daemon's settings for it. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { openTestMembers } from "../../tests/support/etcd-members.ts";

export interface EtcdUnderTest {
  /** For `store` in a coordinator's settings. */
  readonly settings: object;
  readonly pids: readonly number[];
  end(): Promise<void>;
}

const READY_MS_MAX = 60_000;

/** `folder`: where the files go that the settings name. */
export async function startEtcd(members: number, folder: string): Promise<EtcdUnderTest> {
  const all = await openTestMembers();
  try {
    await (await all.start("m1", { kind: "first" })).whenReady(READY_MS_MAX);
    for (let index = 2; index <= members; index++) await (await all.add(`m${index}`)).whenReady(READY_MS_MAX);
    const { authority, chain, key } = all.authority.etcd.certifyClient(Date.now());
    const files = { caFile: "etcd-ca.pem", certFile: "etcd-client.pem", keyFile: "etcd-client.key" };
    const texts = { caFile: authority, certFile: chain, keyFile: key };
    const named = Object.entries(files).map(([setting, name]) => [setting, path.join(folder, name)] as const);
    for (const [setting, file] of named) await writeFile(file, texts[setting as keyof typeof texts], { mode: 0o600 });
    const servers = [...all.servers.values()];
    return {
      settings: { kind: "etcd", endpoints: servers.map(({ clientUrl }) => clientUrl), ...Object.fromEntries(named) },
      pids: servers.map(({ pid }) => pid ?? Number.NaN),
      end: () => all.stop(),
    };
  } catch (error) {
    await all.stop();
    throw error;
  }
}
