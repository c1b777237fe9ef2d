/** Keys and seals for clusters in memory: quick, and as good as the real ones among parties that do not look for the other's. */
import { createHash } from "node:crypto";
import { plainEnvelopes, type Envelopes } from "../../cluster/src/bus/envelope-door.ts";
import { sealedEnvelopes } from "../../cluster/src/bus/envelopes.ts";
import { COORDINATOR } from "../../cluster/src/bus/subjects.ts";
import type { OwnLife } from "../../cluster/src/trust/life.ts";

/** What looks like the public key of this party. */
export function keyFor(party: string): string {
  const letters = party.toUpperCase().replaceAll(/[^A-Z2-7]/g, "A");
  return `U${letters.padEnd(55, "A")}`;
}

export const COORDINATOR_KEY = keyFor(COORDINATOR);

/** 64 bytes, as Ed25519's. */
function signatureOf(publicKey: string, words: Uint8Array): Buffer {
  return createHash("sha512").update(publicKey).update(words).digest();
}

function simulatedLife(life: string): OwnLife {
  return { life, agree: (other) => createHash("sha256").update([life, other].sort().join()).digest() };
}

export type OpenEnvelopes = (self: string, keyOf?: (party: string) => string | undefined) => Envelopes;

/** One for each opening of a bus. Every other seed seals, so that what seals keep away is tried too. */
export function simulatedEnvelopes(seed: number): OpenEnvelopes {
  let lives = 0;
  return (self, keyOf = keyFor) =>
    seed % 2 === 0
      ? plainEnvelopes()
      : sealedEnvelopes({
          self,
          life: simulatedLife(String(++lives).padStart(43, "0")),
          sign: (words) => signatureOf(keyFor(self), words),
          verify: (publicKey, words, signature) => signatureOf(publicKey, words).equals(signature),
          keyOf,
        });
}
