import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { NetworkError, Refusal } from "../../templates/static/sbe/errors.js";
import { Rest } from "../../templates/static/sbe/rest.js";
import { Server } from "./support/server.js";

/**
 * @typedef {import("node:test").TestContext} TestContext
 * @typedef {import("./support/server.js").Answer} Answer
 */

const PROBLEM = { "Content-Type": "application/problem+json" };
const OK = { status: 200, body: { fine: true } };

/**
 * Start a server that gives these answers in turn, and the last one from then on.
 *
 * @param {TestContext} t
 * @param {(() => Answer | Promise<Answer>)[]} answers
 */
async function answering(t, ...answers) {
  let next = 0;
  const server = await new Server(() => answers[Math.min(next++, answers.length - 1)]()).start();
  t.after(() => server.stop());
  return server;
}

/** @param {Server} server @param {number} [budgetMs] */
function post(server, budgetMs = 5_000) {
  return new Rest({ trace: () => undefined }).send({ method: "POST", url: `${server.url}/x`, body: {}, budgetMs });
}

/** @param {Promise<unknown>} promise @returns {Promise<Refusal>} */
async function refusalOf(promise) {
  const error = await promise.then(
    () => assert.fail("not refused"),
    (cause) => cause,
  );
  assert.ok(error instanceof Refusal, String(error));
  return error;
}

/** @type {Record<string, Answer>} */
const TROUBLE = {
  "of the bundled nginx": {
    status: 503,
    headers: { ...PROBLEM, "Retry-After": "1" },
    body: { type: "about:blank", title: "Service Unavailable", status: 503, code: "unavailable", detail: "No answer." },
  },
  "with the code of a lost database": { status: 503, headers: PROBLEM, body: { code: "database-unavailable" } },
  "with a code that is a number": { status: 503, body: { code: 50301, message: "no healthy upstream" } },
  "with JSON that is no object": { status: 504, body: ["timeout"] },
  "with broken JSON": { status: 503, headers: { "Content-Type": "application/json" }, body: "{" },
  "with HTML": { status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad Gateway</h1>" },
  "without a body": { status: 504 },
};

describe("Rest", { concurrency: true }, () => {
  for (const [shape, answer] of Object.entries(TROUBLE)) {
    test(`repeats a request after an answer of 502, 503 or 504 ${shape}`, async (t) => {
      const server = await answering(
        t,
        () => answer,
        () => OK,
      );
      assert.deepEqual((await post(server)).body, OK.body);
      const keys = server.requests.map(({ headers }) => headers["idempotency-key"]);
      assert.equal(keys.length, 2);
      assert.equal(new Set(keys).size, 1);
    });
  }

  test("gives up at once if the Dev Server has no API key", async (t) => {
    const server = await answering(t, () => ({ status: 503, headers: PROBLEM, body: { code: "api-key-missing" } }));
    assert.equal((await refusalOf(post(server))).code, "api-key-missing");
    assert.equal(server.requests.length, 1);
  });

  test("passes the last refusal on when the budget is used up, and never exceeds the budget", async (t) => {
    const server = await answering(t, () => ({ status: 503, body: { code: "unavailable" } }));
    const started = performance.now();
    const { status, code } = await refusalOf(post(server, 1_000));
    assert.deepEqual([status, code], [503, "unavailable"]);
    assert.ok(performance.now() - started < 4_000);
  });

  test("ends an attempt that hangs when the budget is used up", async (t) => {
    const server = await answering(
      t,
      () => ({ status: 503 }),
      () => new Promise(() => undefined),
    );
    const started = performance.now();
    await assert.rejects(post(server, 2_000), NetworkError);
    assert.equal(server.requests.length, 2);
    assert.ok(performance.now() - started < 6_000);
  });

  for (const [form, value] of /** @type {[string, () => string][]} */ ([
    ["seconds", () => "1"],
    ["a date", () => new Date(Date.now() + 2_000).toUTCString()],
  ])) {
    test(`waits as long as Retry-After says in ${form}`, async (t) => {
      const server = await answering(
        t,
        () => ({ status: 429, headers: { "Retry-After": value() } }),
        () => OK,
      );
      const started = performance.now();
      await post(server);
      assert.ok(performance.now() - started >= 990);
    });
  }

  test("compares a date with the clock of the server", async (t) => {
    const server = await answering(
      t,
      () => ({
        status: 503,
        headers: { "Date": "Tue, 01 Jan 2030 00:00:00 GMT", "Retry-After": "Tue, 01 Jan 2030 00:00:30 GMT" },
      }),
      () => OK,
    );
    assert.equal((await refusalOf(post(server))).fields.retryAfterMs, 30_000);
  });

  test("refuses at once, with the time, if Retry-After exceeds the budget", async (t) => {
    const server = await answering(t, () => ({ status: 429, headers: { "Retry-After": "6" } }));
    const started = performance.now();
    assert.equal((await refusalOf(post(server))).fields.retryAfterMs, 6_000);
    assert.ok(performance.now() - started < 1_000);
    assert.equal(server.requests.length, 1);
  });

  test("reports the denial of a knock at once", async (t) => {
    const answer = { status: 429, headers: { "Retry-After": "1" }, body: { code: "rate-limited", reason: "denied" } };
    const server = await answering(t, () => answer);
    assert.deepEqual((await refusalOf(post(server))).fields, { reason: "denied", retryAfterMs: 1_000 });
    assert.equal(server.requests.length, 1);
  });

  test("counts as answers of the enabler only what a gateway does not say", async (t) => {
    const server = await answering(
      t,
      () => ({ status: 503, headers: { "Retry-After": "0" }, body: "<h1>no upstream</h1>" }),
      () => ({ status: 503, body: { status: 503, title: "no upstream" } }),
      () => ({ status: 409, body: { code: "not-ringing" } }),
    );
    let answers = 0;
    const rest = new Rest({ trace: () => undefined, onAnswer: () => (answers += 1) });
    await assert.rejects(rest.send({ method: "GET", url: server.url }), { code: "not-ringing" });
    assert.equal(server.requests.length, 3);
    assert.equal(answers, 1);
  });

  test("ignores a Retry-After that is unreadable or in the past", async (t) => {
    const server = await answering(
      t,
      () => ({ status: 503, headers: { "Retry-After": "soon" } }),
      () => ({ status: 503, headers: { "Retry-After": "Tue, 01 Jan 2019 00:00:00 GMT" } }),
      () => OK,
    );
    assert.equal((await post(server)).status, 200);
  });
});
