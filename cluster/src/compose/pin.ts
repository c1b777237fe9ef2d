/**
 * Which coordinator this node obeys: the one whose key stands in its folder since it joined. Another one that answers at the
 * same address is not obeyed, whatever it says.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { readSecret, writePrivateFile } from "../system/folders.ts";

const AGAIN = "join with a new code: on the coordinator `openclaw-cluster invite`";

/** `proven`: the answer came to whoever holds an administrator's token, so the first key is taken. Throws forbidden. */
export async function checkPin({ file, url }: { file: string; url: string }, key: string, { proven }: { proven: boolean }): Promise<void> {
  const pinned = await readSecret(file);
  if (pinned === key) return;
  if (pinned !== undefined)
    throw new ClusterError(
      "forbidden",
      `at ${url} answers a coordinator with another key than this machine has joined; if it was set up anew, ${AGAIN}`,
    );
  if (!proven) throw new ClusterError("forbidden", `this machine does not know its coordinator's key (${file}); ${AGAIN}`);
  await writePrivateFile(file, `${key}\n`);
}
