import assert from "node:assert/strict";
import { test } from "node:test";

import { NetworkError } from "../../templates/static/sbe/errors.js";
import { iceUfragOf } from "../../templates/static/sbe/sdp.js";
import { Pair, refusal, settle } from "./support/negotiation.js";

/** @typedef {import("./support/negotiation.js").Side} Side */

/** Break the path of a side's connection. @param {Side} side */
async function breakPath(side) {
  side.pc.become("failed");
  await settle();
}

/** @param {Side} side */
function localUfrag(side) {
  return iceUfragOf(side.pc.currentLocalDescription?.sdp ?? "");
}

test("a host whose path breaks restarts ICE on the same connection at once", async () => {
  const { alice } = await Pair.connected();
  const before = localUfrag(alice);
  await breakPath(alice);
  assert.notEqual(localUfrag(alice), before);
  assert.equal(alice.connections.length, 1);
  assert.deepEqual(alice.slept, []);
});

test("a guest whose path breaks first gives the host three seconds", async () => {
  const { bob } = await Pair.connected();
  await breakPath(bob);
  assert.deepEqual(bob.slept, [3_000]);
  assert.deepEqual(bob.requests, ["initiate-conference-mod"]);
});

test("a guest does not restart a path that works again within three seconds", async () => {
  const { bob } = await Pair.connected();
  bob.sleep = async () => bob.pc.become("connected");
  await breakPath(bob);
  assert.deepEqual(bob.requests, []);
});

test("a path that stays broken is restarted three times, and then given up", async () => {
  const { alice } = await Pair.connected();
  for (let times = 0; times < 4; times += 1) await breakPath(alice);
  assert.equal(alice.requests.length, 3);
  assert.deepEqual(alice.notices, [{ code: "media-lost" }]);
});

test("a path that worked in between is restarted again", async () => {
  const { alice } = await Pair.connected();
  for (let times = 0; times < 4; times += 1) {
    await breakPath(alice);
    alice.pc.become("connected");
  }
  assert.equal(alice.requests.length, 4);
  assert.deepEqual(alice.notices, []);
});

test("the path to a participant who moves is not restarted", async () => {
  const { alice } = await Pair.connected();
  alice.situation.otherMoves = true;
  for (let times = 0; times < 4; times += 1) await breakPath(alice);
  assert.deepEqual(alice.requests, []);
  assert.deepEqual(alice.notices, []);
});

test("the path to a participant whose page has closed is not restarted", async () => {
  const { alice } = await Pair.connected();
  alice.situation.otherIsAway = true;
  await breakPath(alice);
  assert.deepEqual(alice.requests, []);
  assert.deepEqual(alice.notices, []);
});

test("a restart that fails because the other side began to move is not reported", async () => {
  const { alice } = await Pair.connected();
  alice.intercept = () => {
    throw refusal("participant-moving");
  };
  await breakPath(alice);
  assert.equal(alice.requests.length, 1);
  assert.deepEqual(alice.notices, []);
});

test("a restart that fails otherwise is reported", async () => {
  const { alice } = await Pair.connected();
  alice.intercept = () => {
    throw refusal("too-many-offers");
  };
  await breakPath(alice);
  assert.equal(alice.notices[0].code, "media-lost");
});

test("a focus that does not answer an ICE restart is offered a new connection", async () => {
  const { alice } = await Pair.connected();
  alice.situation.hasFocus = true;
  await breakPath(alice);
  assert.equal(alice.connections.length, 1);
  await breakPath(alice);
  assert.equal(alice.connections.length, 2);
});

test("a lost answer makes both sides start afresh, once", async () => {
  const { alice, bob } = await Pair.connected();
  alice.intercept = () => {
    throw new NetworkError("no answer");
  };
  await assert.rejects(alice.negotiator.modify(), NetworkError);
  alice.intercept = () => {};
  await alice.recovery.reconcile();
  await alice.recovery.reconcile();
  assert.equal(alice.connections.length, 2);
  assert.equal(bob.connections.length, 2);
});

test("nothing is reconciled if no answer was lost", async () => {
  const { alice } = await Pair.connected();
  await alice.recovery.reconcile();
  assert.deepEqual(alice.requests, []);
});

test("a lost answer is reconciled only once the call is open", async () => {
  const { alice } = await Pair.connected();
  alice.negotiator.emit("doubt", null);
  alice.situation.isOpen = false;
  await alice.recovery.reconcile();
  assert.deepEqual(alice.requests, []);
  alice.situation.isOpen = true;
  await alice.recovery.reconcile();
  assert.equal(alice.connections.length, 2);
});

test("a focus that went on without this side's answer is offered a new connection", async () => {
  const { alice } = await Pair.connected();
  const { modId } = await alice.negotiator.offer({ action: "initiate-conference-mod", kind: "mod", holding: false });
  await settle();
  alice.situation.hasFocus = true;
  await alice.hear({ type: "mod-rejected", modId, from: { participant: "focus", username: null } });
  await settle();
  assert.equal(alice.connections.length, 2);
});
