/** Who may come in, of a FakeCoordinator: tokens in a map, and join codes of which only the newest one's key is known. */
import type { AuditPage } from "@openclaw-cluster/contract/audit";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { ClusterId, taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import type { Invite, InviteRequest, JoinReply, JoinRequest, Session, SessionRequest } from "@openclaw-cluster/contract/join";
import type { LeaveRequest, Leaving, Probe, Rotated, RotateRequest } from "@openclaw-cluster/contract/membership";
import type { Scope } from "@openclaw-cluster/contract/scopes";
import type { TokenId, TokenMade, TokenRequest, TokenView } from "@openclaw-cluster/contract/token";
import type { ApiTokenRow } from "../../cluster/src/store/store.ts";
import { createInvitation, writeJoinCode } from "../../cluster/src/trust/join-code.ts";
import { joinKey, makeJoinReply } from "../../cluster/src/trust/join-proof.ts";
import { proveRefusal, proveSession } from "../../cluster/src/trust/session-proof.ts";
import { createToken } from "../../cluster/src/trust/token.ts";
import { AUTHORITY } from "./authority.ts";
import { SAMPLE_NODE, STARTED_AT } from "./fake-answers.ts";
import { COORDINATOR_KEY, signAsCoordinator } from "./fake-keys.ts";
import { FakeModels } from "./fake-models.ts";

const CLUSTER = ClusterId.parse("abcd1234");

export class FakeTrust extends FakeModels {
  readonly rows = new Map<string, ApiTokenRow>();
  readonly joins: JoinRequest[] = [];
  readonly guesses: string[] = [];
  apiUrls: readonly string[] = ["http://127.0.0.1:8888"];
  /** What sessions tell of where the control nodes are, and where the bus is. */
  coordinatorUrls: string[] | undefined;
  busUrls: string[] = [];
  /** What it is certified by, and what it pins in its codes. */
  authority = AUTHORITY;
  private joinKey = joinKey("none yet");

  /** How often a token was looked up. */
  lookups = 0;

  /** A new token of this scope, ready to be presented; of a user who is called like the scope, unless said. */
  tokenFor(scope: Scope, user: string = scope): string {
    const { id, hash, token } = createToken();
    this.rows.set(hash, { id, hash, scope, name: scope, user, createdAt: STARTED_AT });
    return token;
  }

  async addToken(row: ApiTokenRow): Promise<void> {
    this.rows.set(row.hash, row);
  }

  token(hash: string): ApiTokenRow | undefined {
    this.lookups += 1;
    return this.rows.get(hash);
  }

  tokens(): TokenView[] {
    this.check();
    return [...this.rows.values()].map(viewOf);
  }

  async makeToken({ name, user = name, scope }: TokenRequest): Promise<TokenMade> {
    this.check();
    const { id, token, hash } = createToken();
    const row = { id, hash, scope, name, user, createdAt: STARTED_AT };
    this.rows.set(hash, row);
    return { ...viewOf(row), token };
  }

  async revokeToken(id: TokenId): Promise<TokenView> {
    this.check();
    const row = this.rows.values().find((one) => one.id === id);
    if (row === undefined) throw new ClusterError("not_found", `There is no token ${id}.`);
    this.rows.delete(row.hash);
    return viewOf(row);
  }

  async rotateToken(id: TokenId): Promise<TokenMade> {
    const { name, scope } = await this.revokeToken(id);
    const { token, hash } = createToken(id);
    const row = { id, hash, scope, name, createdAt: STARTED_AT };
    this.rows.set(hash, row);
    return { ...viewOf(row), token };
  }

  /** What probes wait for, once their proof was judged. */
  probing: Promise<unknown> = Promise.resolve();
  probed = 0;

  async probe(id: NodeId, _request?: unknown, _signal?: unknown, proven?: () => void): Promise<Probe> {
    known(id);
    this.probed += 1;
    proven?.();
    await this.probing;
    return { cluster: CLUSTER, name: "test", version: "0.1.0", task: taskId(1), state: "succeeded", node: SAMPLE_NODE };
  }

  async leave(id: NodeId, { wish }: LeaveRequest): Promise<Leaving> {
    known(id);
    return { node: id, gone: wish === "go", wasDraining: false, held: 0, tasks: [] };
  }

  async rotate(id: NodeId, { publicKey }: RotateRequest): Promise<Rotated> {
    known(id);
    return { node: id, publicKey };
  }

  guessed(address: string): void {
    this.guesses.push(address);
  }

  async auditLog(): Promise<AuditPage> {
    this.check();
    return { entries: [{ seq: 1, at: STARTED_AT, actor: "coordinator", action: "node.enrolled", object: "studio", hash: "h".repeat(43) }] };
  }

  async invite({ approve, node, ttlMs }: InviteRequest): Promise<Invite> {
    this.check();
    const { invite, secret } = createInvitation();
    this.joinKey = joinKey(secret);
    const code = writeJoinCode({ invite, secret, pin: this.authority.pin, urls: this.apiUrls });
    return { id: invite, code, expiresAt: Date.now() + ttlMs, approve, ...(node !== undefined && { node }) };
  }

  /** Every proof is good but that of the id `stranger`; the answer is proven with the newest code's key. */
  async join(request: JoinRequest): Promise<JoinReply> {
    if (request.node === "stranger") throw new ClusterError("unauthorized", "This join code is unknown.");
    this.joins.push(request);
    const { certificate: authority } = this.authority;
    return makeJoinReply(
      {
        node: request.node,
        cluster: CLUSTER,
        name: "test",
        state: "pending",
        coordinatorKey: COORDINATOR_KEY,
        authority,
      },
      request,
      this.joinKey,
    );
  }

  async session(id: NodeId, request: SessionRequest): Promise<Session> {
    known(id, request);
    const { busUrls, coordinatorUrls } = this;
    const told = { busUrls, coordinatorKey: COORDINATOR_KEY, epoch: 1, now: STARTED_AT, ...(coordinatorUrls && { coordinatorUrls }) };
    return proveSession({ node: id, cluster: CLUSTER, state: "approved", ...told }, request, signAsCoordinator);
  }
}

/** Everybody but the id `stranger`, who is told so with a signature, where that is asked for. */
function known(id: NodeId, request?: SessionRequest): void {
  if (id !== "stranger") return;
  const proof = request && { proof: proveRefusal(id, "unauthorized", request, signAsCoordinator) };
  throw new ClusterError("unauthorized", "There is no such node with that key.", proof);
}

function viewOf({ id, name, user = name, scope, createdAt }: ApiTokenRow): TokenView {
  return { id, name, user, scope, createdAt };
}
