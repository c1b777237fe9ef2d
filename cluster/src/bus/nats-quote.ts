/** Strings of nats-server's configuration language. */
import { ClusterError } from "@openclaw-cluster/contract/errors";

/** Its escapes are JSON's but for \u. */
export function quote(text: string): string {
  if (/[\u0000-\u001f]/.test(text))
    throw new ClusterError("config_invalid", `${JSON.stringify(text)} holds a control character, which nats.conf cannot`);
  return JSON.stringify(text);
}
