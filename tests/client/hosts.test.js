import assert from "node:assert/strict";
import { test } from "node:test";

import { CallOver } from "../../templates/static/sbe/errors.js";
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
