import assert from "node:assert/strict";
import { test } from "node:test";

import { CallOver, NetworkError, Refusal } from "../../templates/static/sbe/errors.js";
import { iceUfragOf, originOf } from "../../templates/static/sbe/sdp.js";
import { Pair, refusal, settle } from "./support/negotiation.js";
import { track } from "./support/peer-connection.js";

const HOLD = { action: "initiate-conference-hold", kind: "hold", holding: true };

// ── an offer and its answer ───────────────────────────────────────────────

test("an accepted offer is in force on both sides", async () => {
  const { alice, bob } = await Pair.connected();
  alice.wishes.camera = track("video");
  assert.equal(await alice.negotiator.modify(), "accepted");
  assert.notEqual(bob.negotiator.leg?.remote.camera, null);
  assert.equal(alice.negotiator.leg?.maySend("camera"), true);
  assert.equal(alice.negotiator.pending ?? bob.negotiator.pending, null);
});

test("an offer on a running connection comes into force only with its answer", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { settled } = await alice.negotiator.offer(HOLD);
  await settle();
  assert.equal(alice.pc.signalingState, "stable");
  assert.equal(alice.negotiator.holding, false);
  await bob.negotiator.accept();
  assert.equal(await settled, "accepted");
  assert.equal(alice.negotiator.holding, true);
});

test("an answer comes into force only once the enabler has taken it", async () => {
  const { alice, bob } = await Pair.connected();
  const states = /** @type {string[]} */ ([]);
  bob.intercept = () => states.push(bob.pc.signalingState);
  await alice.negotiator.modify();
  assert.deepEqual(states, ["have-remote-offer"]);
  assert.equal(bob.pc.signalingState, "stable");
});

test("an answer to a focus is in force before it is sent, because the focus sends at once", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.hasFocus = true;
  const states = /** @type {string[]} */ ([]);
  bob.intercept = () => states.push(bob.pc.signalingState);
  await alice.negotiator.modify();
  await settle();
  assert.deepEqual(states, ["stable"]);
  assert.equal(bob.negotiator.pending, null);
});

test("an event that arrives twice is answered once", async () => {
  const { alice, bob } = await Pair.connected();
  const { modId, description, settled } = await alice.negotiator.offer(HOLD);
  await settled;
  await bob.hear({ type: "mod-received", modId, kind: "hold", description });
  assert.deepEqual(bob.requests, ["accept-conference-mod"]);
});

test("a connection that is closed ends what is pending", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { settled } = await alice.negotiator.offer(HOLD);
  alice.negotiator.close();
  assert.equal(await settled, "ended");
  assert.equal(alice.pc.connectionState, "closed");
});

test("an offer that was on its way when the call ended fails with CallOver", async () => {
  const { alice } = await Pair.connected();
  alice.intercept = () => {
    alice.situation.isOpen = false;
  };
  await assert.rejects(alice.negotiator.modify(), CallOver);
  assert.equal(alice.negotiator.pending, null);
});

// ── glare ─────────────────────────────────────────────────────────────────

test("of two simultaneous offers both are accepted in the end", async () => {
  const pair = await Pair.connected();
  const { alice, bob } = pair;
  alice.wishes.camera = bob.wishes.camera = track("video");
  const outcomes = await Promise.all([alice.negotiator.modify(), bob.negotiator.modify()]);
  assert.deepEqual(outcomes, ["accepted", "accepted"]);
  assert.ok(pair.refused > 0, "there was no glare");
  assert.notEqual(alice.negotiator.leg?.remote.camera, null);
  assert.notEqual(bob.negotiator.leg?.remote.camera, null);
});

test("the loser of a glare waits until the winner's offer is settled, then offers again", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const winner = await alice.negotiator.offer(HOLD);
  const loser = bob.negotiator.modify();
  await settle();
  // Bob's side already has the winner's offer, so the loser's offer is not even sent.
  assert.deepEqual(bob.requests, []);
  await bob.negotiator.accept();
  assert.equal(await winner.settled, "accepted");
  assert.equal(await loser, "accepted");
  assert.deepEqual(bob.requests, ["accept-conference-mod", "initiate-conference-mod"]);
  const [limit, pause] = bob.slept;
  assert.equal(limit, 31_000);
  assert.ok(pause >= 50 && pause <= 200, `it paused for ${pause} ms`);
});

test("an offer is given up after it has lost eight times", async () => {
  const { alice } = await Pair.connected();
  alice.intercept = () => {
    throw refusal("modification-pending");
  };
  alice.sleep = async () => undefined;
  await assert.rejects(
    alice.negotiator.modify(),
    (error) => error instanceof Refusal && error.code === "modification-pending",
  );
  assert.equal(alice.requests.length, 8);
});

// ── rollback ──────────────────────────────────────────────────────────────

test("a rejected offer leaves everything as it was", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { settled } = await alice.negotiator.offer(HOLD);
  assert.deepEqual(alice.directions, ["recvonly"]);
  await settle();
  await bob.negotiator.reject();
  assert.equal(await settled, "rejected");
  assert.deepEqual(alice.directions, ["sendrecv"]);
  assert.equal(alice.negotiator.holding, false);
  assert.deepEqual(alice.notices, [{ code: "mine-rejected", kind: "hold", reason: undefined }]);
});

test("the section of a rejected screen is used again by the next one", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  alice.wishes.screen = track("video");
  const rejected = alice.negotiator.modify();
  await settle();
  await bob.negotiator.reject();
  assert.equal(await rejected, "rejected");
  assert.deepEqual(alice.directions, ["sendrecv", "inactive"]);
  bob.situation.asksFirst = false;
  assert.equal(await alice.negotiator.modify(), "accepted");
  assert.deepEqual(alice.directions, ["sendrecv", "sendonly"]);
});

test("a cancelled offer leaves everything as it was, and the other side is no longer asked", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { settled } = await alice.negotiator.offer(HOLD);
  await settle();
  assert.equal(bob.pending.asking, true);
  await alice.negotiator.cancel();
  assert.equal(await settled, "cancelled");
  await settle();
  assert.deepEqual(alice.directions, ["sendrecv"]);
  assert.equal(bob.negotiator.pending, null);
  assert.equal(bob.notices[0].code, "theirs-cancelled");
});

test("an offer that the enabler refuses is rolled back", async () => {
  const { alice } = await Pair.connected();
  alice.intercept = () => {
    throw refusal("too-many-offers");
  };
  await assert.rejects(alice.negotiator.offer(HOLD), { code: "too-many-offers" });
  assert.deepEqual(alice.directions, ["sendrecv"]);
  assert.equal(alice.negotiator.pending, null);
  assert.equal(alice.doubts, 0);
});

test("an offer without an answer from the enabler is rolled back, and leaves doubt", async () => {
  const { alice } = await Pair.connected();
  alice.intercept = () => {
    throw new NetworkError("no answer");
  };
  await assert.rejects(alice.negotiator.offer(HOLD), NetworkError);
  assert.deepEqual(alice.directions, ["sendrecv"]);
  assert.equal(alice.doubts, 1);
});

test("an offer is not sent while the other side moves", async () => {
  const { alice } = await Pair.connected();
  alice.situation.otherMoves = true;
  await assert.rejects(alice.negotiator.modify(), { code: "participant-moving" });
  assert.deepEqual(alice.requests, []);
});

// ── answers that come to nothing ──────────────────────────────────────────

test("an answer that arrives after its offer was cancelled is ignored", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { modId, description, settled } = await alice.negotiator.offer(HOLD);
  await settle();
  await alice.negotiator.cancel();
  await settled;
  const before = alice.pc.currentRemoteDescription;
  await alice.hear({ type: "mod-accepted", modId, description: { type: "answer", sdp: description.sdp } });
  assert.equal(alice.pc.currentRemoteDescription, before);
  assert.equal(alice.negotiator.holding, false);
});

test("an answer to an offer other than the pending one is ignored", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { description } = await alice.negotiator.offer(HOLD);
  await alice.hear({ type: "mod-accepted", modId: "mod-0", description: { type: "answer", sdp: description.sdp } });
  assert.equal(alice.pending.modId, "mod-1");
  assert.equal(alice.negotiator.holding, false);
});

test("an answer that comes too late is taken back, and the current state is offered once more", async () => {
  const pair = await Pair.connected();
  const { alice, bob } = pair;
  const before = bob.pc.currentRemoteDescription;
  const inForce = /** @type {unknown[]} */ ([]);
  bob.intercept = (action) => {
    inForce.push(bob.pc.currentRemoteDescription);
    if (action !== "accept-conference-mod") return;
    // The offer expires before the enabler handles bob's answer.
    pair.pending = null;
    void alice.hear({ type: "mod-expired", modId: "mod-1" });
  };
  const { settled } = await alice.negotiator.offer(HOLD);
  assert.equal(await settled, "expired");
  await settle();
  assert.deepEqual(bob.requests, ["accept-conference-mod", "initiate-conference-mod"]);
  assert.deepEqual(inForce, [before, before]);
  assert.equal(bob.pc.signalingState, "stable");
  assert.equal(alice.pc.signalingState, "stable");
  assert.equal(alice.negotiator.holding, false);
});

test("an answer to a focus that comes too late leaves doubt, because it cannot be taken back", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.hasFocus = true;
  bob.intercept = () => {
    throw refusal("modification-settled");
  };
  let contradictions = 0;
  bob.negotiator.on("contradiction", () => (contradictions += 1));
  const { description } = await alice.negotiator.offer(HOLD);
  await bob.hear({ type: "mod-received", modId: "mod-9", kind: "mod", description }).catch(() => undefined);
  assert.ok(bob.doubts > 0);
  assert.ok(contradictions > 0);
});

test("an offer that this browser cannot use is rejected", async () => {
  const { alice, bob } = await Pair.connected();
  bob.pc.setRemoteDescription = async () => {
    throw new DOMException("unusable", "OperationError");
  };
  assert.equal(await alice.negotiator.modify(), "rejected");
  assert.deepEqual(bob.requests, ["rejectCancel-conference-mod"]);
  assert.equal(bob.notices[0].code, "unusable-offer");
  assert.equal(bob.negotiator.pending, null);
});

test("a call with a focus that rejects its first offer is hopeless", async () => {
  const { alice } = new Pair();
  alice.situation.hasFocus = true;
  alice.negotiator.begin();
  const description = await alice.negotiator.firstOffer();
  alice.negotiator.expectAnswer({ modId: "call", kind: "call", description });
  const reasons = /** @type {string[]} */ ([]);
  alice.negotiator.on("hopeless", (reason) => reasons.push(reason));
  await alice.hear({ type: "mod-rejected", modId: "call", reason: "codec-mismatch" });
  assert.deepEqual(reasons, ["codec-mismatch"]);
});

// ── restart ───────────────────────────────────────────────────────────────

test("an offer from another connection is answered with a new one, which replaces the old", async () => {
  const { alice, bob } = await Pair.connected();
  const [before] = bob.connections;
  assert.equal(await alice.negotiator.modify({ fresh: true }), "accepted");
  assert.equal(alice.connections.length, 2);
  assert.equal(bob.connections.length, 2);
  assert.equal(before.connectionState, "closed");
  assert.equal(alice.connections[0].connectionState, "closed");
  assert.equal(bob.pc, bob.connections[1]);
});

test("a new connection whose offer is rejected is closed, and the old one stays", async () => {
  const { alice, bob } = await Pair.connected();
  const [before] = alice.connections;
  bob.hear = async () => undefined;
  const rejected = alice.negotiator.modify({ fresh: true });
  await settle();
  await alice.hear({ type: "mod-rejected", modId: alice.pending.modId });
  assert.equal(await rejected, "rejected");
  assert.equal(alice.pc, before);
  assert.equal(before.connectionState, "new");
  assert.equal(alice.connections[1].connectionState, "closed");
});

test("a new connection whose offer the enabler refuses is closed, and the old one stays", async () => {
  const { alice } = await Pair.connected();
  const [before] = alice.connections;
  alice.intercept = () => {
    throw refusal("too-many-offers");
  };
  await assert.rejects(alice.negotiator.modify({ fresh: true }), { code: "too-many-offers" });
  assert.equal(alice.pc, before);
  assert.equal(alice.connections[1].connectionState, "closed");
});

test("an ICE restart keeps the connection and brings new credentials", async () => {
  const { alice, bob } = await Pair.connected();
  const before = bob.pc.currentRemoteDescription?.sdp ?? "";
  assert.equal(await alice.negotiator.modify({ iceRestart: true }), "accepted");
  const after = bob.pc.currentRemoteDescription?.sdp ?? "";
  assert.equal(originOf(after), originOf(before));
  assert.notEqual(iceUfragOf(after), iceUfragOf(before));
  assert.equal(bob.connections.length, 1);
});

test("a rebuilt connection is accepted without asking", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  assert.equal(await alice.negotiator.modify({ fresh: true }), "accepted");
});

// ── asking first ──────────────────────────────────────────────────────────

test("a user who wants to be asked is asked before the other side sends more, never before it sends less", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  alice.wishes.camera = track("video");
  const more = alice.negotiator.modify();
  await settle();
  assert.deepEqual(bob.pending.changes, ["video-on"]);
  await bob.negotiator.accept();
  assert.equal(await more, "accepted");
  alice.wishes.camera = null;
  assert.equal(await alice.negotiator.modify(), "accepted");
});

// ── lost events ───────────────────────────────────────────────────────────

test("a modification that the enabler no longer knows is undone, and leaves doubt", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { settled } = await alice.negotiator.offer(HOLD);
  await alice.negotiator.compare([]);
  assert.equal(await settled, "expired");
  assert.deepEqual(alice.directions, ["sendrecv"]);
  assert.equal(alice.doubts, 1);
});

test("a modification that the enabler still knows stays pending", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { modId } = await alice.negotiator.offer(HOLD);
  await alice.negotiator.compare([{ modId, kind: "hold", from: "", to: "", state: "", expiresAt: "" }]);
  assert.equal(alice.pending.modId, modId);
  assert.equal(alice.doubts, 0);
});

test("the other side's offer ends a pending offer if the event that settled it was lost", async () => {
  const { alice, bob } = await Pair.connected();
  bob.situation.asksFirst = true;
  const { settled } = await alice.negotiator.offer(HOLD);
  await settle();
  const { hear } = alice;
  alice.hear = async () => undefined;
  await bob.negotiator.reject();
  alice.hear = hear;
  assert.equal(await bob.negotiator.modify(), "accepted");
  assert.equal(await settled, "expired");
  assert.deepEqual(alice.directions, ["sendrecv"]);
});
