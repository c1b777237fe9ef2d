/**
 * Takes out of a text what looks like a secret, for places where words of others end up: the log, and what a command says of
 * a failure. A third line of defence: the first is that nobody hands a secret on, the second that a log call's known
 * fields are hidden (log.ts). Only forms that nothing else has are known here, so no honest word is lost.
 *
 * R1. What was JSON stays JSON: nothing outside of a JSON text's quotes is touched, and no quote or backslash is added.
 */
const HIDDEN = "…";

const FORMS: readonly (readonly [form: RegExp, instead: string])[] = [
  // Our own, with what is public of them: API tokens (trust/token.ts), join codes (trust/join-code.ts), seeds of nodes (trust/keys.ts).
  [/\bocc_([a-z2-7]{8})_[A-Za-z0-9_-]{20,}/g, `occ_$1_${HIDDEN}`],
  [/\bocj1_[A-Za-z0-9_-]{20,}/g, `ocj1_${HIDDEN}`],
  [/\bS[A-Z][A-Z2-7]{56}\b/g, `S${HIDDEN}`],
  [/-----BEGIN ([A-Z ]*)PRIVATE KEY-----[^"]*?-----END \1PRIVATE KEY-----/g, `PRIVATE KEY ${HIDDEN}`],
  // Of an address: user and password, and whatever a query or fragment calls a secret.
  [/(:\/\/)[^\s/?#"'\\@]+@/g, `$1${HIDDEN}@`],
  [/([?&#][\w.-]*(?:token|secret|password|passwd|api_?key|auth)[\w.-]*=)[^\s&#"'\\]+/gi, `$1${HIDDEN}`],
  [/\b(authorization\W{1,6}(?:bearer|basic)) +[\w.~+/=-]+/gi, `$1 ${HIDDEN}`],
];

export function redact(text: string): string {
  return FORMS.reduce((clean, [form, instead]) => clean.replace(form, instead), text);
}
