import { Emitter } from "./emitter.js";
import { CallOver } from "./errors.js";
import { iceUfragOf, markSlides, originOf, receives, sections, sends, withoutUnlisted } from "./sdp.js";

/**
 * @typedef {import("./types.js").Description} Description
 * @typedef {"audio" | "camera" | "screen" | "remote-screen" | "forwarded"} Role what this side uses a transceiver for
 *
 * @typedef {object} Wishes what this side wants to send and receive
 * @property {MediaStreamTrack | null} audio
 * @property {MediaStreamTrack | null} camera
 * @property {MediaStreamTrack | null} screen
 * @property {boolean} video offer a video section even without a camera, to see the other side
 * @property {"recvonly" | "inactive" | null} hold
 *
 * @typedef {{audio: MediaStreamTrack | null, camera: MediaStreamTrack | null, screen: MediaStreamTrack | null}} RemoteMedia
 *
 * @typedef {{camera?: boolean, screen?: boolean}} PausedVideos the videos that a focus does not send to this side, because
 *   the connection is too slow
 *
 * @typedef {object} PreparedAnswer
 * @property {Description} description
 * @property {() => Promise<void>} commit puts the answer in force
 * @property {() => Promise<void>} abandon restores everything as it was before the offer
 */

/** No track arrives. @type {Readonly<RemoteMedia>} */
export const NOTHING = Object.freeze({ audio: null, camera: null, screen: null });

// The enabler relays whole descriptions, so there is no trickle ICE. Host candidates are known at once. A slow STUN or
// TURN server gets this much time to provide its candidates.
const GATHERING_MS = 2_000;

/**
 * One RTCPeerConnection and the roles of its transceivers.
 *
 * Tracks follow the wishes at once. Directions change only by negotiation, and change back when an offer fails.
 *
 * On a running connection, an offer comes into force only together with its answer. Applying the offer first and
 * rolling it back on refusal would not restore everything. Chromium stops sending where the offer says so, and does not
 * start again on rollback. Applying an offer late costs no time: a running connection already has its candidates.
 *
 * When the connection is closed, all operations in progress end with `CallOver`. There is nothing left to undo then.
 *
 * @extends {Emitter<{media: RemoteMedia, connection: RTCPeerConnectionState}>}
 */
export class PeerLeg extends Emitter {
  /** @type {Map<RTCRtpTransceiver, Role>} */
  #roles = new Map();
  /** The open offer: the state to restore if it fails, and its description until the description is applied. */
  #open =
    /** @type {{directions: Map<RTCRtpTransceiver, RTCRtpTransceiverDirection>, spare: Set<RTCRtpTransceiver>, unapplied: Description | null} | null} */ (
      null
    );
  /**
   * Transceivers of offers that failed. They stay inactive until their role is needed again. They cannot be stopped.
   * Chromium remembers the section that the failed offer gave a transceiver, and would use a stopped one as the next
   * new transceiver.
   *
   * @type {Set<RTCRtpTransceiver>}
   */
  #spare = new Set();
  /** @type {RemoteMedia} */
  #remote = NOTHING;
  #closing = new AbortController();

  /** @param {RTCPeerConnection} pc a new one, which this leg closes */
  constructor(pc) {
    super();
    this.pc = pc;
    this.pc.addEventListener("connectionstatechange", () => this.emit("connection", this.pc.connectionState));
  }

  get remote() {
    return this.#remote;
  }

  /**
   * The tracks that arrive from the other participant. A peer call has only one other participant.
   *
   * @param {string} _participant its ID
   * @returns {RemoteMedia & {paused?: PausedVideos}}
   */
  tracksOf(_participant) {
    return this.#remote;
  }

  /** The other side's description in force, unchanged. */
  get remoteSdp() {
    return this.pc.currentRemoteDescription?.sdp ?? null;
  }

  /** The mid of the section on which a track arrives. @param {MediaStreamTrack | null} track */
  midOf(track) {
    return this.pc.getTransceivers().find(({ receiver }) => receiver.track === track)?.mid ?? null;
  }

  /** @param {Role} role */
  maySend(role) {
    return sends(/** @type {import("./sdp.js").Direction} */ (this.#find(role)?.currentDirection));
  }

  /**
   * Return an offer of the wishes, with its candidates. It is open until `acceptAnswer` or `rollback`.
   *
   * @param {Wishes} wishes
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<Description>}
   */
  createOffer(wishes, options) {
    return this.#whileOpen(() => this.#createOffer(wishes, options));
  }

  /** @param {Wishes} wishes @param {{iceRestart?: boolean}} [options] */
  async #createOffer(wishes, { iceRestart = false } = {}) {
    const directions = new Map([...this.#roles.keys()].map((line) => [line, line.direction]));
    const spare = new Set(this.#spare);
    this.#addMissing(wishes);
    await this.#arrange(wishes);
    const offer = /** @type {Description} */ (await this.pc.createOffer({ iceRestart }));
    if (this.remoteSdp !== null && !iceRestart) {
      this.#open = { directions, spare, unapplied: offer };
      return this.#outgoing(offer);
    }
    this.#open = { directions, spare, unapplied: null };
    await this.pc.setLocalDescription(offer);
    await this.#gathered();
    return this.#outgoing(/** @type {RTCSessionDescription} */ (this.pc.localDescription));
  }

  /** @param {Description} answer */
  acceptAnswer(answer) {
    return this.#whileOpen(async () => {
      if (this.#open?.unapplied) await this.pc.setLocalDescription(this.#open.unapplied);
      await this.#apply(answer);
      this.#open = null;
      this.announce();
    });
  }

  /** @param {Description} description of the other side */
  #apply({ type, sdp }) {
    return this.pc.setRemoteDescription({ type, sdp: withoutUnlisted(sdp) });
  }

  /** Undo an offer that was not accepted, and restore the state before it (RFC 3264 section 4). */
  rollback() {
    return this.#whileOpen(() => this.#rollback());
  }

  async #rollback() {
    if (this.pc.signalingState === "have-local-offer") await this.pc.setLocalDescription({ type: "rollback" });
    const before = this.#open;
    this.#open = null;
    if (before === null) return;
    this.#spare = before.spare;
    for (const line of this.#roles.keys()) {
      const direction = before.directions.get(line) ?? "inactive";
      if (!before.directions.has(line)) this.#spare.add(line);
      if (line.direction !== direction && line.direction !== "stopped") line.direction = direction;
      if (this.#spare.has(line)) await line.sender.replaceTrack(null);
    }
    this.announce();
  }

  /**
   * Whether an offer comes from a different peer connection than the other side's last description. A connection keeps
   * the session ID of its o= line, or at least its ICE credentials.
   *
   * @param {string} sdp of the offer
   */
  comesFromAnotherConnection(sdp) {
    const { remoteSdp } = this;
    return remoteSdp !== null && originOf(sdp) !== originOf(remoteSdp) && iceUfragOf(sdp) !== iceUfragOf(remoteSdp);
  }

  /**
   * Prepare an answer to an offer. Nothing is in force before `commit`, so until then a cancelled offer can be
   * abandoned. The exception is an ICE restart: its answer needs new candidates, and only a local description in force
   * gathers them.
   *
   * @param {Description} offer
   * @param {Wishes} wishes
   * @returns {Promise<PreparedAnswer>}
   */
  answer(offer, wishes) {
    return this.#whileOpen(() => this.#answer(offer, wishes));
  }

  /** @param {Description} offer @param {Wishes} wishes @returns {Promise<PreparedAnswer>} */
  async #answer(offer, wishes) {
    const gathersAnew = this.remoteSdp === null || iceUfragOf(offer.sdp) !== iceUfragOf(this.remoteSdp);
    const directions = new Map([...this.#roles.keys()].map((line) => [line, line.direction]));
    const spare = new Set(this.#spare);
    await this.#apply(offer);
    this.#assignRoles(offer.sdp);
    await this.#arrange(wishes);
    const answer = /** @type {Description} */ (await this.pc.createAnswer());
    if (gathersAnew) {
      await this.pc.setLocalDescription(answer);
      await this.#gathered();
      this.announce();
      const description = this.#outgoing(/** @type {RTCSessionDescription} */ (this.pc.localDescription));
      const nothing = () => this.#whileOpen(async () => undefined);
      return { description, commit: nothing, abandon: nothing };
    }
    return {
      description: this.#outgoing(answer),
      commit: () =>
        this.#whileOpen(async () => {
          await this.pc.setLocalDescription(answer);
          this.announce();
        }),
      abandon: () =>
        this.#whileOpen(async () => {
          await this.pc.setRemoteDescription({ type: "rollback" });
          const left = new Set(this.pc.getTransceivers());
          this.#spare = spare;
          for (const line of this.#roles.keys()) if (!left.has(line)) this.#roles.delete(line);
          for (const [line, direction] of directions) if (line.direction !== "stopped") line.direction = direction;
          this.announce();
        }),
    };
  }

  /**
   * Run an operation, and reject with `CallOver` if the connection is closed. In some browsers the operation itself
   * would never end.
   *
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  #whileOpen(work) {
    const { signal } = this.#closing;
    return new Promise((resolve, reject) => {
      const over = () => reject(new CallOver());
      if (signal.aborted) return over();
      signal.addEventListener("abort", over);
      work()
        .then(resolve, reject)
        .finally(() => signal.removeEventListener("abort", over));
    });
  }

  /**
   * Send the tracks that the wishes name, without negotiation.
   *
   * @param {Wishes} wishes
   */
  async setTracks(wishes) {
    if (this.pc.signalingState === "closed") return;
    for (const [line, role] of this.#roles) {
      const track = this.#spare.has(line) ? null : trackFor(role, wishes);
      if (line.direction !== "stopped" && line.sender.track !== track) await line.sender.replaceTrack(track);
    }
  }

  close() {
    this.#closing.abort();
    this.pc.close();
    this.#roles.clear();
    this.announce();
  }

  /** @param {Role} role */
  has(role) {
    return this.#find(role) !== null;
  }

  /** @param {Role} role */
  #find(role) {
    for (const [line, its] of this.#roles) if (its === role && line.direction !== "stopped") return line;
    return null;
  }

  /** @param {Wishes} wishes */
  #addMissing(wishes) {
    this.#need("audio", "audio");
    if (wishes.camera || wishes.video) this.#need("video", "camera", this.layersOf(wishes.camera));
    if (wishes.screen) this.#need("video", "screen", this.layersOf(wishes.screen));
  }

  /**
   * Return the layers in which a video is sent (simulcast). Without any, it is sent in one layer.
   *
   * @param {MediaStreamTrack | null} _track null while the camera is off
   * @returns {RTCRtpEncodingParameters[] | void}
   */
  layersOf(_track) {}

  /** @param {"audio" | "video"} kind @param {Role} role @param {RTCRtpEncodingParameters[] | void} [layers] */
  #need(kind, role, layers) {
    const line = this.#find(role);
    if (line) return this.#spare.delete(line);
    const made = this.pc.addTransceiver(kind, { sendEncodings: layers ?? undefined });
    this.onNewLine(made);
    this.#roles.set(made, role);
  }

  /** @param {Wishes} wishes */
  async #arrange(wishes) {
    for (const [line, role] of this.#roles) {
      if (line.direction === "stopped") continue;
      line.direction = this.#spare.has(line) ? "inactive" : directionFor(role, wishes);
    }
    await this.setTracks(wishes);
  }

  /** Assign a role to each transceiver that an offer has added. @param {string} sdp of the offer */
  #assignRoles(sdp) {
    const byMid = new Map(sections(sdp).map((section) => [section.mid, section]));
    for (const line of this.#spare)
      if (line.mid !== null && (byMid.get(line.mid)?.direction ?? "inactive") !== "inactive") this.#spare.delete(line);
    for (const line of this.pc.getTransceivers()) {
      if (this.#roles.has(line) || line.mid === null) continue;
      this.onNewLine(line);
      this.#roles.set(line, this.roleFor(line, byMid.get(line.mid)?.slides ?? false));
    }
  }

  /** Called before a transceiver is described for the first time. @param {RTCRtpTransceiver} _line */
  onNewLine(_line) {}

  /**
   * Return the role of a transceiver that the other side has added.
   *
   * @param {RTCRtpTransceiver} line
   * @param {boolean} slides whether it carries a presentation
   * @returns {Role}
   */
  roleFor(line, slides) {
    if (line.receiver.track.kind === "audio") return "audio";
    return slides || this.#hasCameraLine() ? "remote-screen" : "camera";
  }

  /**
   * Whether a transceiver has the camera's role. A spare one loses the role to the transceiver that the other side has
   * added, because this side can send on the added one too.
   */
  #hasCameraLine() {
    const line = this.#find("camera");
    if (line && this.#spare.has(line)) return !this.#roles.delete(line);
    return line !== null;
  }

  async #gathered() {
    const { pc } = this;
    if (pc.iceGatheringState === "complete") return;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHERING_MS, undefined);
      pc.onicegatheringstatechange = () => {
        if (pc.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    pc.onicegatheringstatechange = null;
  }

  /**
   * @param {{type: RTCSdpType, sdp: string}} description
   * @returns {Description}
   */
  #outgoing({ type, sdp }) {
    return { type: /** @type {"offer" | "answer"} */ (type), sdp: markSlides(sdp, this.#screenMids(sdp)) };
  }

  /** @param {string} sdp */
  #screenMids(sdp) {
    const lines = this.pc.getTransceivers().filter((line) => line.direction !== "stopped");
    const known = new Set(lines.map((line) => line.mid));
    // Until an offer is in force, its new transceivers have no mid. They appear in the offer in the order in which they
    // were added (RFC 8829 section 5.2.1).
    const fresh = sections(sdp).flatMap(({ mid }) => (mid !== null && !known.has(mid) ? [mid] : []));
    const mids = new Set();
    for (const line of lines) {
      const mid = line.mid ?? fresh.shift();
      if (this.#roles.get(line) === "screen" && mid !== undefined) mids.add(mid);
    }
    return mids;
  }

  /** Report the arriving tracks, if they have changed. They are always computed from the whole state. */
  announce() {
    /** @type {RemoteMedia} */
    const now = { ...NOTHING };
    for (const [line, role] of this.#roles) {
      const direction = line.currentDirection;
      if (direction === null || direction === "stopped" || !receives(direction)) continue;
      if (role === "remote-screen") now.screen = line.receiver.track;
      else if (role === "audio" || role === "camera") now[role] = line.receiver.track;
    }
    const was = this.#remote;
    if (now.audio === was.audio && now.camera === was.camera && now.screen === was.screen) return;
    this.#remote = now;
    this.emit("media", now);
  }
}

/**
 * @param {Role} role
 * @param {Wishes} wishes
 * @returns {"sendrecv" | "sendonly" | "recvonly" | "inactive"}
 */
function directionFor(role, wishes) {
  if (role === "screen") return wishes.screen && !wishes.hold ? "sendonly" : "inactive";
  if (wishes.hold) return wishes.hold;
  // Audio is sendrecv even without a microphone; this side then sends nothing. A microphone that is opened later needs
  // no negotiation, and a resume has the sendrecv section that the enabler requires.
  if (role === "audio") return "sendrecv";
  if (role === "forwarded") return "recvonly";
  return role === "camera" && wishes.camera ? "sendrecv" : "recvonly";
}

/** @param {Role} role @param {Wishes} wishes */
function trackFor(role, wishes) {
  return role === "remote-screen" || role === "forwarded" ? null : wishes[role];
}

/**
 * Return whether a description sends or wants video, which makes a call a video call.
 *
 * @param {string} sdp
 */
export function offersVideo(sdp) {
  return sections(sdp).some(
    (section) => section.kind === "video" && section.live && (sends(section.direction) || receives(section.direction)),
  );
}
