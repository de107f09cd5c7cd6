import assert from "node:assert/strict";
import { test } from "node:test";

import { READ_EVERY_MS, ReceptionJudge, SILENT_MS, together } from "../../templates/static/sbe/reception.js";

/** Bob, whose microphone and camera arrive on the sections 0 and 1 of a connection. */
class Bob {
  judge = new ReceptionJudge();
  at = 10_000;
  /** @type {Map<string, {packets: number, lost: number, ageMs: number | null}>} */
  tracks = new Map();
  /** @type {(string | null)[]} */
  expected = ["0", "1"];
  /** @type {number | null} */
  path = null;
  /** @type {boolean | undefined} */
  noMicrophone = undefined;

  /** Let packets arrive on these sections, and read after a while. @param {string[]} mids */
  hear(mids, { after = READ_EVERY_MS, lost = 0, ageMs = /** @type {number | null} */ (0) } = {}) {
    for (const mid of mids) {
      const { packets, lost: before } = this.tracks.get(mid) ?? { packets: 0, lost: 0 };
      this.tracks.set(mid, { packets: packets + 100, lost: before + lost, ageMs });
    }
    this.at += after;
    const reading = { at: this.at, tracks: new Map(this.tracks), path: this.path };
    const judged = this.judge.judge(new Map([["bob", this.expected]]), reading).get("bob");
    assert.ok(judged);
    const { noMicrophone, ...reception } = judged;
    this.noMicrophone = noMicrophone;
    return reception;
  }

  /** @param {number} ms of silence */
  hearNothing(ms) {
    let reception = this.hear([], { after: 0 });
    for (let passed = 0; passed < ms; passed += 500) reception = this.hear([], { after: 500 });
    return reception.receiving;
  }
}

function live() {
  const bob = new Bob();
  bob.hear(["0", "1"]);
  assert.deepEqual(bob.hear(["0", "1"]), { receiving: "live", signal: 3 });
  return bob;
}

test("a participant whose packets stop is silent within two seconds, with no signal", () => {
  const bob = live();
  assert.ok(SILENT_MS + READ_EVERY_MS < 2_000);
  assert.equal(bob.hearNothing(1_000), "live");
  assert.deepEqual(bob.hear([], { after: 500 }), { receiving: "silent", signal: 0 });
});

test("the time of the last packet counts, not the time of the reading that notices it", () => {
  const bob = live();
  bob.hear(["0"], { after: 500, ageMs: 450 });
  assert.equal(bob.hearNothing(500), "live");
  assert.equal(bob.hearNothing(500), "silent");
});

test("one arriving track is enough", () => {
  const bob = live();
  for (let time = 0; time < 10; time += 1) assert.equal(bob.hear(["0"]).receiving, "live");
});

test("a participant is live again with the first packet", () => {
  const bob = live();
  bob.hearNothing(5_000);
  assert.equal(bob.hear(["1"]).receiving, "live");
});

test("a participant is idle while nothing is expected from it, and that time counts as no silence", () => {
  const bob = live();
  bob.expected = [];
  assert.equal(bob.hearNothing(10_000), "idle");
  bob.expected = ["0"];
  assert.equal(bob.hearNothing(10_000), "idle");
  assert.equal(bob.hear(["0"]).receiving, "live");
});

test("a participant whose camera goes off stays live by its microphone, and may then be muted", () => {
  const bob = live();
  bob.expected = ["0"];
  assert.equal(bob.hear(["0"]).receiving, "live");
  bob.expected = [];
  assert.equal(bob.hearNothing(3_000), "idle");
});

test("a participant that never sent anything is idle", () => {
  assert.equal(new Bob().hearNothing(5_000), "idle");
});

test("a page that was suspended counts none of that time as silence", () => {
  const bob = live();
  assert.equal(bob.hear([], { after: 60_000 }).receiving, "live");
  assert.equal(bob.hear([]).receiving, "silent");
  assert.equal(bob.hear(["0"], { after: 60_000 }).receiving, "live");
});

test("in a throttled tab, one reading a second is enough", () => {
  const bob = live();
  for (let time = 0; time < 5; time += 1) assert.equal(bob.hear(["0"], { after: 1_000 }).receiving, "live");
  assert.equal(bob.hear([], { after: 1_000 }).receiving, "live");
  assert.equal(bob.hear([], { after: 1_000 }).receiving, "silent");
});

test("packets of any kind on the participant's own path show that it lives, but not that it sends", () => {
  const bob = live();
  bob.path = 1;
  bob.hear(["0"]);
  for (let time = 0; time < 5; time += 1) {
    bob.path += 1;
    bob.hear([], { after: 1_000 });
  }
  assert.deepEqual(bob.hear([]), { receiving: "idle", signal: null });
  assert.equal(bob.hearNothing(8_000), "silent");
});

test("a path that carried media is silent as soon as the media is", () => {
  const bob = live();
  for (bob.path = 1; bob.path < 5; bob.path += 1) bob.hear(["0"]);
  assert.equal(bob.hearNothing(2_000), "silent");
});

test("on a path without media, one check of consent in six seconds is enough", () => {
  const bob = live();
  bob.path = 1;
  bob.hear(["0"]);
  bob.hearNothing(3_000);
  for (let time = 0; time < 5; time += 1) {
    bob.path += 1;
    assert.equal(bob.hear([]).receiving, "idle");
    assert.equal(bob.hearNothing(5_500), "idle");
  }
});

test("a participant that should send sound, and has sent none for some time, has no microphone", () => {
  const bob = new Bob();
  bob.hearNothing(1_500);
  assert.equal(bob.noMicrophone, false);
  bob.hearNothing(2_500);
  assert.equal(bob.noMicrophone, true);
  bob.hear(["0"]);
  assert.equal(bob.noMicrophone, false);
  for (let time = 0; time < 8; time += 1) bob.hear(["1"]);
  assert.equal(bob.noMicrophone, true);
  for (let time = 0; time < 8; time += 1) bob.hear(["0"]);
  assert.equal(bob.noMicrophone, false);
});

test("a muted or silent participant does not count as one without a microphone", () => {
  const bob = live();
  bob.expected = [null, "1"];
  for (let time = 0; time < 10; time += 1) bob.hear(["1"]);
  assert.equal(bob.noMicrophone, false);
  bob.hearNothing(5_000);
  assert.ok(!bob.noMicrophone);
});

test("a new connection that counts from zero is no silence", () => {
  const bob = live();
  bob.tracks.clear();
  assert.equal(bob.hearNothing(5_000), "idle");
  assert.equal(bob.hear(["0"]).receiving, "live");
});

test("lost packets weaken the signal", () => {
  const bob = live();
  for (const [lost, signal] of [
    [0, 3],
    [4, 2],
    [20, 1],
  ]) {
    for (let time = 0; time < 8; time += 1) bob.hear(["0"], { lost });
    assert.equal(bob.hear(["0"], { lost }).signal, signal);
  }
});

test("a call is live if anybody is, and silent only if somebody should be heard", () => {
  assert.equal(together(["idle", "silent", "live"]), "live");
  assert.equal(together(["idle", "silent"]), "silent");
  assert.equal(together(["idle"]), "idle");
  assert.equal(together([]), "idle");
});
