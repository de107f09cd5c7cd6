import assert from "node:assert/strict";
import { test } from "node:test";

import { Roster } from "../../templates/static/sbe/roster.js";
import { conference, participant } from "./support/conference.js";

const SILENT = { audio: null, camera: null, screen: null };

/** @param {Partial<import("../../templates/static/sbe/types.js").Participant>[]} participants */
function rosterOf(...participants) {
  const roster = new Roster({ sessionId: () => "mine", tracksOf: () => SILENT });
  roster.learn(conference({ participants: participants.map(participant) }));
  return roster;
}

test("this side's participant is the one with its session", () => {
  const roster = rosterOf({ id: "a", sessionId: "theirs" }, { id: "b", sessionId: "mine" });
  assert.equal(roster.me?.id, "b");
  assert.deepEqual(
    roster.others.map(({ id }) => id),
    ["a"],
  );
});

test("if two participants have this session, this side's is the one that has not left", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b", sessionId: "mine", state: "left" });
  assert.equal(roster.me?.id, "a");
});

test("participants who have left are not among the others", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b", state: "left" }, { id: "c", state: "invited" });
  assert.deepEqual(
    roster.others.map(({ id }) => id),
    ["c"],
  );
});

test("the other side of a call keeps its name after leaving", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b", username: "bob", state: "left" });
  assert.equal(roster.other?.username, "bob");
});

test("the order of the participants stays the same when one changes", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" }, { id: "c" });
  roster.learnParticipant(participant({ id: "b", state: "on-hold" }));
  roster.learnParticipant(participant({ id: "d" }));
  assert.deepEqual(
    roster.others.map(({ id, state }) => `${id} ${state}`),
    ["b on-hold", "c accepted", "d accepted"],
  );
});

test("a participant with a session of another device has been taken over", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" });
  assert.equal(roster.isTakenOver, false);
  roster.learnParticipant(participant({ id: "a", sessionId: "phone" }));
  assert.equal(roster.isTakenOver, true);
});

test("a participant between two devices has not been taken over yet", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" });
  roster.learnParticipant(participant({ id: "a", sessionId: null, state: "moving" }));
  assert.equal(roster.isTakenOver, false);
});

test("a conference is held only while all others who are present are on hold or moving", () => {
  const roster = rosterOf(
    { id: "a", sessionId: "mine" },
    { id: "b", state: "on-hold" },
    { id: "c" },
    { id: "d", state: "invited" },
  );
  assert.equal(roster.isHeld, false);
  roster.learnParticipant(participant({ id: "c", state: "moving" }));
  assert.equal(roster.isHeld, true);
});

test("an empty conference is not held", () => {
  assert.equal(rosterOf({ id: "a", sessionId: "mine" }, { id: "b", state: "left" }).isHeld, false);
});

test("a speaker is marked among the others until another one speaks", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" }, { id: "c" });
  const speakers = () => roster.others.filter(({ speaking }) => speaking).map(({ id }) => id);
  roster.learnSpeaker({ type: "active-speaker", confId: "conf", participant: "b" });
  assert.deepEqual(speakers(), ["b"]);
  roster.learnSpeaker({ type: "active-speaker", confId: "conf", participant: "c" });
  assert.deepEqual(speakers(), ["c"]);
});

test("trouble with a connection is shown until the connection is fine again", (context) => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" });
  context.after(() => roster.forgetTrouble("b"));
  const looks = () => roster.others.map(({ interrupted, weak }) => ({ interrupted, weak }));
  roster.learnQuality({ type: "quality", confId: "conf", participant: "b", connection: "poor" });
  assert.deepEqual(looks(), [{ interrupted: false, weak: true }]);
  roster.learnQuality({ type: "quality", confId: "conf", participant: "b", connection: "disconnected" });
  assert.deepEqual(looks(), [{ interrupted: true, weak: false }]);
  roster.learnQuality({ type: "quality", confId: "conf", participant: "b", connection: "connected" });
  assert.deepEqual(looks(), [{ interrupted: false, weak: false }]);
});

test("trouble is forgotten after 20 s if the event that ends it was lost", (context) => {
  const timers = /** @type {{run: () => void, ms: number | undefined}[]} */ ([]);
  const schedule = /** @type {any} */ (
    (/** @type {() => void} */ run, /** @type {number} */ ms) => timers.push({ run, ms })
  );
  context.mock.method(globalThis, "setTimeout", schedule);
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" });
  let changes = 0;
  roster.on("change", () => (changes += 1));
  roster.learnQuality({ type: "quality", confId: "conf", participant: "b", connection: "poor" });
  const [{ run, ms }] = timers;
  assert.equal(ms, 20_000);
  run();
  assert.equal(roster.others[0].weak, false);
  assert.equal(changes, 1);
});

test("what arrives from a participant is part of it, and a change of it is reported once", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" });
  let changes = 0;
  roster.on("change", () => (changes += 1));
  assert.deepEqual([roster.others[0].receiving, roster.others[0].signal], ["idle", null]);
  for (let time = 0; time < 3; time += 1) roster.learnReceptions(new Map([["b", { receiving: "silent", signal: 0 }]]));
  assert.deepEqual([roster.others[0].receiving, roster.others[0].signal], ["silent", 0]);
  assert.equal(changes, 1);
  roster.learnReceptions(new Map());
  assert.equal(roster.others[0].receiving, "idle");
  assert.equal(changes, 2);
});

test("the speaker who goes on hold is no longer the speaker, also after the hold", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" });
  roster.learnSpeaker({ type: "active-speaker", confId: "conf", participant: "b" });
  assert.equal(roster.others[0].speaking, true);
  for (const state of /** @type {const} */ (["on-hold", "accepted"])) {
    roster.learnParticipant(participant({ id: "b", state }));
    assert.deepEqual([roster.speaker, roster.others[0].speaking], [null, false]);
  }
});

test("a participant whose page has closed is away until it is back", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" });
  for (const away of [true, false]) {
    roster.learnParticipant(participant({ id: "b", away }));
    assert.equal(roster.others[0].away, away);
  }
});

test("nothing arrives any more from a participant whose page has closed, unless nothing was expected", () => {
  const roster = rosterOf({ id: "a", sessionId: "mine" }, { id: "b" }, { id: "c" });
  roster.learnReceptions(new Map([["b", { receiving: "live", signal: 3 }]]));
  for (const id of ["b", "c"]) roster.learnParticipant(participant({ id, away: true }));
  const [b, c] = roster.others;
  assert.deepEqual([b.receiving, b.signal, c.receiving, c.signal], ["silent", 0, "idle", null]);
});
