/** `token`: the API's tokens for people and programs; make one, list them, take one back. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { Scope } from "@openclaw-cluster/contract/scopes";
import { TokenId, TOKENS, type TokenView } from "@openclaw-cluster/contract/token";
import { Option, type Command } from "commander";
import { writePrivateFile } from "../../system/folders.ts";
import { examples, type Act } from "../command.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";
import { plainLine } from "../terminal.ts";
import { dayAndTime } from "../time.ts";

const DAY_MS = 86_400_000;

interface Terms {
  readonly scope: Scope;
  readonly user?: string;
  readonly days?: string;
  readonly out?: string;
}

export function configure(command: Command, act: Act): void {
  examples(command, "token", 'token create "build server" --scope submitter --days 90', "token revoke k7qwjm2a");
  examples(command.command("list", { isDefault: true }).summary("list the tokens (also without a word)"), "token list --json").action(
    act(list),
  );
  examples(
    command
      .command("create")
      .summary("make a token; it is shown once")
      .argument("<name>", "who or what will use it")
      .addOption(
        new Option("--scope <scope>", "viewer reads, submitter gives work, operator changes nodes, admin does everything")
          .choices(Scope.options)
          .default("submitter"),
      )
      .option("--user <user>", "for whom it speaks: what it submits is theirs; the name unless said")
      .option("--days <n>", "until it expires; for good unless said")
      .option("--out <file>", "write it there (0600) instead of showing it"),
    "token create phone --user ann --scope viewer --days 30",
    "token create ci --out ci.token",
  ).action(act(create));
  examples(
    command.command("revoke").summary("take a token back, from the next request on").argument("<id>", "as `token list` shows it"),
    "token revoke k7qwjm2a",
  ).action(act(revoke));
}

async function list(session: Session): Promise<void> {
  const { tokens } = await (await session.client()).tokens();
  session.show({ tokens }, () =>
    table(session.terminal, tokens, [
      { title: "TOKEN", value: (token) => token.id },
      { title: "SCOPE", value: (token) => token.scope },
      { title: "USER", value: (token) => token.user },
      { title: "NAME", value: (token) => token.name, cut: true },
      { title: "MADE", value: (token) => dayAndTime(token.createdAt) },
      { title: "EXPIRES", value: expiryText },
    ]),
  );
}

async function create(session: Session, { scope, user, days, out }: Terms, name: string): Promise<void> {
  const ttl = days === undefined ? {} : { ttlMs: readDays(days) };
  const { token, ...made } = await (await session.client()).makeToken({ name, scope, ...(user !== undefined && { user }), ...ttl });
  if (out === undefined) {
    session.show({ ...made, token }, () => `${token}\n\nIt is not shown again. ${sentence(made)} ${takeBack(session, made)}\n`);
    return;
  }
  await writePrivateFile(out, `${token}\n`);
  session.show({ ...made, file: out }, () => `${made.id} is in ${out}. ${sentence(made)} ${takeBack(session, made)}\n`);
}

async function revoke(session: Session, _options: object, text: string): Promise<void> {
  const id = TokenId.safeParse(/^occ_([a-z2-7]{8})_/.exec(text)?.[1] ?? text);
  if (!id.success) throw new ClusterError("usage", "a token is named by its id, 8 characters, as `token list` shows it");
  const gone = await (await session.client()).revokeToken({ id: id.data });
  session.show(gone, () => `${gone.id} (${gone.name}) opens nothing any more\n`);
}

const sentence = (token: TokenView): string =>
  `It speaks for ${plainLine(token.user)}; its scope is ${token.scope}; it expires ${expiryText(token)}.`;
const takeBack = (session: Session, { id }: TokenView): string => `Take it back: ${session.typed(`token revoke ${id}`)}`;
const expiryText = ({ expiresAt }: TokenView): string => (expiresAt === undefined ? "never" : dayAndTime(expiresAt));

function readDays(text: string): number {
  const ms = Math.round(Number(text) * DAY_MS);
  if (ms >= TOKENS.ttlMinMs && ms <= TOKENS.ttlMaxMs) return ms;
  throw new ClusterError("usage", `--days takes a number up to ${TOKENS.ttlMaxMs / DAY_MS}, not ${text}`);
}
