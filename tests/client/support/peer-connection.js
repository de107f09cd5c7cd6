import { receives, sections, sends } from "../../../templates/static/sbe/sdp.js";

/**
 * @typedef {import("../../../templates/static/sbe/sdp.js").Direction} Direction
 * @typedef {{type: string, sdp?: string}} Description
 */

let connections = 0;

/** @param {"audio" | "video"} kind @returns {MediaStreamTrack} */
export function track(kind) {
  return /** @type {any} */ ({ kind, id: `${kind}-track` });
}

class FakeTransceiver {
  /** @type {string | null} */
  mid = null;
  /** @type {Direction | null} */
  currentDirection = null;
  sender = {
    track: /** @type {MediaStreamTrack | null} */ (null),
    /** @param {MediaStreamTrack | null} track */
    replaceTrack: async (track) => void (this.sender.track = track),
  };

  /** @param {"audio" | "video"} kind @param {Direction} direction */
  constructor(kind, direction) {
    this.kind = kind;
    this.direction = direction;
    this.receiver = { track: track(kind) };
  }
}

/**
 * The offers and answers of an RTCPeerConnection (RFC 8829), without media. A method that the signalling state does not
 * allow throws, even if a browser would roll back by itself.
 */
export class FakePeerConnection extends EventTarget {
  signalingState = "stable";
  iceGatheringState = "complete";
  connectionState = "new";
  /** @type {Description | null} */
  currentLocalDescription = null;
  /** @type {Description | null} */
  currentRemoteDescription = null;
  /** @type {Description | null} */
  #pendingLocal = null;
  /** @type {Description | null} */
  #pendingRemote = null;
  /** @type {FakeTransceiver[]} */
  #lines = [];
  /** The transceivers that the open offer added. @type {FakeTransceiver[]} */
  #added = [];
  #id = ++connections;
  #version = 0;
  #ufrag = 1;

  get localDescription() {
    return this.#pendingLocal ?? this.currentLocalDescription;
  }

  getTransceivers() {
    return [...this.#lines];
  }

  /** @param {"audio" | "video"} kind */
  addTransceiver(kind) {
    const line = new FakeTransceiver(kind, "sendrecv");
    this.#lines.push(line);
    return line;
  }

  /** @param {string} label */
  createDataChannel(label) {
    return { label, readyState: "connecting" };
  }

  /** @param {{iceRestart?: boolean}} [options] */
  async createOffer({ iceRestart = false } = {}) {
    if (iceRestart) this.#ufrag += 1;
    return {
      type: "offer",
      sdp: this.#describe(this.#lines.map((line, index) => ({ ...line, mid: line.mid ?? String(index) }))),
    };
  }

  async createAnswer() {
    this.#require("have-remote-offer");
    const offered = sections(this.#pendingRemote?.sdp ?? "");
    const answered = offered.map(({ mid, direction }) => {
      const line = this.#line(mid);
      return { kind: line.kind, mid, direction: agreed(line.direction, direction) };
    });
    return { type: "answer", sdp: this.#describe(answered) };
  }

  /** @param {Description} description */
  async setLocalDescription(description) {
    if (description.type === "rollback") {
      this.#require("have-local-offer");
      for (const line of this.#added) line.mid = null;
      return this.#settle(null);
    }
    if (description.type === "answer") {
      this.#require("have-remote-offer");
      return this.#settle({ local: description, remote: this.#pendingRemote });
    }
    this.#require("stable");
    this.signalingState = "have-local-offer";
    this.#pendingLocal = description;
    const fresh = this.#lines.filter(({ mid }) => mid === null);
    const known = this.#lines.map(({ mid }) => mid);
    const mids = sections(description.sdp ?? "")
      .map(({ mid }) => mid)
      .filter((mid) => !known.includes(mid));
    fresh.forEach((line, index) => (line.mid = mids[index]));
    this.#added = fresh;
  }

  /** @param {Description} description */
  async setRemoteDescription(description) {
    if (description.type === "rollback") {
      this.#require("have-remote-offer");
      this.#lines = this.#lines.filter((line) => !this.#added.includes(line));
      return this.#settle(null);
    }
    if (description.type === "answer") {
      this.#require("have-local-offer");
      return this.#settle({ local: this.#pendingLocal, remote: description });
    }
    this.#require("stable");
    this.signalingState = "have-remote-offer";
    this.#pendingRemote = description;
    for (const { mid, kind } of sections(description.sdp ?? "")) {
      if (this.#lines.some((line) => line.mid === mid)) continue;
      const line = new FakeTransceiver(/** @type {"audio" | "video"} */ (kind), "recvonly");
      line.mid = mid;
      this.#lines.push(line);
      this.#added.push(line);
    }
  }

  /** @returns {Promise<Map<string, object>>} */
  async getStats() {
    return new Map();
  }

  close() {
    this.signalingState = this.connectionState = "closed";
  }

  /** @param {RTCPeerConnectionState} state */
  become(state) {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  /** @param {{local: Description | null, remote: Description | null} | null} inForce null after a rollback */
  #settle(inForce) {
    this.signalingState = "stable";
    this.#pendingLocal = this.#pendingRemote = null;
    this.#added = [];
    if (inForce === null) return;
    this.currentLocalDescription = inForce.local;
    this.currentRemoteDescription = inForce.remote;
    const remote = new Map(sections(inForce.remote?.sdp ?? "").map(({ mid, direction }) => [mid, direction]));
    for (const { mid, direction } of sections(inForce.local?.sdp ?? "")) {
      this.#line(mid).currentDirection = agreed(direction, remote.get(mid) ?? "inactive");
    }
  }

  /** @param {string | null} mid */
  #line(mid) {
    const line = this.#lines.find((each) => each.mid === mid);
    if (!line) throw new Error(`no transceiver has mid ${mid}`);
    return line;
  }

  /** @param {string} state */
  #require(state) {
    if (this.signalingState !== state)
      throw new DOMException(`in ${this.signalingState}, not ${state}`, "InvalidStateError");
  }

  /** @param {{kind: string, mid: string | null, direction: string}[]} lines */
  #describe(lines) {
    this.#version += 1;
    const head = [
      `v=0`,
      `o=- ${this.#id} ${this.#version} IN IP4 127.0.0.1`,
      `s=-`,
      `t=0 0`,
      `a=ice-ufrag:${this.#id}.${this.#ufrag}`,
    ];
    const media = lines.flatMap(({ kind, mid, direction }) => [
      `m=${kind} 9 UDP/TLS/RTP/SAVPF 96`,
      `a=mid:${mid}`,
      `a=${direction}`,
    ]);
    return [...head, ...media, ""].join("\r\n");
  }
}

/**
 * Return the direction of a section, as seen from this side, once both sides have described the section.
 *
 * @param {Direction} own
 * @param {Direction} theirs
 * @returns {Direction}
 */
function agreed(own, theirs) {
  const out = sends(own) && receives(theirs);
  const into = receives(own) && sends(theirs);
  return out && into ? "sendrecv" : out ? "sendonly" : into ? "recvonly" : "inactive";
}
