/** Keys and seals for clusters in memory: quick, and as good as the real ones among parties that do not look for the other's. */
import { createHash } from "node:crypto";
import { plainEnvelopes, type Envelopes } from "../../cluster/src/bus/envelope-door.ts";
import { sealedEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import type { OwnLife } from "../../cluster/src/trust/life.ts";
import { signer } from "../../cluster/src/trust/signature.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** What looks like the public key of this party, and is no other's. */
export function keyFor(party: string): string {
  const letters = Array.from(createHash("sha512").update(party).digest(), (byte) => LETTERS[byte % LETTERS.length]);
  return `U${letters.slice(0, 55).join("")}`;
}

const coordinator = createNodeKeys();
/** A real one, with which it signs what it answers over HTTP. On the bus in memory it seals by keyFor, as everybody. */
export const COORDINATOR_KEY = coordinator.publicKey;
export const signAsCoordinator = signer(coordinator.seed);

/** 64 bytes, as Ed25519's. */
function signatureOf(publicKey: string, words: Uint8Array): Buffer {
  return createHash("sha512").update(publicKey).update(words).digest();
}

function simulatedLife(life: string): OwnLife {
  return { life, agree: (other) => createHash("sha256").update([life, other].sort().join()).digest() };
}

/** `ownKey`: the key that it signs with, where that is not keyFor. */
export type OpenEnvelopes = (self: string, keyOf?: (party: string) => string | undefined, ownKey?: () => string) => Envelopes;

/** One for each opening of a bus. Every other seed seals, so that what seals keep away is tried too. */
export function simulatedEnvelopes(seed: number): OpenEnvelopes {
  let lives = 0;
  return (self, keyOf = keyFor, ownKey = () => keyFor(self)) =>
    seed % 2 === 0
      ? plainEnvelopes()
      : sealedEnvelopes({
          self,
          life: simulatedLife(String(++lives).padStart(43, "0")),
          sign: (words) => signatureOf(ownKey(), words),
          verify: (publicKey, words, signature) => signatureOf(publicKey, words).equals(signature),
          keyOf,
        });
}
