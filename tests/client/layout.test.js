import assert from "node:assert/strict";
import { test } from "node:test";

import { bestFit, besideStrip } from "../../templates/static/testpage/layout.js";
import { rowsOf } from "../../templates/static/testpage/people-panel.js";
import { participant } from "./support/conference.js";

for (const [count, width, height, columns] of [
  [4, 354, 640, 2],
  [2, 354, 640, 1],
  [3, 354, 640, 1],
  [6, 354, 640, 2],
  [9, 354, 640, 3],
  [4, 740, 800, 2],
  [2, 1400, 720, 2],
  [3, 1400, 720, 2],
  [4, 1400, 720, 2],
]) {
  test(`${count} tiles on ${width} × ${height} px are in ${columns} columns`, () => {
    const fit = bestFit(count, width, height);
    assert.equal(fit.columns, columns);
    assert.ok(fit.tileWidth * columns <= width && fit.tileHeight * Math.ceil(count / columns) <= height);
  });
}

for (const [count, width, height, tileWidth, tileHeight] of [
  [2, 1400, 630, 220, 165],
  [4, 1400, 630, 220, 149],
  [9, 1400, 630, 220, 96],
  [3, 640, 630, 132, 99],
]) {
  test(`${count} tiles beside a front tile on ${width} × ${height} px are ${tileWidth} × ${tileHeight} px`, () => {
    assert.deepEqual(besideStrip(count, width, height), { tileWidth, tileHeight });
  });
}

test("the list of people begins with the hands in their order, and only the host lowers and manages others", () => {
  const tracks = { audio: null, camera: null, screen: null, speaking: false, interrupted: false, weak: false };
  const me = participant({ id: "me", role: "host", muted: { audio: true, video: false } });
  const others = [
    { ...participant({ id: "bob", handRaisedAt: "2030-01-01T00:00:02Z" }), ...tracks },
    { ...participant({ id: "carol", state: "on-hold", device: "Pixel 9" }), ...tracks },
    { ...participant({ id: "dave", handRaisedAt: "2030-01-01T00:00:01Z", state: "moving" }), ...tracks },
    { ...participant({ id: "erin", state: "invited", muted: { audio: true, video: true } }), ...tracks },
    { ...participant({ id: "frank", away: true }), ...tracks },
  ];
  const rows = rowsOf({ me, others: /** @type {any} */ (others) });
  assert.deepEqual(
    rows.map(({ id }) => id),
    ["dave", "bob", "me", "carol", "erin", "frank"],
  );
  assert.deepEqual(
    rows.map(({ detail }) => detail),
    ["Moving to another device", "", "Host", "On hold · Pixel 9", "Ringing…", "Away"],
  );
  assert.deepEqual(
    rows.map(({ muted }) => muted),
    [false, false, true, false, false, false],
  );
  assert.deepEqual(
    rows.filter(({ canBeHost }) => canBeHost).map(({ id }) => id),
    ["bob", "carol"],
  );
  assert.equal(rows[3].device, "smartphone");
  assert.ok(rows.every(({ canLower }) => canLower));
  assert.ok(rows.every(({ manageable, mine }) => manageable !== mine));
  const asGuest = rowsOf({ me: { ...me, role: "guest" }, others: /** @type {any} */ (others) });
  assert.deepEqual(
    asGuest.map(({ canLower, manageable }) => [canLower, manageable]),
    rows.map(({ mine }) => [mine, false]),
  );
});
