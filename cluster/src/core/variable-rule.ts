/**
 * Which variables a task may set for its command: whole names, or `APP_*` for all that begin so.
 *
 * V1. A star stands at the end, after a beginning of the owner's own that ends in `_`. What makes programs load other
 *     code, or run others, is no list that ends (CC, MAKEFLAGS, PHPRC, KUBECONFIG, …): so a star means none of it by its
 *     form, and who wants such a variable writes its whole name.
 * V2. Beginnings that belong to a known program (GIT_, LD_, npm_) are none of the owner's own.
 * V3. HOME and the folders for what is temporary are the attempt's own, whoever asks for others.
 */
import { z } from "zod";

/** By upper case: Windows does not tell them apart, and npm writes its own small. Compared with all up to the first `_`. */
const KNOWN_BEGINNINGS: ReadonlySet<string> = new Set(
  [
    "LD DYLD LDR RLD LIBC GLIBC GCONV MALLOC BASH KSH ZSH IFS PROMPT TERMINFO RES RESOLV",
    "NODE NPM PNPM YARN COREPACK DENO BUN PYTHON PIP UV POETRY CONDA VIRTUAL PERL RUBY GEM BUNDLE BUNDLER LUA LUAROCKS PHP COMPOSER",
    "JAVA JDK JRE JVM MAVEN MVN GRADLE ANT SBT KOTLIN SCALA DOTNET CORECLR COMPLUS NUGET MSBUILD CGO GO CARGO RUST RUSTC RUSTUP",
    "CC CXX CPP LINKER MAKE GNUMAKE CMAKE CTEST NINJA MESON PKG PKGCONFIG AUTOMAKE AUTOCONF LIBTOOL CCACHE",
    "GIT HG SVN CVS SSH SSHPASS GPG RSYNC TAR ZIP UNZIP GZIP XZ LESS MAN CURL WGET OPENSSL SSL KRB5 SASL LDAP",
    "XDG DBUS GIO GTK QT GST VK MESA LIBGL ELECTRON CHROME SUDO SYSTEMD DOCKER PODMAN BUILDKIT KUBE KUBECTL HELM",
    "ANSIBLE TF TERRAFORM PULUMI VAGRANT AWS AZURE CLOUDSDK OPENCLAW",
  ].flatMap((line) => line.split(" ")),
);
const OF_THE_ATTEMPT: ReadonlySet<string> = new Set(["HOME", "TMPDIR", "TMP", "TEMP", "USERPROFILE"]);
const BEGINNING = /^([A-Za-z][A-Za-z0-9]+)_([A-Za-z0-9_]*_)?\*$/;

/** A name, or a beginning with a star. */
export const VariableRule = z
  .string()
  .min(1)
  .max(256)
  .superRefine((rule, context) => {
    const message = faultOf(rule);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });

function faultOf(rule: string): string | undefined {
  if (isOfTheAttempt(rule)) return `${rule} is set by the node itself, to the attempt's own folder: take it out of allow.env`;
  if (!rule.includes("*")) return undefined;
  const first = BEGINNING.exec(rule)?.[1];
  if (first === undefined)
    return `${rule} would mean variables that decide what code a program runs: write each name whole, or a beginning of your own that ends in _, as in APP_*`;
  if (!KNOWN_BEGINNINGS.has(first.toUpperCase())) return undefined;
  return `${rule} would mean variables that decide what code a program runs, as ${first}_ is a known program's: write each name whole`;
}

/** The rule that allows it, or why none does. */
export function allowsVariable(rules: readonly string[], name: string): { readonly rule: string } | { readonly reason: string } {
  if (isOfTheAttempt(name)) return { reason: `the variable ${name} is set by the node itself` };
  const rule = rules.find((one) => (one.endsWith("*") ? name.startsWith(one.slice(0, -1)) : one === name));
  return rule === undefined ? { reason: `a task may not set the variable ${name}` } : { rule };
}

const isOfTheAttempt = (name: string): boolean => OF_THE_ATTEMPT.has(name.toUpperCase());
