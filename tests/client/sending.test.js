import assert from "node:assert/strict";
import { test } from "node:test";

import { Sending } from "../../templates/static/sbe/sending.js";
import { refusal } from "./support/negotiation.js";
import { track } from "./support/peer-connection.js";

/** Local media without devices. */
class FakeMedia {
  microphone = track("audio");
  /** @type {MediaStreamTrack | null} */
  camera = null;
  /** @type {MediaStreamTrack | null} */
  screen = null;
  muted = false;
  paused = false;

  async openCamera() {
    this.camera = track("video");
  }

  async openScreen() {
    this.screen = track("video");
  }

  /** @param {"camera" | "screen"} name */
  close(name) {
    this[name] = null;
  }
}

/** `Sending` with fakes around it. The fake negotiator settles each offer as the test says. */
class Desk {
  media = new FakeMedia();
  situation = {
    hasFocus: false,
    isOpen: true,
    isOnHold: false,
    isHost: true,
    otherMoves: false,
    otherIsAway: false,
    asksFirst: false,
  };
  outcome = "accepted";
  maySend = false;
  holding = false;
  /** @type {object | null} */
  pending = null;
  offers = 0;
  confirmed = 0;
  unmuted = 0;
  /** @type {(string | undefined)[]} */
  notices = [];

  constructor() {
    const desk = this;
    this.sending = new Sending({
      media: /** @type {any} */ (this.media),
      negotiator: /** @type {any} */ ({
        leg: { maySend: () => desk.maySend },
        get pending() {
          return desk.pending;
        },
        get holding() {
          return desk.holding;
        },
        modify: async () => desk.settle(),
        offer: async () => ({ settled: desk.settle() }),
        confirm: () => (desk.confirmed += 1),
      }),
      situation: this.situation,
      holdDirection: () => "inactive",
      unmuteVideo: async () => void (desk.unmuted += 1),
    });
    this.sending.on("notice", ({ kind }) => this.notices.push(kind));
  }

  async settle() {
    this.offers += 1;
    if (this.outcome === "refused") throw refusal("rate-limited");
    return this.outcome;
  }
}

test("a camera is opened and offered", async () => {
  const desk = new Desk();
  assert.equal(await desk.sending.addVideo(), "accepted");
  assert.equal(desk.offers, 1);
  assert.notEqual(desk.media.camera, null);
  assert.equal(desk.sending.wishes(false).video, true);
  assert.equal(desk.unmuted, 1);
});

test("a camera that is not accepted is closed again", async () => {
  const desk = new Desk();
  desk.outcome = "rejected";
  assert.equal(await desk.sending.addVideo(), "rejected");
  assert.equal(desk.media.camera, null);
  assert.equal(desk.sending.wishes(false).video, false);
});

test("a camera whose offer the enabler refuses is closed again", async () => {
  const desk = new Desk();
  desk.outcome = "refused";
  await assert.rejects(desk.sending.addVideo(), { code: "rate-limited" });
  assert.equal(desk.media.camera, null);
});

test("a camera needs no offer if the description in force allows it, or during a hold", async () => {
  const desk = new Desk();
  desk.maySend = true;
  assert.equal(await desk.sending.addVideo(), "accepted");
  desk.maySend = false;
  desk.situation.isOnHold = true;
  assert.equal(await desk.sending.addVideo(), "accepted");
  assert.equal(desk.offers, 0);
});

test("a camera is off at once, even if the offer that says so is refused", async () => {
  const desk = new Desk();
  await desk.media.openCamera();
  desk.maySend = true;
  desk.outcome = "refused";
  const stopped = desk.sending.stopVideo();
  assert.equal(desk.media.camera, null);
  await stopped;
  assert.equal(desk.offers, 1);
});

test("a camera that sends nothing is turned off without an offer", async () => {
  const desk = new Desk();
  await desk.media.openCamera();
  await desk.sending.stopVideo();
  assert.equal(desk.offers, 0);
});

test("a camera that is turned off while an offer with it is pending is offered again", async () => {
  const desk = new Desk();
  await desk.media.openCamera();
  desk.pending = {};
  await desk.sending.stopVideo();
  assert.equal(desk.offers, 1);
});

test("a camera that is switched before the call opens is confirmed once the call is open", async () => {
  const desk = new Desk();
  desk.situation.isOpen = false;
  await desk.media.openCamera();
  await desk.sending.stopVideo();
  assert.equal(desk.media.camera, null);
  assert.equal(await desk.sending.addVideo(), "accepted");
  assert.equal(desk.sending.wishes(false).video, true);
  assert.equal(desk.offers, 0);
  desk.situation.isOpen = true;
  desk.sending.catchUp();
  desk.sending.catchUp();
  assert.equal(desk.confirmed, 1);
});

test("a call whose camera was not switched before it opened confirms nothing", () => {
  const desk = new Desk();
  desk.media.camera = track("video");
  desk.sending.catchUp();
  assert.equal(desk.confirmed, 0);
});

test("a screen that is not accepted is closed again", async () => {
  const desk = new Desk();
  desk.outcome = "expired";
  assert.equal(await desk.sending.shareScreen(), "expired");
  assert.equal(desk.media.screen, null);
});

test("a screen share is stopped by an offer only while the screen is sent", async () => {
  const desk = new Desk();
  assert.equal(await desk.sending.stopScreen(), "accepted");
  assert.equal(desk.offers, 0);
  desk.maySend = true;
  await desk.sending.stopScreen();
  assert.equal(desk.offers, 1);
});

test("a hold that is rejected leaves an earlier hold in force", async () => {
  const desk = new Desk();
  desk.holding = true;
  desk.outcome = "rejected";
  assert.equal(await desk.sending.hold(), "rejected");
  assert.equal(desk.media.paused, true);
});

test("a mute of video by the host closes camera and screen, and confirms that", () => {
  const desk = new Desk();
  desk.media.camera = track("video");
  desk.sending.followMute({ audio: false, video: true });
  desk.sending.followMute({ audio: false, video: true });
  assert.equal(desk.media.camera, null);
  assert.equal(desk.confirmed, 1);
  assert.deepEqual(desk.notices, ["video"]);
});

test("a hold offers the direction that the application chose", () => {
  const { sending } = new Desk();
  assert.equal(sending.wishes(true).hold, "inactive");
  assert.equal(sending.wishes(false).hold, null);
});

test("a focus is always offered a video section", () => {
  const desk = new Desk();
  assert.equal(desk.sending.wishes(false).video, false);
  desk.situation.hasFocus = true;
  assert.equal(desk.sending.wishes(false).video, true);
});
