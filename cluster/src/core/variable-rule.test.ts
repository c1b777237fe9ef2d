import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide, Policy } from "./policy.ts";
import { allowsVariable } from "./variable-rule.ts";

const faults = (...env: string[]): string[] =>
  Policy.safeParse({ version: 1, allow: { env } }).error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`) ?? [];
const may = (env: string[], name: string) =>
  decide(Policy.parse({ version: 1, allow: { commands: ["x"], env } }), { kind: "command", input: { argv: ["x"], env: { [name]: "y" } } });

describe("what a policy may say of variables", () => {
  test.each(["*", "A*", "APP*", "*_PATH", "APP_*_X", "_*", "A_*", "MAKE*", "L*_*", "A_*B_*"])(
    "%s: a fault with the next step (V1)",
    (rule) => {
      expect(faults("TZ", rule)).toEqual([expect.stringMatching(/^allow\.env\.1: .* write each name whole, or .*APP_\*$/)]);
    },
  );

  test.each(["LD_*", "git_*", "npm_config_*", "GIT_AUTHOR_*", "XDG_*", "JAVA_TOOL_*", "OPENCLAW_CLUSTER_*"])(
    "%s: a known program's (V2)",
    (rule) => {
      expect(faults(rule)).toEqual([expect.stringMatching(/^allow\.env\.0: .* write each name whole$/)]);
    },
  );

  test.each(["HOME", "home", "TMPDIR", "TEMP", "TMP", "UserProfile"])("%s: the node's own (V3)", (name) => {
    expect(faults(name)).toEqual([expect.stringContaining("is set by the node itself")]);
    expect(allowsVariable([name], name)).toEqual({ reason: `the variable ${name} is set by the node itself` });
  });

  test.each(["TZ", "PATH", "LD_PRELOAD", "GIT_AUTHOR_NAME", "CC", "APP_*", "MY_APP_*", "GITHUB_*", "x2_*"])("%s is well", (rule) => {
    expect(faults(rule)).toEqual([]);
  });
});

describe("what a task may set", () => {
  test("the rule that allows it is told", () => {
    expect(may(["TZ", "APP_*"], "APP_MODE")).toEqual({ allow: true, rules: ["allow.commands: x", "allow.env: APP_*"] });
    expect(may(["TZ", "APP_*"], "APP_")).toMatchObject({ allow: true });
    expect(may(["PATH"], "PATH")).toMatchObject({ allow: true });
    for (const name of ["APP", "app_mode", "XAPP_MODE", "TZDIR", "PATH", "MAKEFLAGS"]) expect(may(["TZ", "APP_*"], name).allow).toBe(false);
  });

  test("whatever stars a policy has, no variable of a known program is meant by them", () => {
    const known = fc.constantFrom(
      ..."LD_PRELOAD PATH IFS MAKEFILES MAKEFLAGS TAR_OPTIONS OPENSSL_CONF PHPRC npm_config_script_shell GEM_PATH BUNDLE_GEMFILE".split(
        " ",
      ),
      ..."RSYNC_RSH CC CXX RUSTC_WRAPPER GOFLAGS DOTNET_STARTUP_HOOKS SSH_ASKPASS KUBECONFIG XDG_CONFIG_HOME CURL_HOME BASH_ENV".split(" "),
      ..."NODE_OPTIONS PYTHONPATH PERL5OPT RUBYOPT JAVA_TOOL_OPTIONS GIT_SSH_COMMAND LESSOPEN PAGER EDITOR HOME TMPDIR ENV".split(" "),
    );
    fc.assert(
      fc.property(known, fc.nat(24), fc.nat(24), fc.boolean(), (name, from, to, atEnd) => {
        const rule = `${name.slice(0, from)}*${atEnd ? "" : name.slice(to)}`;
        const policy = Policy.safeParse({ version: 1, allow: { env: [rule] } });
        if (policy.success) expect(allowsVariable(policy.data.allow.env, name)).toHaveProperty("reason");
      }),
    );
  });
});
