import { Refusal } from "../../../templates/static/sbe/errors.js";
import { Negotiator } from "../../../templates/static/sbe/negotiator.js";
import { PeerLeg } from "../../../templates/static/sbe/peer.js";
import { Recovery } from "../../../templates/static/sbe/recovery.js";
import { SerialQueue } from "../../../templates/static/sbe/waiting.js";
import { FakePeerConnection } from "./peer-connection.js";

/**
 * @typedef {import("../../../templates/static/sbe/event-types.js").SessionEvent} SessionEvent
 * @typedef {SessionEvent["type"]} EventType
 * @typedef {{[T in EventType]: {type: T} & Partial<Extract<SessionEvent, {type: T}>>}[EventType]} PartialEvent
 *   an event with the fields that matter to a test
 * @typedef {import("../../../templates/static/sbe/negotiator.js").Notice} Notice
 * @typedef {import("../../../templates/static/sbe/peer.js").Wishes} Wishes
 */

// Debian 12's Node has this class, but not as a global.
globalThis.CustomEvent ??= /** @type {any} */ (
  class extends Event {
    /** @param {string} type @param {CustomEventInit} init */
    constructor(type, { detail }) {
      super(type);
      this.detail = detail;
    }
  }
);

/** @param {string} code */
export function refusal(code) {
  return new Refusal({ status: 409, code, detail: code });
}

/** Run everything that waits only for its turn in the event loop. */
export async function settle() {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** One side of a call: its negotiator and recovery, with fakes in place of the other parts. */
export class Side {
  situation = {
    hasFocus: false,
    isOpen: true,
    isHost: false,
    isOnHold: false,
    otherMoves: false,
    otherIsAway: false,
    asksFirst: false,
  };
  /** @type {Wishes} */
  wishes = { audio: null, camera: null, screen: null, video: false, hold: null };
  /** @type {FakePeerConnection[]} */
  connections = [];
  queue = new SerialQueue(100);
  /** @type {Notice[]} */
  notices = [];
  /** The actions of this side's requests. @type {string[]} */
  requests = [];
  /** The requested sleeps, in milliseconds. @type {number[]} */
  slept = [];
  doubts = 0;
  /** Called before each request. If it throws, the request fails with that error. @type {(action: string) => void} */
  intercept = () => {};

  /** @param {(side: Side, action: string, body: any) => Promise<{modId: string}>} put */
  constructor(put) {
    const sleep = (/** @type {number} */ ms, /** @type {AbortSignal | undefined} */ signal) => this.sleep(ms, signal);
    this.negotiator = new Negotiator({
      put: async (action, body) => {
        this.requests.push(action);
        this.intercept(action);
        return put(this, action, body);
      },
      newLeg: () => new PeerLeg(this.#connect()),
      wishes: (holding) => ({ ...this.wishes, hold: holding ? "recvonly" : null }),
      queue: this.queue,
      situation: this.situation,
      sleep,
    });
    this.negotiator.on("notice", (notice) => this.notices.push(notice));
    this.negotiator.on("doubt", () => (this.doubts += 1));
    this.recovery = new Recovery({ negotiator: this.negotiator, situation: this.situation, sleep });
    this.recovery.on("notice", (notice) => this.notices.push(notice));
  }

  /**
   * Return when the signal aborts; without a signal, return at once.
   *
   * @param {number} ms
   * @param {AbortSignal} [signal]
   */
  async sleep(ms, signal) {
    this.slept.push(ms);
    await new Promise((resolve) => (signal ? signal.addEventListener("abort", resolve) : setImmediate(resolve)));
  }

  /** The connection in use. */
  get pc() {
    return /** @type {FakePeerConnection} */ (/** @type {unknown} */ (this.negotiator.leg?.pc));
  }

  /** The pending modification of this side. */
  get pending() {
    const { pending } = this.negotiator;
    if (pending === null) throw new Error("nothing is pending");
    return pending;
  }

  get directions() {
    return this.pc.getTransceivers().map(({ direction }) => direction);
  }

  /** @param {PartialEvent} event */
  hear(event) {
    return this.queue.run(() => this.negotiator.handle(/** @type {any} */ (event)));
  }

  #connect() {
    const pc = new FakePeerConnection();
    this.connections.push(pc);
    return /** @type {RTCPeerConnection} */ (/** @type {unknown} */ (pc));
  }
}

/** Two sides, and an enabler that relays between them and allows one pending modification at a time. */
export class Pair {
  alice = new Side((side, action, body) => this.#put(side, action, body));
  bob = new Side((side, action, body) => this.#put(side, action, body));
  /** @type {{modId: string, by: Side, kind: string} | null} */
  pending = null;
  /** How many offers were refused because another modification was pending. */
  refused = 0;
  #count = 0;

  /** Two sides in a call that Alice began. */
  static async connected() {
    const pair = new Pair();
    const { alice, bob } = pair;
    alice.situation.isHost = true;
    alice.negotiator.begin();
    const description = await alice.negotiator.firstOffer();
    alice.negotiator.expectAnswer({ modId: "call", kind: "call", description });
    bob.negotiator.begin();
    const answer = await bob.negotiator.firstAnswer(description);
    await alice.hear({ type: "session-open", description: answer });
    return pair;
  }

  /** @param {Side} side @param {string} action @param {any} body @returns {Promise<{modId: string}>} */
  async #put(side, action, body) {
    const { alice, bob, pending } = this;
    const other = side === alice ? bob : alice;
    if (action.startsWith("initiate-")) {
      if (pending) {
        this.refused += 1;
        throw refusal("modification-pending");
      }
      const [, kind = "mod"] = /(hold|resume)$/.exec(action) ?? [];
      const modId = `mod-${(this.#count += 1)}`;
      this.pending = { modId, by: side, kind };
      void other.hear({
        type: "mod-received",
        modId,
        kind: /** @type {"mod" | "hold" | "resume"} */ (kind),
        description: body,
      });
      return { modId };
    }
    if (pending?.modId !== body.modId) throw refusal("modification-settled");
    this.pending = null;
    if (action === "accept-conference-mod")
      void other.hear({ type: "mod-accepted", modId: body.modId, description: { type: body.type, sdp: body.sdp } });
    else void other.hear({ type: pending?.by === side ? "mod-cancelled" : "mod-rejected", modId: body.modId });
    return { modId: body.modId };
  }
}
