import assert from "node:assert/strict";
import { test } from "node:test";

import { CallOver } from "../../templates/static/sbe/errors.js";
import { canGoOn, canRejoin, hasLeft } from "../../templates/static/testpage/leave-dialog.js";
import { Desk, conference, participant } from "./support/conference.js";

/** The parts of the requests that a test compares. @param {Desk} desk */
const sent = (desk) => desk.requests.map(({ method, url, body }) => [method, url, body?.role].filter(Boolean));

/** @param {Desk} desk */
const rolesOf = (desk) => desk.call.conference?.participants.map(({ id, role }) => `${id} ${role}`);

test("a host that hands its role over is a guest, as the enabler confirms", async () => {
  const desk = await Desk.inCall();
  const [me, bob] = [
    { ...desk.me, role: "guest" },
    { ...desk.bob, role: "host" },
  ];
  desk.conference = conference({ participants: [me, bob] });
  await desk.call.makeHost("bob");
  assert.deepEqual(sent(desk), [
    ["PUT", "/mediaConferences/conf/participants/bob/role", "host"],
    ["GET", "/mediaConferences/conf"],
  ]);
  assert.equal(desk.call.me?.role, "guest");
  assert.equal(desk.call.state, "open");
});

test("the others learn which participant is the host now", async () => {
  const desk = await Desk.inCall();
  const carol = participant({ id: "carol" });
  await desk.hear({ type: "participant-joined", participant: carol });
  let changes = 0;
  desk.call.on("change", () => (changes += 1));
  const from = { participant: "alice", username: "alice" };
  await desk.hear({ type: "host-changed", from, participant: { ...carol, role: "host" } });
  assert.deepEqual(rolesOf(desk), ["alice guest", "bob guest", "carol host"]);
  assert.equal(changes, 1);
});

test("a side that leaves ends the call here at once, and asks only for its own end", async () => {
  const desk = await Desk.inCall();
  desk.answer = () => void assert.equal(desk.call.state, "ended");
  await desk.call.leave();
  assert.deepEqual(sent(desk), [["DELETE", "/mediaConferences/conf/participants/alice"]]);
  assert.equal(desk.call.endReason, "here");
  assert.equal(desk.pc.connectionState, "closed");
});

test("a call that was never placed can be left without a request", async () => {
  const desk = new Desk();
  await desk.call.leave();
  assert.deepEqual(desk.actions, []);
  assert.equal(desk.call.state, "ended");
});

test("a side that hangs up asks for the end of the call", async () => {
  const desk = await Desk.inCall();
  await desk.call.hangUp();
  assert.deepEqual(sent(desk), [["DELETE", "/mediaConferences/conf"]]);
});

test("a call is rated as this side's participant, also after its end", async () => {
  const desk = await Desk.inCall();
  await desk.hear({ type: "session-terminated", reason: "hung-up" });
  await desk.call.rate({ stars: 4 });
  await desk.call.rate({ stars: 2, comment: "Choppy." });
  assert.deepEqual(
    desk.requests.map(({ method, url, body }) => [method, url, body]),
    [
      ["PUT", "/mediaConferences/conf/participants/alice/rating", { stars: 4 }],
      ["PUT", "/mediaConferences/conf/participants/alice/rating", { stars: 2, comment: "Choppy." }],
    ],
  );
});

test("a call that was never placed cannot be rated", async () => {
  const desk = new Desk();
  await assert.rejects(desk.call.rate({ stars: 4 }), CallOver);
  assert.deepEqual(desk.actions, []);
});

/** @param {object} fields @returns {any} a call of this side as the host of an open conference with Bob */
const callWith = (fields) => ({
  state: "open",
  hasFocus: true,
  locked: false,
  endReason: "",
  me: participant({ id: "alice", role: "host" }),
  others: [participant({ id: "bob" })],
  conference: conference({ access: "open" }),
  ...fields,
});

test("the page asks a host before the end whenever anybody else is in the conference, also if they are away", () => {
  assert.equal(canGoOn(callWith({})), true);
  assert.equal(canGoOn(callWith({ others: [participant({ id: "bob", away: true })] })), true);
  assert.equal(canGoOn(callWith({ others: [participant({ id: "bob", state: "invited" })] })), false);
  assert.equal(canGoOn(callWith({ others: [] })), false);
  assert.equal(canGoOn(callWith({ conference: conference({}) })), false);
  assert.equal(canGoOn(callWith({ me: participant({ id: "alice" }) })), false);
});

test("who leaves a conference that goes on has left it, and may join again if it is open and not locked", () => {
  const left = { state: "ended", endReason: "here", me: participant({ id: "alice" }) };
  const bothOf = (/** @type {object} */ fields) => [
    hasLeft(callWith({ ...left, ...fields })),
    canRejoin(callWith({ ...left, ...fields })),
  ];
  assert.deepEqual(bothOf({}), [true, true]);
  assert.deepEqual(bothOf({ locked: true }), [true, false]);
  assert.deepEqual(bothOf({ conference: conference({}) }), [false, false]);
  const others = [participant({ id: "bob" }), participant({ id: "carol" })];
  assert.deepEqual(bothOf({ conference: conference({}), others }), [true, false]);
  assert.deepEqual(bothOf({ endReason: "hung-up" }), [false, false]);
  assert.deepEqual(bothOf({ me: participant({ id: "alice", role: "host" }) }), [false, false]);
});
