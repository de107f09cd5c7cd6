import assert from "node:assert/strict";
import { test } from "node:test";

import { CallOver, Refusal } from "../../templates/static/sbe/errors.js";
import { Desk, conference, participant } from "./support/conference.js";
import { refusal, settle } from "./support/negotiation.js";
import { FakePeerConnection } from "./support/peer-connection.js";

const MOVING = { outcome: "moving", ringsUntil: "2030-01-01T00:00:30Z" };

/** An offer from a new connection of the other side. @returns {Promise<{type: "offer", sdp: string}>} */
async function offerOfAnotherDevice() {
  const pc = new FakePeerConnection();
  pc.addTransceiver("audio");
  return { type: "offer", sdp: (await pc.createOffer()).sdp };
}

// ── move ──────────────────────────────────────────────────────────────────

test("a move offers a hold and then gives the leg up, without waiting for the other side", async () => {
  const desk = await Desk.inCall();
  desk.answer = ({ method }) => (method === "DELETE" ? MOVING : null);
  assert.equal((await desk.call.move()).outcome, "moving");
  assert.deepEqual(desk.actions, ["initiate-call-hold", "DELETE"]);
  assert.equal(desk.call.state, "moving");
  assert.equal(desk.call.ringsUntil, MOVING.ringsUntil);
  assert.equal(desk.pc.connectionState, "closed");
  assert.equal(desk.mediaClosed, 1);
});

test("a call that another device has taken is moved", async () => {
  const desk = await Desk.inCall();
  desk.answer = ({ method }) => (method === "DELETE" ? MOVING : null);
  await desk.call.move();
  await desk.hear({
    type: "participant-moved",
    participant: { ...desk.me, sessionId: "alice-phone", device: "phone" },
  });
  assert.equal(desk.call.state, "moved");
  assert.equal(desk.call.movedTo, "phone");
});

test("a move that no device answers ends the call, with that reason", async () => {
  const desk = await Desk.inCall();
  desk.answer = ({ method }) => (method === "DELETE" ? MOVING : null);
  await desk.call.move();
  await desk.hear({ type: "participant-left", reason: "no-answer", participant: { ...desk.me, state: "left" } });
  assert.equal(desk.call.state, "ended");
  assert.equal(desk.call.endReason, "move-no-answer");
});

test("a move whose window has closed ends the call", async () => {
  const desk = await Desk.inCall();
  desk.answer = ({ method }) => (method === "DELETE" ? { outcome: "left", moveRefused: "window-closed" } : null);
  assert.deepEqual(await desk.call.move(), { outcome: "left", moveRefused: "window-closed" });
  assert.equal(desk.call.endReason, "window-closed");
});

test("if the hold before a move is refused, this side goes on sending", async () => {
  const desk = await Desk.inCall();
  desk.answer = () => {
    throw refusal("no-other-device");
  };
  await assert.rejects(desk.call.move(), { code: "no-other-device" });
  assert.equal(desk.media.paused, false);
  assert.equal(desk.call.state, "open");
});

test("nothing is offered to a side that moves, and its other device replaces the connection", async () => {
  const desk = await Desk.inCall();
  await desk.hear({ type: "participant-moving", participant: { ...desk.bob, state: "moving", sessionId: null } });
  assert.equal(desk.call.state, "held");
  await assert.rejects(desk.call.modify(), { code: "participant-moving" });
  assert.deepEqual(desk.actions, []);
  await desk.hear({ type: "participant-moved", participant: { ...desk.bob, sessionId: "bob-phone" } });
  await desk.hear({
    type: "mod-received",
    modId: "mod-9",
    kind: "move",
    restart: true,
    description: await offerOfAnotherDevice(),
  });
  assert.deepEqual(desk.actions, ["accept-conference-mod"]);
  assert.equal(desk.call.state, "open");
  assert.deepEqual(
    desk.connections.map(({ connectionState }) => connectionState),
    ["closed", "new"],
  );
});

// ── reconnect ─────────────────────────────────────────────────────────────

test("a call that missed nothing stays unchanged after a reconnection", async () => {
  const desk = await Desk.inCall();
  await desk.call.reread();
  await desk.call.reconcile();
  assert.deepEqual(desk.actions, ["GET"]);
});

test("a reconnected call starts afresh if the event that settled an offer was lost", async () => {
  const desk = await Desk.inCall();
  const held = desk.call.hold();
  await settle();
  await desk.call.reread();
  assert.equal(await held, "expired");
  assert.equal(desk.media.paused, false);
  const reconciled = desk.call.reconcile();
  await settle();
  await desk.accept();
  await reconciled;
  assert.deepEqual(desk.actions, ["initiate-conference-hold", "GET", "initiate-conference-mod"]);
  assert.deepEqual(
    desk.connections.map(({ connectionState }) => connectionState),
    ["closed", "new"],
  );
});

test("a call that ended during an interruption is over after the reconnection", async () => {
  const desk = await Desk.inCall();
  desk.conference = conference({ state: "session-terminated" });
  await desk.call.reread();
  assert.equal(desk.call.state, "ended");
  assert.equal(desk.call.endReason, "elsewhere");
});

test("a call that another device took during an interruption is moved after the reconnection", async () => {
  const desk = await Desk.inCall();
  desk.conference = conference({ participants: [{ ...desk.me, sessionId: "alice-phone", device: "phone" }, desk.bob] });
  await desk.call.reread();
  assert.equal(desk.call.state, "moved");
});

test("a reloaded page takes back what is pending and offers a new connection", async () => {
  const desk = new Desk();
  const pendingModifications = [{ modId: "mod-7", kind: "mod", from: "alice", to: "bob", state: "", expiresAt: "" }];
  const me = participant({ ...desk.me, state: "on-hold" });
  const rejoined = desk.call.rejoin(conference({ participants: [me, desk.bob], pendingModifications }));
  await settle();
  assert.deepEqual(desk.actions, ["rejectCancel-conference-mod", "initiate-conference-mod"]);
  assert.match(desk.sdp, /a=recvonly/);
  await desk.accept();
  await rejoined;
  assert.equal(desk.call.state, "on-hold");
  assert.equal(desk.media.paused, true);
});

// ── hold, and the end ─────────────────────────────────────────────────────

test("a hold stops sending at once, and is in force once it is accepted", async () => {
  const desk = await Desk.inCall();
  const held = desk.call.hold();
  assert.equal(desk.media.paused, true);
  await settle();
  assert.equal(desk.call.state, "open");
  await desk.accept();
  assert.equal(await held, "accepted");
  assert.equal(desk.call.state, "on-hold");
});

test("after a rejected hold, this side goes on sending", async () => {
  const desk = await Desk.inCall();
  const held = desk.call.hold();
  await settle();
  await desk.hear({ type: "mod-rejected", modId: desk.call.pending?.modId ?? "" });
  assert.equal(await held, "rejected");
  assert.equal(desk.media.paused, false);
});

test("a call that is hung up ends here at once, whatever the enabler says", async () => {
  const desk = await Desk.inCall();
  desk.answer = () => {
    assert.equal(desk.call.state, "ended");
    throw new Refusal({ status: 404, code: "conference-unknown", detail: "" });
  };
  await desk.call.hangUp();
  assert.equal(desk.call.endReason, "here");
  assert.equal(desk.pc.connectionState, "closed");
});

test("an invitation that was given up while it was sent is taken back", async () => {
  const desk = new Desk();
  desk.answer = ({ method }) => void (method === "POST" && desk.call.hangUp());
  await desk.call.invite(["bob"], { video: false, topology: "peer" });
  assert.deepEqual(desk.actions, ["POST", "DELETE"]);
  assert.equal(desk.call.pending, null);
});

test("an invitation that the enabler refuses ends the call", async () => {
  const desk = new Desk();
  desk.answer = () => {
    throw refusal("callee-unknown");
  };
  await assert.rejects(desk.call.invite(["bob"], { video: false, topology: "peer" }), { code: "callee-unknown" });
  assert.equal(desk.call.endReason, "not-placed");
});

test("an offer that waits when the call ends is settled as ended", async () => {
  const desk = await Desk.inCall();
  const held = desk.call.hold();
  await settle();
  await desk.hear({ type: "session-terminated", reason: "hung-up" });
  assert.equal(await held, "ended");
  await assert.rejects(desk.call.leg?.createOffer(/** @type {any} */ ({})) ?? Promise.resolve(), CallOver);
});

test("a microphone that the host muted is muted here, once", async () => {
  const desk = await Desk.inCall();
  const notices = /** @type {string[]} */ ([]);
  desk.call.on("notice", ({ code }) => notices.push(code));
  const me = { ...desk.me, muted: { audio: true, video: false } };
  await desk.hear({ type: "participant-muted", participant: me });
  await desk.hear({ type: "participant-muted", participant: me });
  assert.equal(desk.media.muted, true);
  assert.deepEqual(notices, ["muted-by-host"]);
});

test("a call tells who ended it: neither who left earlier, nor who left because of the end", async () => {
  const desk = await Desk.inCall();
  const left = { state: /** @type {const} */ ("left"), leftReason: "hung-up" };
  const over = { ...left, leftReason: "conference-ended" };
  const earlier = participant({ id: "dave", role: "host", ...left });
  const carol = participant({ id: "carol" });
  await desk.hear({ type: "participant-joined", participant: carol });
  const participants = [earlier, { ...desk.me, ...over }, { ...desk.bob, ...over }, { ...carol, ...left }];
  const after = conference({ state: "session-terminated", participants });
  await desk.hear({ type: "session-terminated", reason: "hung-up", conference: after });
  assert.equal(desk.call.endedBy?.username, "carol");
});

// ── hands and the clock ───────────────────────────────────────────────────

test("a hand is raised and lowered at the enabler, and keeps its turn", async () => {
  const desk = await Desk.inCall();
  await desk.call.raiseHand();
  const raisedAt = desk.call.me?.handRaisedAt;
  assert.ok(raisedAt);
  await desk.call.raiseHand();
  assert.equal(desk.call.me?.handRaisedAt, raisedAt);
  await desk.call.raiseHand(false);
  assert.equal(desk.call.me?.handRaisedAt, null);
  assert.deepEqual(
    desk.requests.map(({ method, url, body }) => [method, url, body.raised]),
    [true, true, false].map((raised) => ["PUT", "/mediaConferences/conf/participants/alice/hand", raised]),
  );
});

test("the hands of others are known from events, and the host lowers them", async () => {
  const desk = await Desk.inCall();
  const bob = { ...desk.bob, handRaisedAt: "2030-01-01T00:00:00Z" };
  await desk.hear({ type: "participant-hand", participant: bob });
  assert.equal(desk.call.others[0].handRaisedAt, bob.handRaisedAt);
  await desk.call.lowerHand("bob");
  assert.equal(desk.requests.at(-1)?.url, "/mediaConferences/conf/participants/bob/hand");
  assert.equal(desk.call.others[0].handRaisedAt, null);
});

test("a refused hand stays down", async () => {
  const desk = await Desk.inCall();
  desk.answer = () => {
    throw refusal("rate-limited");
  };
  await assert.rejects(desk.call.raiseHand(), Refusal);
  assert.equal(desk.call.me?.handRaisedAt ?? null, null);
});

for (const [how, reason, openedAt, isContinued] of /** @type {const} */ ([
  ["a device that takes a call over goes on", "move", "2020-01-01T00:00:00.000Z", true],
  ["a device that answers a call begins", "call", "2020-01-01T00:00:00.000Z", false],
  ["a clock that is behind the enabler's begins", "move", "2999-01-01T00:00:00.000Z", false],
])) {
  test(`${how} the clock of the call`, async () => {
    const desk = new Desk();
    const before = Date.now();
    const state = reason === "move" ? "session-open" : "invitation-sent";
    desk.conference = conference({ state: "session-open", openedAt, participants: [desk.me, desk.bob] });
    await desk.call.answer({ conference: conference({ state }), reason }, { video: false });
    const at = desk.call.openedAt?.getTime() ?? 0;
    if (isContinued) assert.equal(at, Date.parse(openedAt));
    else assert.ok(at >= before && at <= Date.now());
  });
}
