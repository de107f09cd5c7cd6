import assert from "node:assert/strict";
import { test } from "node:test";
import { OriginCheck } from "../../templates/static/sbe/origin.js";
import { Server } from "./support/server.js";

const PAGE = "https://app.example.com";
Object.assign(globalThis, { location: { origin: PAGE, href: `${PAGE}/call` } });

/** @param {import("node:test").TestContext} t */
async function scene(t) {
  const server = await new Server(() => ({ status: 404 })).start();
  t.after(() => server.stop());
  /** @type {string[]} */
  const printed = [];
  t.mock.method(console, "error", (/** @type {string} */ text) => printed.push(text));
  return { server, printed, origins: new OriginCheck() };
}

test("a missing origin is named once, with the page and the enabler", async (t) => {
  const { server, printed, origins } = await scene(t);
  await Promise.all([origins.suspect(`${server.url}/sessions/1`), origins.suspect(`${server.url}/mediaConferences`)]);
  await origins.suspect(`${server.url}/sessions/1`);
  origins.refused(server.url.replace("http", "ws"));
  assert.equal(printed.length, 1);
  for (const word of ["SBE_ALLOWED_ORIGINS", PAGE, server.url]) assert.ok(printed[0].includes(word));
});

test("a WebSocket that is closed with 4403 names the missing origin at once", async (t) => {
  const { server, printed, origins } = await scene(t);
  origins.refused(`${server.url.replace("http", "ws")}/sessions/1/events`);
  assert.ok(printed[0].includes(`: ${server.url} does not allow`));
  assert.equal(server.requests.length, 0);
});

test("no origin is named while the enabler is down, only when it answers", async (t) => {
  const { server, printed, origins } = await scene(t);
  const other = await new Server(() => ({ status: 200 })).start();
  await other.stop();
  await origins.suspect(other.url);
  assert.deepEqual(printed, []);
  await origins.suspect(server.url);
  assert.equal(printed.length, 1);
});

test("no origin is named if the enabler has answered this page before, or is the page's own origin", async (t) => {
  const { server, printed, origins } = await scene(t);
  origins.refused(`${PAGE.replace("https", "wss")}/sessions/1/events`);
  await origins.suspect(`${PAGE}/sessions/1`);
  origins.passed();
  await origins.suspect(server.url);
  assert.deepEqual([printed, server.requests.length], [[], 0]);
});
