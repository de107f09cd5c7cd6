import { Emitter } from "./emitter.js";
import { CallOver } from "./errors.js";
import { iceUfragOf, markSlides, originOf, receives, sections, sends, withoutUnlisted } from "./sdp.js";

/**
 * @typedef {import("./types.js").Description} Description
 * @typedef {"audio" | "camera" | "screen" | "remote-screen" | "forwarded"} Role what an m-line is for, seen from here
 *
 * @typedef {object} Wishes what this side wants to send and receive
 * @property {MediaStreamTrack | null} audio
 * @property {MediaStreamTrack | null} camera
 * @property {MediaStreamTrack | null} screen
 * @property {boolean} video have a video m-line even without a camera, to see the other side
 * @property {"recvonly" | "inactive" | null} hold
 *
 * @typedef {{audio: MediaStreamTrack | null, camera: MediaStreamTrack | null, screen: MediaStreamTrack | null}} RemoteMedia
 *
 * @typedef {object} PreparedAnswer
 * @property {Description} description
 * @property {() => Promise<void>} commit make it real
 * @property {() => Promise<void>} abandon leave everything as it was before the offer
 */

// No trickle: the enabler relays whole descriptions. Host candidates are instant; a slow STUN or TURN server is not waited for longer.
const GATHERING_MS = 2_000;

/**
 * One RTCPeerConnection and the roles of its m-lines.
 *
 * Tracks follow the wishes at once; directions change only by negotiation, and come back when an offer fails.
 *
 * An offer that changes a running connection is put in force only together with its answer. Applying it first and rolling
 * it back on refusal does not leave everything as it was: Chromium stops sending where the offer says so and does not
 * start again on rollback. The candidates are known by then, so nothing is gathered and nothing is lost by waiting.
 *
 * Whatever waits on the connection when it is closed ends with `CallOver`; there is nothing left to undo then.
 *
 * @extends {Emitter<{media: RemoteMedia, connection: RTCPeerConnectionState}>}
 */
export class PeerLeg extends Emitter {
  /** @type {Map<RTCRtpTransceiver, Role>} */
  #roles = new Map();
  /** The offer that is out: what it replaces, and its text while it is not in force. */
  #open =
    /** @type {{directions: Map<RTCRtpTransceiver, RTCRtpTransceiverDirection>, spare: Set<RTCRtpTransceiver>, unapplied: Description | null} | null} */ (
      null
    );
  /**
   * Lines that were made for an offer which came to nothing. They stay inactive until one of their role is wanted again. Stopping
   * them would not do: Chromium remembers the place that the offer gave them, and takes them for the line made next.
   *
   * @type {Set<RTCRtpTransceiver>}
   */
  #spare = new Set();
  /** @type {RemoteMedia} */
  #remote = { audio: null, camera: null, screen: null };
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

  /** The tracks that arrive from a participant: there is only one. @param {string} _participant its ID */
  tracksOf(_participant) {
    return this.#remote;
  }

  /** The other side's last description in force, as it came. */
  get remoteSdp() {
    return this.pc.currentRemoteDescription?.sdp ?? null;
  }

  /** @param {Role} role */
  maySend(role) {
    const direction = this.#find(role)?.currentDirection;
    return direction === "sendrecv" || direction === "sendonly";
  }

  /**
   * This function will put the wishes into an offer and return it with its candidates gathered. It stays
   * undecided until `acceptAnswer` or `rollback`.
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

  /** This function will undo an offer that was not accepted (RFC 3264 section 4: everything stays as it was). */
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

  /** A connection keeps the session ID of its o= line, or else its ICE credentials. @param {string} sdp of an offer */
  comesFromAnotherConnection(sdp) {
    const { remoteSdp } = this;
    return remoteSdp !== null && originOf(sdp) !== originOf(remoteSdp) && iceUfragOf(sdp) !== iceUfragOf(remoteSdp);
  }

  /**
   * This function will take an offer and prepare the answer. Nothing is in force before `commit`, so that an offer
   * that was cancelled in the meantime can be abandoned. One exception: after an ICE restart the answer needs freshly
   * gathered candidates, which only a local description in force brings.
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
      return {
        description: this.#outgoing(/** @type {RTCSessionDescription} */ (this.pc.localDescription)),
        commit: () => this.#whileOpen(async () => undefined),
        abandon: () => this.#whileOpen(async () => undefined),
      };
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
   * This function will let the work end with the connection: browsers differ in what becomes of it, and some would let it wait for ever.
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
   * This function will swap the tracks that are sent, without negotiation.
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
    if (wishes.camera || wishes.video) this.#need("video", "camera");
    if (wishes.screen) this.#need("video", "screen");
  }

  /** @param {"audio" | "video"} kind @param {Role} role */
  #need(kind, role) {
    const line = this.#find(role);
    if (line) return this.#spare.delete(line);
    const made = this.pc.addTransceiver(kind);
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

  /** @param {string} sdp of the offer in hand */
  #assignRoles(sdp) {
    const slides = new Set(
      sections(sdp)
        .filter((section) => section.slides)
        .map((section) => section.mid),
    );
    const wanted = new Set(
      sections(sdp)
        .filter(({ direction }) => direction !== "inactive")
        .map(({ mid }) => mid),
    );
    for (const line of this.#spare) if (line.mid !== null && wanted.has(line.mid)) this.#spare.delete(line);
    for (const line of this.pc.getTransceivers()) {
      if (this.#roles.has(line) || line.mid === null) continue;
      this.onNewLine(line);
      this.#roles.set(line, this.roleFor(line, slides.has(line.mid)));
    }
  }

  /** Runs before a line is described for the first time. @param {RTCRtpTransceiver} _line */
  onNewLine(_line) {}

  /**
   * What a line is for that the other side has added.
   *
   * @param {RTCRtpTransceiver} line
   * @param {boolean} slides
   * @returns {Role}
   */
  roleFor(line, slides) {
    if (line.receiver.track.kind === "audio") return "audio";
    return slides || this.#hasCameraLine() ? "remote-screen" : "camera";
  }

  /** One that is spare gives way to the other side's, which this side can send on as well. */
  #hasCameraLine() {
    const line = this.#find("camera");
    if (line && this.#spare.has(line)) return !this.#roles.delete(line);
    return line !== null;
  }

  async #gathered() {
    const { pc } = this;
    if (pc.iceGatheringState === "complete") return;
    await new Promise((resolve) => {
      const timer = setTimeout(done, GATHERING_MS);
      function check() {
        if (pc.iceGatheringState === "complete") done();
      }
      function done() {
        clearTimeout(timer);
        pc.removeEventListener("icegatheringstatechange", check);
        resolve(undefined);
      }
      pc.addEventListener("icegatheringstatechange", check);
    });
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
    // Before an offer is in force its new lines have no mid yet; they stand in it in the order of their making (RFC 8829 section 5.2.1).
    const fresh = sections(sdp).flatMap(({ mid }) => (mid !== null && !known.has(mid) ? [mid] : []));
    const mids = new Set();
    for (const line of lines) {
      const mid = line.mid ?? fresh.shift();
      if (this.#roles.get(line) === "screen" && mid !== undefined) mids.add(mid);
    }
    return mids;
  }

  /** Recomputed whole and announced on change, so that no sequence of events can leave a stale picture. */
  announce() {
    /** @type {RemoteMedia} */
    const now = { audio: null, camera: null, screen: null };
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
  // Audio is sendrecv even without a microphone: it sends nothing then, a microphone found later needs no
  // negotiation, and a resume always has the one sendrecv m-line that the enabler asks for.
  if (role === "audio") return "sendrecv";
  if (role === "forwarded") return "recvonly";
  return role === "camera" && wishes.camera ? "sendrecv" : "recvonly";
}

/** @param {Role} role @param {Wishes} wishes */
function trackFor(role, wishes) {
  return role === "remote-screen" || role === "forwarded" ? null : wishes[role];
}

/**
 * This function will say whether an SDP sends or wants video, which is how a call is told from a video call.
 *
 * @param {string} sdp
 */
export function offersVideo(sdp) {
  return sections(sdp).some(
    (section) => section.kind === "video" && section.live && (sends(section.direction) || receives(section.direction)),
  );
}
