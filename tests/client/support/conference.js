import { Call } from "../../../templates/static/sbe/call.js";
import { LocalMedia } from "../../../templates/static/sbe/media.js";
import { SerialQueue } from "../../../templates/static/sbe/waiting.js";
import "./negotiation.js";
import { FakePeerConnection } from "./peer-connection.js";

/**
 * @typedef {import("../../../templates/static/sbe/types.js").Conference} Conference
 * @typedef {import("../../../templates/static/sbe/types.js").Participant} Participant
 * @typedef {import("./negotiation.js").PartialEvent} PartialEvent
 *
 * @typedef {{method: string, url: string, action?: string, body?: any}} Request
 */

/** @param {Partial<Participant>} fields @returns {Participant} */
export function participant(fields) {
  const muted = { audio: false, video: false };
  return {
    id: "",
    username: fields.id ?? "",
    role: "guest",
    state: "accepted",
    sessionId: fields.id ?? null,
    muted,
    leftReason: null,
    ...fields,
  };
}

/** @param {Partial<Conference>} fields @returns {Conference} */
export function conference(fields) {
  return {
    id: "conf",
    topology: "peer",
    access: "invited",
    name: "",
    state: "session-open",
    createdAt: "",
    endedAt: null,
    participants: [],
    pendingModifications: [],
    ...fields,
  };
}

/** Alice's end of a peer call with Bob, and a fake enabler that answers as the test says. */
export class Desk {
  /** @type {Request[]} */
  requests = [];
  /** @type {FakePeerConnection[]} */
  connections = [];
  media = new LocalMedia();
  queue = new SerialQueue(100);
  me = participant({ id: "alice", role: "host", sessionId: "alice-laptop" });
  bob = participant({ id: "bob" });
  /** The enabler's answer to a GET. @type {Conference | null} */
  conference = null;
  /** Returns the enabler's answer to any other request, or throws. @type {(request: Request) => unknown} */
  answer = () => null;
  mediaClosed = 0;
  #modifications = 0;

  constructor() {
    this.conference = conference({ participants: [this.me, this.bob] });
    this.call = new Call({
      rest: /** @type {any} */ ({ send: (/** @type {Request} */ request) => this.#send(request) }),
      conferencesUrl: "/mediaConferences",
      session: () => /** @type {any} */ ({ id: "alice-laptop", iceServers: [] }),
      media: this.media,
      queue: this.queue,
      preferences: { askBeforeAccepting: false, holdDirection: "recvonly" },
      connect: () => this.#connect(),
      closeMedia: () => (this.mediaClosed += 1),
    });
  }

  /** A call that Bob has answered. */
  static async inCall() {
    const desk = new Desk();
    await desk.call.invite(["bob"], { video: false, topology: "peer" });
    await desk.hear({ type: "session-open", description: await desk.answerOf(desk.sdp) });
    desk.requests = [];
    return desk;
  }

  /** The actions of the requests so far. A request without an action is named by its method. */
  get actions() {
    return this.requests.map(({ action, method }) => action ?? method);
  }

  /** The SDP of the last offer. */
  get sdp() {
    return String(this.requests.filter(({ body }) => body?.sdp).at(-1)?.body.sdp);
  }

  get pc() {
    return /** @type {FakePeerConnection} */ (this.connections.at(-1));
  }

  /** @param {PartialEvent} event */
  hear(event) {
    return this.queue.run(() => this.call.handle(/** @type {any} */ (event)));
  }

  /**
   * Return Bob's answer to an offer, from a new connection.
   *
   * @param {string} sdp
   * @returns {Promise<{type: "answer", sdp: string}>}
   */
  async answerOf(sdp) {
    const pc = new FakePeerConnection();
    await pc.setRemoteDescription({ type: "offer", sdp });
    for (const line of pc.getTransceivers()) line.direction = "sendrecv";
    return { type: "answer", sdp: (await pc.createAnswer()).sdp };
  }

  /** Let Bob accept the last offer. */
  async accept() {
    await this.hear({
      type: "mod-accepted",
      modId: this.call.pending?.modId ?? "",
      description: await this.answerOf(this.sdp),
    });
  }

  /** @param {Request} request */
  async #send(request) {
    this.requests.push(request);
    if (request.method === "GET") return { status: 200, headers: new Headers(), body: this.conference };
    const body = this.answer(request);
    const headers = new Headers({ "x-mod-id": `mod-${(this.#modifications += 1)}` });
    return { status: 200, headers, body: request.method === "POST" ? this.conference : body };
  }

  #connect() {
    const pc = new FakePeerConnection();
    this.connections.push(pc);
    return /** @type {RTCPeerConnection} */ (/** @type {unknown} */ (pc));
  }
}
