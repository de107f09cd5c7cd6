import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = resolve(fileURLToPath(import.meta.url), "../../..");
const TSC = join(ROOT, "node_modules/typescript/bin/tsc");
const OPTIONS = {
  strict: true,
  noEmit: true,
  target: "ES2022",
  module: "NodeNext",
  lib: ["ES2022", "DOM", "DOM.Iterable"],
  types: [],
};

const CONSUMER = `
import { CallOver, MediaError, Refusal, SbeClient, type Call, type Invitation, type Session } from "sbe-client";
import "sbe-client/element";

const register = async ({ username, idempotencyKey }: { username?: string; idempotencyKey: string }): Promise<Session> => {
  const answer = await fetch("/session", { method: "POST", headers: { "Idempotency-Key": idempotencyKey }, body: username });
  return answer.json();
};
const client = new SbeClient({ register, onTokenNeeded: register });
const stop: () => void = client.on("invitations", (all: Invitation[]) => all.map(({ username }) => username.trim()));
client.on("call", (call) => {
  const state: "calling" | "open" | "on-hold" | "held" | "moving" | "moved" | "ended" | undefined = call?.state;
  return state;
});
client.on("session", (session) => session?.iceServers.length);
client.on("participants", (others) => others.filter(({ speaking, camera }) => speaking && camera?.enabled));

export async function holdFor(call: Call): Promise<string> {
  try {
    return await call.hold();
  } catch (error) {
    if (error instanceof Refusal) return \`\${error.status} \${error.code} \${error.fields["retryAfterMs"]}\`;
    if (error instanceof MediaError) return error.reason === "refused" ? "no" : error.device;
    if (error instanceof CallOver) return "over";
    throw error;
  } finally {
    stop();
  }
}
new SbeClient({ devServer: { url: "/dev", headers: async () => ({ "X-CSRF": "1" }), credentials: "include" } });

const element = document.createElement("sbe-call");
element.session = await register({ idempotencyKey: "1" });
element.addEventListener("sbe-ended", ({ detail }) => detail.reason.trim());
await element.call(["bob", "carol"]);

// @ts-expect-error there is no such event
client.on("invitation", () => undefined);
// @ts-expect-error one address at a time
client.call(["bob"]);
// @ts-expect-error there is no such topology
client.call("bob", { topology: "mesh" });
// @ts-expect-error a session is needed, not a token
new SbeClient({ onTokenNeeded: () => "token" });
// @ts-expect-error there may be no call
client.currentCall.hold();
// @ts-expect-error the element takes a session, not a token
element.session = "token";
`;

const SCRIPT = `
import { SbeClient, SbeError } from "sbe-client";
import { SbeCall } from "sbe-client/element";
const client = new SbeClient();
console.log([typeof window, client.callState, typeof SbeCall, new SbeError("x") instanceof Error].join(" "));
`;

describe("The npm package", () => {
  const folder = mkdtempSync(join(tmpdir(), "sbe-client-"));
  const project = join(folder, "project");
  const installed = join(project, "node_modules/sbe-client");

  before(() => {
    execFileSync(process.execPath, [join(ROOT, "clients/npm/build.js"), `--out=${folder}`], { stdio: "pipe" });
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }));
    const tarball = join(folder, `sbe-client-${projectVersion()}.tgz`);
    execFileSync("npm", ["install", "--offline", "--no-audit", "--no-fund", tarball], { cwd: project, stdio: "pipe" });
  });
  after(() => rmSync(folder, { recursive: true }));

  test("has the project's version, the licence and no dependency", () => {
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    assert.equal(manifest.version, projectVersion());
    assert.deepEqual([manifest.dependencies, manifest.peerDependencies], [undefined, undefined]);
    assert.equal(readFileSync(join(installed, "LICENSE"), "utf8"), readFileSync(join(ROOT, "LICENSE"), "utf8"));
    const map = JSON.parse(readFileSync(join(installed, "dist/index.js.map"), "utf8"));
    assert.ok(map.sourcesContent.every(Boolean));
  });

  test("has types for a strict TypeScript project, in which a wrong use does not compile", () => {
    writeFileSync(join(project, "consumer.ts"), CONSUMER);
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: OPTIONS, files: ["consumer.ts"] }));
    execFileSync(process.execPath, [TSC, "-p", project], { encoding: "utf8", stdio: ["ignore", 2, 2] });
  });

  test("can be imported where there is no window", () => {
    writeFileSync(join(project, "script.js"), SCRIPT);
    const printed = execFileSync(process.execPath, ["script.js"], { cwd: project, encoding: "utf8" });
    assert.equal(printed.trim(), "undefined idle function true");
  });
});

function projectVersion() {
  return /^version = "(.+)"$/m.exec(readFileSync(join(ROOT, "pyproject.toml"), "utf8"))?.[1];
}
