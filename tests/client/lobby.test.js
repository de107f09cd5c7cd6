import assert from "node:assert/strict";
import { test } from "node:test";

import { Refusal } from "../../templates/static/sbe/errors.js";
import { OwnKnock } from "../../templates/static/sbe/lobby.js";
import { Desk, conference } from "./support/conference.js";

const EXPIRES = "2030-01-01T00:01:00Z";
const DAVE = { id: "k1", username: "dave", device: "tablet" };
const ERIN = { id: "k2", username: "erin", device: "laptop" };

/** A call whose host is this side, at whose conference both knock. */
async function withKnocks() {
  const desk = await Desk.inCall();
  for (const knock of [DAVE, ERIN]) await desk.hear({ type: "knock", knock, expiresAt: EXPIRES });
  return desk;
}

/** @param {Desk} desk */
const waiting = (desk) => desk.call.knocks.map(({ id }) => id);

/** @param {number} status */
const refusalWith = (status) => new Refusal({ status, code: "knock-settled", detail: "" });

// ── the host ──────────────────────────────────────────────────────────────

test("the host sees who knocks, until the knock is withdrawn", async () => {
  const desk = await withKnocks();
  assert.deepEqual(desk.call.knocks, [
    { ...DAVE, expiresAt: EXPIRES },
    { ...ERIN, expiresAt: EXPIRES },
  ]);
  await desk.hear({ type: "knock-withdrawn", knockId: "k1", reason: "withdrawn" });
  assert.deepEqual(waiting(desk), ["k2"]);
});

test("a knock that arrives twice waits once", async () => {
  const desk = await withKnocks();
  await desk.hear({ type: "knock", knock: DAVE, expiresAt: EXPIRES });
  assert.deepEqual(waiting(desk), ["k1", "k2"]);
});

test("the host admits one and denies the other", async () => {
  const desk = await withKnocks();
  await desk.call.admit("k1");
  await desk.call.deny("k2");
  assert.deepEqual(
    desk.requests.map(({ method, url, body }) => [method, url, body]),
    [
      ["PUT", "/mediaConferences/conf/knocks/k1", { admit: true }],
      ["PUT", "/mediaConferences/conf/knocks/k2", { admit: false }],
    ],
  );
  assert.deepEqual(waiting(desk), []);
});

test("a knock that was settled meanwhile is gone, and one that could not be answered stays", async () => {
  const desk = await withKnocks();
  desk.answer = ({ url }) => {
    throw refusalWith(url.endsWith("k1") ? 409 : 503);
  };
  await assert.rejects(desk.call.admit("k1"), { status: 409 });
  await assert.rejects(desk.call.admit("k2"), { status: 503 });
  assert.deepEqual(waiting(desk), ["k2"]);
});

test("unlocking admits everybody, so nobody waits", async () => {
  const desk = await withKnocks();
  await desk.call.lock(true);
  assert.equal(desk.call.locked, true);
  assert.deepEqual(waiting(desk), ["k1", "k2"]);
  await desk.call.lock(false);
  assert.equal(desk.call.locked, false);
  assert.deepEqual(waiting(desk), []);
  assert.deepEqual(
    desk.requests.map(({ url, body }) => [url, body]),
    [
      ["/mediaConferences/conf/lock", { locked: true }],
      ["/mediaConferences/conf/lock", { locked: false }],
    ],
  );
});

test("a side that is no longer the host forgets the knocks", async () => {
  const desk = await withKnocks();
  const from = { participant: "alice", username: "alice" };
  await desk.hear({ type: "host-changed", from, participant: { ...desk.bob, role: "host" } });
  assert.deepEqual(waiting(desk), []);
});

test("a guest learns that the conference was locked", async () => {
  const desk = await Desk.inCall();
  await desk.hear({ type: "lock-changed", locked: true });
  assert.equal(desk.call.locked, true);
});

test("after lost events, the host reads the knocks at a locked conference again", async () => {
  const desk = await withKnocks();
  const { me, bob } = desk;
  const read = {
    ...conference({ participants: [me, bob], locked: true }),
    knocks: [{ knock: ERIN, expiresAt: EXPIRES }],
  };
  desk.conference = read;
  await desk.call.reread();
  assert.deepEqual(
    desk.requests.map(({ url }) => url),
    ["/mediaConferences/conf", "/mediaConferences/conf/knocks"],
  );
  assert.deepEqual(waiting(desk), ["k2"]);
  desk.conference = conference({ participants: [me, bob] });
  await desk.call.reread();
  assert.deepEqual(waiting(desk), []);
});

// ── the session that knocks ───────────────────────────────────────────────

/** This side's own knock, with a fake enabler that answers each POST with the ID k1, k2, … */
class Door {
  /** @type {(string | null)[]} */
  states = [];
  /** @type {string[]} */
  requests = [];
  /** Runs before the enabler's answer arrives. */
  meanwhile = () => {};
  #knocks = 0;

  constructor() {
    const rest = { send: (/** @type {any} */ request) => this.#send(request) };
    this.own = new OwnKnock({ rest, conferencesUrl: () => "", onChange: (state) => this.states.push(state) });
  }

  /** @param {{method: string, url: string}} request */
  async #send({ method, url }) {
    this.requests.push(`${method} ${url}`);
    if (method === "POST") this.#knocks += 1;
    this.meanwhile();
    return { status: 200, headers: new Headers(), body: { id: `k${this.#knocks}`, expiresAt: EXPIRES } };
  }
}

test("the state of a knock follows the answers to it", async () => {
  const door = new Door();
  await door.own.knock("conf");
  door.own.learn({ knockId: "other", admitted: true });
  door.own.learn({ knockId: "k1", admitted: false, reason: "denied" });
  await door.own.knock("conf");
  door.own.learn({ knockId: "k2", admitted: false, reason: "expired" });
  await door.own.knock("conf");
  door.own.learn({ knockId: "k3", admitted: true });
  door.own.forget();
  assert.deepEqual(door.states, ["waiting", "denied", "waiting", "expired", "waiting", "admitted", null]);
  assert.deepEqual(door.requests, ["POST /conf/knocks", "POST /conf/knocks", "POST /conf/knocks"]);
});

test("an answer that arrives before the ID of the knock counts", async () => {
  const door = new Door();
  door.meanwhile = () => door.own.learn({ knockId: "k1", admitted: true });
  await door.own.knock("conf");
  assert.equal(door.own.state, "admitted");
});

test("a knock that waits, or was admitted, can be withdrawn", async () => {
  const door = new Door();
  await door.own.knock("conf");
  await door.own.withdraw();
  await door.own.knock("conf");
  door.own.learn({ knockId: "k2", admitted: true });
  await door.own.withdraw();
  assert.deepEqual(
    door.requests.filter((request) => request.startsWith("DELETE")),
    ["DELETE /conf/knocks/k1", "DELETE /conf/knocks/k2"],
  );
  assert.equal(door.own.state, null);
});

test("nothing is withdrawn if no knock waits", async () => {
  const door = new Door();
  await door.own.withdraw();
  await door.own.knock("conf");
  door.own.learn({ knockId: "k1", admitted: false, reason: "denied" });
  await door.own.withdraw();
  assert.deepEqual(door.requests, ["POST /conf/knocks"]);
  assert.equal(door.own.state, null);
});

test("a knock at another conference withdraws the first one", async () => {
  const door = new Door();
  await door.own.knock("one");
  await door.own.knock("two");
  assert.deepEqual(door.requests, ["POST /one/knocks", "DELETE /one/knocks/k1", "POST /two/knocks"]);
  assert.equal(door.own.state, "waiting");
});
