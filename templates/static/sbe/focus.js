import { NOTHING, PeerLeg } from "./peer.js";
import { receives, sections, sends } from "./sdp.js";

/**
 * @typedef {import("./peer.js").RemoteMedia} RemoteMedia
 * @typedef {import("./peer.js").PausedVideos} PausedVideos
 * @typedef {import("./peer.js").Role} Role
 */

/** The label of the data channel whose messages the focus relays to the other participants. */
export const CHAT = "chat";

/**
 * The codecs to offer to a focus, each in the profile that every browser has. Chromium lists 18 video formats in every
 * section, which makes an offer to a large conference 200 kB long. The server accepts at most 512 KiB.
 */
const WORTH_OFFERING = /opus|o\/red|telephone|VP8|rtx|VP9 .*id=0|AV1(?! .*profile=[12])|H264 (?=.*mode=1).*id=42e0/i;

/** The focus's labels of tracks. @type {Record<string, keyof RemoteMedia>} */
const NAMES = { audio: "audio", video: "camera", screen: "screen" };

/**
 * The connection with a focus, over which the focus forwards the other participants' tracks.
 *
 * The first sections are for this side's microphone and camera; another participant's tracks arrive on them too. In all
 * sections that the focus adds, this side only receives. The a=msid of a section names the participant and the track:
 * `<participant id> <audio|video|screen>`.
 */
export class FocusLeg extends PeerLeg {
  /** The tracks that arrive, by participant. @type {Map<string, RemoteMedia>} */
  #tracks = new Map();
  /** The videos that the focus has paused for this side, by participant. @type {Record<string, PausedVideos>} */
  paused = {};

  /** @param {RTCPeerConnection} pc */
  constructor(pc) {
    super(pc);
    // The data channel is part of the first offer, so that the first message needs no negotiation.
    this.chat = this.pc.createDataChannel(CHAT);
  }

  /** @override @param {string} participant its ID */
  tracksOf(participant) {
    return { ...(this.#tracks.get(participant) ?? NOTHING), paused: this.paused[participant] };
  }

  /**
   * The focus gives each receiver the layer that fits its connection. Chromium sends only the first layers of a small
   * picture, so a small picture has fewer. The smallest layer comes first.
   *
   * @override @param {MediaStreamTrack | null} track
   */
  layersOf(track) {
    const width = track?.getSettings().width ?? 960;
    const scales = [4, 2, 1].filter((by) => width >= 240 * by);
    return scales.map((by, rid) => ({ rid: `${rid}`, scaleResolutionDownBy: by }));
  }

  /**
   * On a running connection the focus adds sections only for the tracks that it forwards. When the focus starts afresh,
   * it also offers this side's own sections, in their old positions.
   *
   * @override @param {RTCRtpTransceiver} line @returns {Role}
   */
  roleFor(line) {
    const { kind } = line.receiver.track;
    const own = kind === "audio" ? "audio" : "camera";
    return this.has(own) ? "forwarded" : own;
  }

  /** @override @param {RTCRtpTransceiver} line */
  onNewLine(line) {
    const { kind } = line.receiver.track;
    const codecs = RTCRtpReceiver.getCapabilities(kind)?.codecs ?? [];
    // Older browsers cannot choose codecs, and offer all of them.
    line.setCodecPreferences?.(codecs.filter((codec) => WORTH_OFFERING.test(codec.mimeType + " " + codec.sdpFmtpLine)));
  }

  /** @override */
  announce() {
    const now = this.#read();
    if (summary(now) === summary(this.#tracks)) return;
    this.#tracks = now;
    this.emit("media", this.remote);
  }

  /** @returns {Map<string, RemoteMedia>} */
  #read() {
    const tracks = new Map();
    if (this.pc.signalingState === "closed" || this.remoteSdp === null) return tracks;
    const owners = new Map(sections(this.remoteSdp).map(({ mid, msid }) => [mid, msid]));
    for (const line of this.pc.getTransceivers()) {
      const { currentDirection: direction } = line;
      if (direction === null || direction === "stopped" || !receives(direction)) continue;
      const [owner, label] = owners.get(line.mid)?.split(" ") ?? [];
      const name = NAMES[label];
      if (owner && name) tracks.set(owner, { ...NOTHING, ...tracks.get(owner), [name]: line.receiver.track });
    }
    return tracks;
  }
}

/** @param {Map<string, RemoteMedia>} tracks */
function summary(tracks) {
  return JSON.stringify([...tracks].map(([owner, media]) => [owner, Object.values(media).map((track) => track?.id)]));
}

/**
 * @typedef {"audio-on" | "audio-off" | "video-on" | "video-off" | "screen-on" | "screen-off"} Change
 */

/**
 * Return which tracks an offer of the focus turns on and off, and whose they are.
 *
 * @param {string | null} before its previous description
 * @param {string} after
 * @returns {{changes: Change[], who: string[]}}
 */
export function forwardingChanges(before, after) {
  const was = forwarded(before);
  const is = forwarded(after);
  /** @type {Set<string>} */
  const changes = new Set();
  /** @type {Set<string>} */
  const who = new Set();
  for (const track of new Set([...is, ...was])) {
    if (is.has(track) && was.has(track)) continue;
    const [owner, label] = track.split(" ");
    who.add(owner);
    changes.add(`${label.replace(/\d+$/, "")}-${is.has(track) ? "on" : "off"}`);
  }
  return { changes: /** @type {Change[]} */ ([...changes]), who: [...who] };
}

/** @param {string | null} sdp @returns {Set<string>} the `<participant id> <label>` of each track that it sends */
function forwarded(sdp) {
  const lines = sdp === null ? [] : sections(sdp);
  return new Set(lines.flatMap(({ live, direction, msid }) => (live && msid && sends(direction) ? [msid] : [])));
}
