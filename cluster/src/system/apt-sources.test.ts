import { expect, test } from "vitest";
import { newerSource } from "./apt-sources.ts";

const BOOKWORM = 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n';
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const files = (entries: Record<string, string>): Map<string, string> => new Map(Object.entries(entries));

test("deb822: mirror and key are kept, the suite becomes testing, other stanzas are passed over", () => {
  const text = `Types: deb
URIs: https://packages.example.org/apt
Suites: bookworm
Components: contrib

Types: deb deb-src
# a comment
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main non-free
Signed-By: ${KEYRING}
`;
  expect(newerSource(BOOKWORM, files({ "sources.list.d/debian.sources": text }))).toEqual({
    suite: "testing",
    text: `Types: deb\nURIs: http://mirror.example.org/debian\nSuites: testing\nComponents: main\nSigned-By: ${KEYRING}\n`,
  });
});

test("a key that stands in the file itself is taken over whole", () => {
  const key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----";
  const text = `Types: deb\nURIs: http://m/debian\nSuites: stable\nComponents: main\nSigned-By:${key}\n`;
  expect(newerSource(BOOKWORM, files({ "a.sources": text }))?.text).toContain(`Signed-By: ${key}\n`);
});

test("one-line sources: options, comments, other repositories and security are passed over", () => {
  const text = `# deb http://off.example.org/debian bookworm main
deb [arch=amd64] https://packages.example.org/apt sdk-bookworm main
deb http://security.example.org/debian-security bookworm-security main
deb [arch=amd64 signed-by=${KEYRING}] http://mirror.example.org/debian bookworm main # ours
`;
  expect(newerSource(BOOKWORM, files({ "sources.list": text }))?.text).toBe(
    `Types: deb\nURIs: http://mirror.example.org/debian\nSuites: testing\nComponents: main\nSigned-By: ${KEYRING}\n`,
  );
});

test("Ubuntu and what derives from it: devel, with universe", () => {
  const mint = 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n';
  const text = "deb http://packages.example.org wilma main\ndeb http://ubuntu.example.org/ubuntu noble main restricted\n";
  expect(newerSource(mint, files({ "sources.list": text }))).toEqual({
    suite: "devel",
    text: "Types: deb\nURIs: http://ubuntu.example.org/ubuntu\nSuites: devel\nComponents: main universe\n",
  });
});

test("a disabled stanza and a machine without a fitting source give none", () => {
  const text = "Enabled: no\nTypes: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main\n";
  expect(newerSource(BOOKWORM, files({ "a.sources": text }))).toBeUndefined();
  expect(newerSource("ID=alpine\n", files({}))).toBeUndefined();
});
