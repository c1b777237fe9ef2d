/** The members of JetStream's groups, as far as somebody has to see to them: one that is gone for good. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { z } from "zod";
import { decodeBody } from "./body.ts";
import { busError, type Connection } from "./nats-connection.ts";

const REMOVE = "$JS.API.SERVER.REMOVE";
const ANSWER_MS_MAX = 5_000;
const NOT_A_MEMBER = 10_044;

const Answer = z.object({ error: z.object({ err_code: z.int().optional(), description: z.string().optional() }).optional() });

/**
 * Its place in each group is given to another server, where there is one. Only the system account may; only the leader of all
 * groups answers, so there has to be one. To remove one that is no member is no error: it may have been asked before.
 */
export async function removePeer({ nc }: Connection, serverName: string): Promise<void> {
  const what = `removal of ${serverName} from JetStream's groups`;
  try {
    const { data } = await nc.request(REMOVE, JSON.stringify({ peer: serverName }), { timeout: ANSWER_MS_MAX });
    const { error } = Answer.parse(decodeBody(data));
    if (error !== undefined && error.err_code !== NOT_A_MEMBER) throw new ClusterError("internal", `${what}: ${error.description}`);
  } catch (error) {
    throw busError(error, what);
  }
}
