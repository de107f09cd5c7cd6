import { byId, initials, setIcon, setText, showTracks } from "./dom.js";
import { linkTo } from "./invite-dialog.js";
import { shortName } from "./join-link.js";
import { canGoOn, canRejoin, hasLeft } from "./leave-dialog.js";
import { preferences } from "./preferences.js";
import { Tiles, isSpeaking } from "./tiles.js";
import {
  bitrateWords,
  durationWords,
  endedWords,
  isSilent,
  listOf,
  otherDevice,
  perceives,
  pictureless,
  ringingWords,
  secondsUntil,
  troubleWords,
  unansweredWords,
} from "./words.js";

/**
 * @typedef {import("../sbe/sbe-client.js").SbeClient} SbeClient
 * @typedef {import("../sbe/call.js").Call} Call
 * @typedef {import("../sbe/stats.js").Quality} Quality
 */

// After this many readings without a new frame the camera counts as off. A client may close its camera without
// announcing that.
const STILL_READINGS = 3;
// From these round trips on, a conversation is hard, or slow.
const SLOW_MS = 500;
const SLUGGISH_MS = 250;

/** The video, the overlays on it, and the row of controls. Each call of `draw` renders the client's whole state. */
export class Stage {
  #stage = byId("stage");
  #remote = /** @type {HTMLVideoElement} */ (byId("remote-video"));
  #inset = /** @type {HTMLVideoElement} */ (byId("remote-inset"));
  #local = /** @type {HTMLVideoElement} */ (byId("local-video"));
  #lastFrames = -1;
  #stillFor = 0;
  /** @type {Quality | null} */
  #quality = null;
  /** The names of the devices that a move rings, as far as they are known. @type {string[]} */
  ringing = [];

  /**
   * @param {SbeClient} client
   * @param {import("./tile-menu.js").TileMenu} menu
   * @param {import("./join-link.js").JoinLink} link
   */
  constructor(client, menu, link) {
    this.client = client;
    this.link = link;
    this.tiles = new Tiles(client, (target, button) => menu.open(target, button));
  }

  draw() {
    const { client } = this;
    const call = client.currentCall;
    const state = client.callState;
    this.#stage.dataset.state = state;
    this.#stage.dataset.topology = call?.topology ?? "";
    this.tiles.draw(call);
    if (call) {
      this.#drawVideo(call);
      this.#drawOverlays(call);
      this.#drawPending(call);
      this.#drawQuality(call);
    }
    this.#drawControls(call);
  }

  /** @param {Quality} quality */
  onQuality(quality) {
    this.#stillFor = quality.framesDecoded > this.#lastFrames ? 0 : this.#stillFor + 1;
    this.#lastFrames = quality.framesDecoded;
    this.#quality = quality;
    this.draw();
  }

  /** Show how well the others' media arrives. @param {Call} call */
  #drawQuality({ receiving, others }) {
    const { rttMs = 0, receivedBps = 0 } = this.#quality ?? {};
    const signal = Math.max(0, ...others.map((other) => other.signal ?? 0));
    const most = (rttMs ?? 0) > SLOW_MS ? 1 : (rttMs ?? 0) > SLUGGISH_MS ? 2 : 3;
    byId("quality-bars").dataset.level = String(Math.min(signal, most));
    const words = receiving === "live" ? bitrateWords(receivedBps) : "";
    setText(byId("quality-text"), words);
    byId("tag-quality").title = `${words ? `Receiving ${words}. ` : ""}Show the connection’s quality.`;
  }

  /** Advance the clock. The page calls it once a second. */
  tick() {
    if (this.client.callState === "moving") this.draw();
    const openedAt = this.client.currentCall?.openedAt;
    if (openedAt && this.client.currentCall?.state !== "ended")
      setText(byId("call-timer"), durationWords((Date.now() - openedAt.getTime()) / 1000));
  }

  async useSpeaker() {
    if ("setSinkId" in this.#remote) await this.#remote.setSinkId(preferences.speaker);
    await this.tiles.useSpeaker();
  }

  /** @param {Call} call */
  #drawVideo(call) {
    // Tracks that arrive through a focus are shown in tiles.
    const { audio, camera, screen } = call.hasFocus ? NOTHING : call.remote;
    showTracks(this.#remote, [screen ?? camera, audio]);
    showTracks(this.#inset, [screen ? camera : null]);
    const [other] = call.others;
    const trouble = other && !call.hasFocus && call.state !== "held" ? troubleWords(other, nameOf(call)) : null;
    // If nothing arrives from a participant any more, its last picture stays, dimmed.
    const moving = this.#stillFor < STILL_READINGS || trouble !== null;
    const picture = screen ? "screen" : camera && moving && call.connection === "connected" ? "camera" : "none";
    this.#stage.dataset.picture = picture;
    this.#inset.hidden = !screen || !camera;
    this.#stage.dataset.trouble = trouble?.state ?? "";
    byId("trouble").hidden = trouble === null || picture === "none";
    setText(byId("trouble-text"), trouble?.words ?? "");

    this.#drawSelf(call);

    const name = nameOf(call);
    byId("placeholder").hidden = picture !== "none" || call.hasFocus;
    this.#drawLonely(call);
    setText(byId("placeholder-avatar"), initials(name));
    setText(byId("placeholder-name"), name);
    setText(byId("placeholder-text"), this.#placeholderWords(call, camera !== null, trouble));
    const inCall =
      ["open", "on-hold", "held"].includes(call.state) ||
      (call.state === "calling" && call.conference?.access === "open");
    byId("tag-name").hidden = !inCall;
    // Empty bars mean that media is missing. If the others send nothing, there is nothing to show.
    byId("tag-quality").hidden = !inCall || call.receiving === "idle";
    setText(byId("tag-username"), name);
    // With several others, each tile shows it.
    byId("tag-mic-off").toggleAttribute("hidden", call.others.length !== 1 || !isSilent(other));
    byId("tag-name").title = other?.noMicrophone ? "No microphone" : "";
  }

  /** Draw this side's own small tile: the camera's picture, or an avatar. @param {Call} call */
  #drawSelf(call) {
    const { media, session } = this.client;
    // A camera that is on hold gives black pictures.
    const camera = media.paused ? null : media.camera;
    const silent = media.muted || media.microphone === null;
    showTracks(this.#local, [camera]);
    this.#local.hidden = camera === null;
    byId("self").hidden = this.tiles.holdsSelf || !["calling", "open", "on-hold", "held"].includes(call.state);
    byId("self-avatar").hidden = camera !== null;
    setText(byId("self-avatar"), initials(session?.username ?? "You"));
    byId("self-mic-off").toggleAttribute("hidden", !silent);
    setText(byId("self-label"), media.paused ? "On hold" : "You");
    byId("self").dataset.paused = String(media.paused);
    byId("self").dataset.speaking = String(isSpeaking(call, media));
    setText(byId("self-state"), silent ? ", microphone off" : "");
  }

  /** While this side is alone in an open conference, show how others can join. @param {Call} call */
  #drawLonely(call) {
    const open = call.conference?.access === "open";
    const alone = call.hasFocus && call.others.length === 0 && ["calling", "open"].includes(call.state);
    byId("lonely").hidden = !alone;
    if (!alone) return;
    setText(byId("lonely-title"), call.confId ? "Nobody else is here yet" : "Starting…");
    setText(byId("lonely-text"), open ? "Anyone can join with this link:" : "");
    byId("lonely-link-row").hidden = !open;
    if (open) /** @type {HTMLInputElement} */ (byId("lonely-link")).value = linkTo(call);
  }

  /** @param {Call} call @param {boolean} expectsPicture @param {ReturnType<typeof troubleWords>} trouble */
  #placeholderWords(call, expectsPicture, trouble) {
    if (call.state === "calling") return ringingWords(call, call.others[0]);
    // The overlay already says that the other side is moving, and the old connection is no longer needed.
    if (call.otherMoves) return "";
    if (trouble?.state === "away") return trouble.words;
    if (call.connection === "failed" || call.connection === "disconnected")
      return "The connection is interrupted. Trying again…";
    if (call.connection !== "connected") return "Connecting…";
    if (trouble) return trouble.words;
    if (expectsPicture) return "The camera is off";
    const { camera, screen } = this.client.media;
    return pictureless(call, call.others[0], camera !== null || screen !== null);
  }

  /** @param {Call} call */
  #drawOverlays(call) {
    const { state } = call;
    const name = nameOf(call);
    // In a conference, a participant's hold is shown on its tile.
    byId("hold-overlay").hidden = state !== "on-hold" && (state !== "held" || call.hasFocus);
    if (state === "on-hold") {
      setIcon(byId("hold-overlay"), "pause");
      const both = !call.hasFocus && call.other?.state === "on-hold" ? ` ${name} put you on hold as well.` : "";
      setText(byId("hold-overlay-text"), "You put the call on hold");
      const { microphone, camera, screen } = this.client.media;
      const withheld = perceives({ audio: microphone !== null, video: camera !== null || screen !== null }, "or");
      const who = call.others.length > 1 ? "The others" : name;
      setText(byId("hold-overlay-sub"), `${withheld ? `${who} cannot ${withheld} you.` : ""}${both}`.trim());
    } else if (state === "held" && !call.hasFocus) {
      const moving = call.otherMoves;
      setIcon(byId("hold-overlay"), moving ? "move" : "pause");
      setText(byId("hold-overlay-text"), moving ? `${name} is moving to another device` : `${name} put you on hold`);
      // With the hold of the design sheet (recvonly) the holder still receives media. The other side should know that.
      const sent = perceives(this.#sent(call));
      setText(
        byId("hold-overlay-sub"),
        moving
          ? "The call continues when it is answered there."
          : sent
            ? `${name} can still ${sent} you.`
            : "Nothing is sent either way.",
      );
    }
    byId("overlay-resume").hidden = state !== "on-hold";

    byId("moved-overlay").hidden = state !== "moving" && state !== "moved";
    byId("moved-done").hidden = state !== "moved";
    if (state === "moving") {
      setText(
        byId("moved-title"),
        this.ringing.length > 0 ? `Ringing ${listOf(this.ringing)}` : "Ringing your other devices",
      );
      const left = secondsUntil(call.ringsUntil);
      setText(
        byId("moved-text"),
        `Answer there to continue with ${name}. If no device answers${left === null ? "" : ` in ${left} s`}, the call ends.`,
      );
    } else if (state === "moved") {
      const device = otherDevice(call.movedTo || "device", this.client.session?.device ?? "");
      setText(byId("moved-title"), call.movedTo ? `Continued on ${device}` : "Continued on another device");
      setText(byId("moved-text"), `Your call with ${name} goes on there. You can close this page.`);
    }

    byId("ended-overlay").hidden = state !== "ended";
    if (state === "ended") {
      const lasted = call.openedAt && this.#endedAfter(call);
      const goesOn = hasLeft(call);
      const left = goesOn || (this.link.isGuest && call.endReason === "here");
      const title = call.openedAt ? "Call ended" : unansweredWords(call.endReason);
      setText(byId("ended-title"), left ? "You left the conference" : title);
      const words = endedWords(call.endReason, endedBy(call), {
        wasOpen: call.openedAt !== null,
        together: wasTogether(call),
        byHost: call.endedBy?.role !== "guest",
      });
      // A guest has no lobby to return to. The guest may join again, unless the conference is over.
      const { isGuest } = this.link;
      const over = OVER.includes(call.endReason);
      const close = isGuest ? "You can close this page." : "";
      const time = goesOn ? `You were there for ${lasted}.` : `It lasted ${lasted}.`;
      const still = goesOn ? "The others are still there." : "";
      setText(byId("ended-text"), [words || still, lasted ? time : "", close].filter(Boolean).join(" "));
      const again = isGuest || canRejoin(call);
      setText(byId("ended-again"), again ? "Join again" : "Call again");
      byId("ended-done").hidden = isGuest;
      const possible = again || (!goesOn && addressesAgain(call).length > 0);
      byId("ended-again").hidden = isGuest ? over : !possible || this.client.session === null;
    }
  }

  /** Return which of this side's tracks reach the other side. @param {Call} call */
  #sent(call) {
    const { microphone, muted, camera, screen } = this.client.media;
    const may = (/** @type {"audio" | "camera" | "screen"} */ role) => Boolean(call.leg?.maySend(role));
    return {
      audio: microphone !== null && !muted && may("audio"),
      video: (camera !== null && may("camera")) || (screen !== null && may("screen")),
    };
  }

  /** @type {WeakMap<Call, string>} */
  #lasted = new WeakMap();

  /** @param {Call} call */
  #endedAfter(call) {
    const lasted =
      this.#lasted.get(call) ?? durationWords((Date.now() - /** @type {Date} */ (call.openedAt).getTime()) / 1000);
    this.#lasted.set(call, lasted);
    return lasted;
  }

  /** @param {Call} call */
  #drawPending(call) {
    const { pending } = call;
    const waits = pending !== null && pending.mine && pending.kind !== "call" && call.state !== "moving";
    byId("mod-pending").hidden = !waits;
    if (!waits) return;
    const waiting = call.hasFocus ? "Waiting for the conference…" : `Waiting for ${nameOf(call)} to accept…`;
    setText(byId("mod-pending-text"), pending.kind === "move" ? "Taking over the call…" : waiting);
    byId("mod-cancel").hidden = pending.kind === "move";
  }

  /** @param {Call | null} call */
  #drawControls(call) {
    const { media } = this.client;
    const state = call?.state ?? "ended";
    const open = state === "open" || state === "held" || state === "on-hold";
    // While the other side's change is being settled, the user's action waits in the client's queue.
    const settled = !call?.pending?.mine;
    const onHold = state === "on-hold";

    const micOff = media.muted || media.microphone === null;
    const cameraOn = media.camera !== null;
    const sharing = media.screen !== null;
    const changeable = open && settled && !onHold;
    control("btn-mic", {
      icon: micOff ? "mic-off" : "mic",
      word: "Mic",
      does: media.microphone === null ? "Turn the mic on" : micOff ? "Unmute mic" : "Mute mic",
      on: !micOff,
      look: (open || state === "calling") && micOff ? "off" : "",
      enabled: open || state === "calling",
      key: "M",
    });
    control("btn-camera", {
      icon: cameraOn ? "video" : "video-off",
      word: "Video",
      does: cameraOn ? "Stop video" : "Start video",
      on: cameraOn,
      look: (open || state === "calling") && !cameraOn ? "off" : "",
      // The user can turn the camera off at any time, and also on before the call opens.
      enabled: changeable || (open && cameraOn && !onHold) || state === "calling",
      key: "V",
    });
    control("btn-screen", {
      icon: sharing ? "screen-off" : "screen",
      word: "Share",
      does: sharing ? "Stop the screen share" : "Share the screen",
      on: sharing,
      look: sharing ? "on" : "",
      enabled: changeable && canShare(),
      key: "S",
    });
    control("btn-hold", {
      icon: onHold ? "play" : "pause",
      word: onHold ? "Resume" : "Hold",
      does: onHold ? "Resume the call" : "Hold the call",
      on: onHold,
      look: onHold ? "on" : "",
      enabled: open && settled,
      key: "H",
    });
    control("btn-move", {
      icon: "move",
      word: "Move",
      does: "Move to another device",
      on: null,
      look: "",
      enabled: open && settled,
      key: "",
    });
    const many = call !== null && call.hasFocus && (call.others.length > 1 || call.conference?.access === "open");
    const ending = state === "calling" && !many ? "Cancel" : many && call.me?.role !== "host" ? "Leave" : "End";
    control("btn-hangup", {
      icon: "hangup",
      word: ending,
      does: many
        ? ending === "End"
          ? canGoOn(call)
            ? "End or leave the conference"
            : "End the conference for everyone"
          : "Leave the conference"
        : `${ending} the call`,
      on: null,
      look: "danger",
      enabled: open || state === "calling" || state === "moving",
      key: "",
    });
    byId("controls").hidden = state === "ended" || state === "moved";
  }
}

/** @type {import("../sbe/peer.js").RemoteMedia} */
const NOTHING = { audio: null, camera: null, screen: null };
const NAMED = 2;
/** The reasons of an end after which the conference is over for everyone. */
const OVER = ["hung-up", "ended-by-support"];

/** @param {Call} call */
export function nameOf(call) {
  const { others } = call;
  if (call.hasFocus && (call.conference?.name || others.length > 1))
    return call.conference?.name || listed(others.map(({ username }) => shortName(username) || "somebody"));
  // A user who is called by number has no name until they answer.
  return shortName(call.other?.username ?? "") || (call.addresses[0] ?? "").replace(/^tel:/, "") || "Open conference";
}

/** The addresses that repeat a call; none after a conference that others started. @param {Call} call */
export function addressesAgain(call) {
  if (call.addresses.length > 0) return call.addresses;
  const wasPair = !wasTogether(call) && call.conference?.access !== "open";
  return wasPair && call.other?.username ? [call.other.username] : [];
}

/** The name of the participant who ended the call. @param {Call} call */
function endedBy(call) {
  return shortName(call.endedBy?.username ?? "") || nameOf(call);
}

/** Whether there were more than two participants. @param {Call} call */
function wasTogether(call) {
  return call.hasFocus && (call.conference?.participants.length ?? 0) > 2;
}

/** @param {string[]} names */
function listed(names) {
  const more = names.length - NAMED;
  if (more > 0) return `${names.slice(0, NAMED).join(", ")} and ${more} more`;
  return names.join(" and ");
}

function canShare() {
  return Boolean(navigator.mediaDevices && "getDisplayMedia" in navigator.mediaDevices);
}

/**
 * @param {string} id
 * @param {{icon: string, word: string, does: string, on: boolean | null, look: string, enabled: boolean, key: string}} looks
 */
function control(id, { icon, word, does, on, look, enabled, key }) {
  const button = /** @type {HTMLButtonElement} */ (byId(id));
  setIcon(button, icon);
  setText(/** @type {Element} */ (button.querySelector(".control-word")), word);
  // The name says what a press does, and contains the visible word (WCAG 2.5.3). An aria-pressed attribute would
  // announce the state twice.
  button.setAttribute("aria-label", does);
  button.title = key && preferences.keys ? `${does} (${key})` : does;
  button.className = `control ${look}`.trim();
  // Not `disabled`: a user who has pressed the button would lose the focus while the change is settled.
  button.setAttribute("aria-disabled", String(!enabled));
  if (on !== null) button.dataset.on = String(on);
}
