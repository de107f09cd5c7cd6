import { Emitter } from "./emitter.js";
import { CallOver, NetworkError, Refusal, SbeError } from "./errors.js";
import { forwardingChanges } from "./focus.js";
import { changesBetween } from "./sdp.js";
import { sleep as reallySleep } from "./waiting.js";

/**
 * @typedef {import("./types.js").Description} Description
 * @typedef {import("./event-types.js").ModAccepted} ModAccepted
 * @typedef {import("./event-types.js").ModCancelled} ModCancelled
 * @typedef {import("./event-types.js").ModExpired} ModExpired
 * @typedef {import("./event-types.js").ModReceived} ModReceived
 * @typedef {import("./event-types.js").ModRejected} ModRejected
 * @typedef {import("./event-types.js").SessionOpen} SessionOpen
 * @typedef {SessionOpen | ModReceived | ModAccepted | ModRejected | ModCancelled | ModExpired} NegotiationEvent
 * @typedef {import("./types.js").WireModification} WireModification
 * @typedef {import("./peer.js").PeerLeg} PeerLeg
 * @typedef {import("./peer.js").Wishes} Wishes
 * @typedef {import("./waiting.js").SerialQueue} SerialQueue
 *
 * @typedef {"accepted" | "rejected" | "cancelled" | "expired" | "ended"} Outcome
 *
 * @typedef {object} Modification one offer, of either side, that is not settled yet
 * @property {string} modId
 * @property {string} kind
 * @property {boolean} mine this side offered it
 * @property {boolean} asking the modification waits for this side's user
 * @property {boolean} restart the offer replaces the connection
 * @property {boolean} holding this side is on hold once the offer is accepted
 * @property {string[]} changes what the other side's offer turns on and off
 * @property {string[]} who the IDs of the participants whose tracks a focus turns on or off
 * @property {Description} description
 * @property {PeerLeg | null} leg the leg that made this side's offer, or that answers the other side's
 * @property {string | null} expiresAt
 * @property {Promise<Outcome>} settled
 * @property {(outcome: Outcome) => void} settle
 *
 * @typedef {object} Plan an offer to be made
 * @property {string} action `x-conference-action` of its request
 * @property {string} kind
 * @property {boolean} holding
 * @property {boolean} [iceRestart]
 * @property {boolean} [fresh] offer a new connection in place of the current one
 *
 * @typedef {object} Situation the current state of the call that a negotiation depends on
 * @property {boolean} hasFocus
 * @property {boolean} isOpen
 * @property {boolean} isHost
 * @property {boolean} isOnHold this side is on hold
 * @property {boolean} [otherIsAway] the other side of a direct call has closed its page, or reloads it
 * @property {boolean} otherMoves the other side is between two devices and can settle nothing
 * @property {boolean} asksFirst the user wants to be asked before the other side's offers are accepted
 *
 * @typedef {object} Notice a message to show to the user once
 * @property {string} code
 * @property {string} [kind]
 * @property {string} [reason]
 * @property {string} [who] the participant's name, unless the notice is about the other side
 * @property {unknown} [error]
 *
 * @typedef {object} NegotiatorEvents
 * @property {null} change a modification began or ended, or an event was applied
 * @property {Modification} accepted the modification is in force here, and ends right after this event
 * @property {PeerLeg} leg another leg is in use
 * @property {null} media the tracks that arrive have changed
 * @property {RTCPeerConnectionState} connection of the leg in use
 * @property {null} doubt an answer was lost: each side may consider a different description to be in force
 * @property {null} contradiction this side has applied an answer that the focus does not have or cannot use
 * @property {string} hopeless the first offer failed, for this reason
 * @property {Notice} notice
 */

// The side whose offer loses a glare waits until the winning offer is settled, which takes 30 s at most. Each new
// attempt may lose again.
const GLARE_ATTEMPTS = 8;
const GLARE_WAIT_MS = 31_000;

/**
 * The offers and answers of one call: which leg is in use, which modification is pending, and how each is settled.
 *
 * At most one modification is pending. An offer that is not accepted leaves everything as it was (RFC 3264 section 4).
 * The negotiator itself needs no browser: its caller provides the leg and the requests to the enabler.
 *
 * @extends {Emitter<NegotiatorEvents & Record<string, unknown>>}
 */
export class Negotiator extends Emitter {
  /** @type {PeerLeg | null} */
  leg = null;
  /** @type {Modification | null} */
  pending = null;
  /** Whether this side is on hold, by the description in force. */
  holding = false;
  #settledModId = "";
  #put;
  #newLeg;
  #wishes;
  #queue;
  #situation;
  #sleep;

  /**
   * @param {object} options
   * @param {(action: string, body: object) => Promise<{modId: string}>} options.put sends a request to the enabler
   * @param {() => PeerLeg} options.newLeg
   * @param {(holding: boolean) => Wishes} options.wishes what this side wants to send and receive now
   * @param {SerialQueue} options.queue runs negotiations one at a time; `handle` is called from inside it
   * @param {Situation} options.situation
   * @param {typeof reallySleep} [options.sleep]
   */
  constructor({ put, newLeg, wishes, queue, situation, sleep = reallySleep }) {
    super();
    this.#put = put;
    this.#newLeg = newLeg;
    this.#wishes = wishes;
    this.#queue = queue;
    this.#situation = situation;
    this.#sleep = sleep;
  }

  get connection() {
    return this.leg?.pc.connectionState ?? "new";
  }

  // ── beginning and end ───────────────────────────────────────────────────

  /** Make the first leg of the call. */
  begin() {
    this.#begin(this.#makeLeg());
  }

  /** Return the call's first offer, after `begin`. Call `expectAnswer` once the offer is sent. */
  firstOffer() {
    return this.#firstLeg.createOffer(this.#wishes(this.holding));
  }

  /** @param {Description} offer of the other side @returns {Promise<Description>} */
  async firstAnswer(offer) {
    const { description } = await this.#firstLeg.answer(offer, this.#wishes(this.holding));
    return description;
  }

  get #firstLeg() {
    return /** @type {PeerLeg} */ (this.leg);
  }

  /** Wait for the answer to the first offer. @param {{modId: string, kind: string, description: Description}} offer */
  expectAnswer(offer) {
    this.#expect({ ...offer, mine: true, leg: this.leg });
  }

  /** Close the connection permanently. A pending modification ends. */
  close() {
    const { pending } = this;
    this.pending = null;
    if (pending?.leg && pending.leg !== this.leg) pending.leg.close();
    this.leg?.close();
    pending?.settle("ended");
    this.emit("change", null);
  }

  /** Send those tracks of the current wishes that need no negotiation. */
  async setTracks() {
    await this.leg?.setTracks(this.#wishes(this.holding));
  }

  // ── this side's offers ──────────────────────────────────────────────────

  /**
   * Offer what this side wants now.
   *
   * @param {{iceRestart?: boolean, fresh?: boolean}} [options] `fresh` replaces the connection by a new one
   * @returns {Promise<Outcome>} how the offer was settled
   */
  async modify(options = {}) {
    const modification = await this.offer({
      action: "initiate-conference-mod",
      kind: "mod",
      holding: this.holding,
      ...options,
    });
    return modification.settled;
  }

  /**
   * Offer the current state once more, without waiting for the result. After a rollback, a browser that stopped sending
   * because of an offer starts again only when a description says so.
   */
  confirm() {
    if (!this.#situation.isOpen) return;
    this.modify().catch((error) => {
      // A refusal does no harm: the call has ended, or is being moved.
      if (!(error instanceof Refusal)) this.emit("notice", { code: "failed", error });
    });
  }

  /**
   * Offer, and resolve glare: the enabler lets one of two simultaneous offers win. The loser rolls back and waits until
   * the winner's offer is settled. It then offers again after a random pause (compare RFC 3261 section 14.1).
   *
   * @param {Plan} plan
   * @returns {Promise<Modification>} the offer, not settled yet
   * @throws {Refusal} `modification-pending` after the last attempt, or any other refusal
   */
  async offer(plan) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#queue.run(() => this.#offerOnce(plan));
      } catch (error) {
        if (!(error instanceof Refusal) || error.code !== "modification-pending" || attempt + 1 === GLARE_ATTEMPTS)
          throw error;
        await this.#untilSettled(Number(error.fields.retryAfterMs) || 0);
        await this.#sleep(50 + Math.random() * 150 * (attempt + 1));
      }
    }
  }

  /** @param {Plan} plan */
  async #offerOnce({ action, kind, holding, iceRestart = false, fresh = false }) {
    this.#requireReady();
    const leg = fresh || !this.leg ? this.#makeLeg() : this.leg;
    try {
      const description = await leg.createOffer(this.#wishes(holding), { iceRestart });
      const { modId } = await this.#put(action, description);
      if (!this.#situation.isOpen) throw new CallOver();
      return this.#expect({ modId, kind, mine: true, holding, description, leg });
    } catch (error) {
      if (leg !== this.leg) leg.close();
      else if (this.#situation.isOpen) await leg.rollback();
      if (error instanceof NetworkError) this.emit("doubt", null);
      throw error;
    }
  }

  /** Refuse to make an offer that the enabler would refuse. */
  #requireReady() {
    if (!this.#situation.isOpen) throw new SbeError("The call is not open.");
    if (this.#situation.otherMoves)
      throw new Refusal({
        status: 409,
        code: "participant-moving",
        detail: "The other side is moving to another device.",
      });
    if (this.pending)
      throw new Refusal({
        status: 409,
        code: "modification-pending",
        detail: "Another change is still in progress.",
      });
  }

  /** @param {number} retryAfterMs how long the pending modification may still take, if the enabler said so */
  async #untilSettled(retryAfterMs) {
    const stop = new AbortController();
    // The event that settles the modification may still be on the way: check again on every change.
    const off = this.on("change", () => {
      if (this.pending === null) stop.abort();
    });
    const limit = this.pending ? GLARE_WAIT_MS : Math.min(Math.max(retryAfterMs, 200), 2_000);
    await this.#sleep(limit, stop.signal);
    off();
  }

  /** Take back this side's pending offer. @returns {Promise<void>} */
  cancel() {
    return this.#queue.run(() => this.#settlePending({ mine: true, outcome: "cancelled" }));
  }

  // ── the other side's offers ─────────────────────────────────────────────

  /** Accept the pending offer of the other side. @returns {Promise<void>} */
  accept() {
    return this.#queue.run(() => this.#acceptPending());
  }

  /** @returns {Promise<void>} */
  reject() {
    return this.#queue.run(() => this.#settlePending({ mine: false, outcome: "rejected" }));
  }

  /** @param {ModReceived} event */
  async #onReceived(event) {
    const { modId, description } = event;
    if (!modId || !description || modId === this.#settledModId || modId === this.pending?.modId) return;
    // The enabler allows one pending modification. If another one is still pending here, the event that settled it was
    // lost.
    if (this.pending) await this.#undo(this.pending, "expired");
    const restart = this.#restarts(event, description);
    const { changes, who } = this.#changesOf(description);
    const asking = this.#situation.asksFirst && !restart && this.#isNews(event, changes);
    this.#expect({
      modId,
      kind: event.kind ?? "mod",
      mine: false,
      asking,
      restart,
      description,
      changes,
      who,
      expiresAt: event.expiresAt ?? null,
    });
    if (!asking) await this.#acceptPending();
  }

  /** @param {ModReceived} event @param {Description} description */
  #restarts(event, { sdp }) {
    const { leg } = this;
    return event.restart || !leg || (!this.#situation.hasFocus && leg.comesFromAnotherConnection(sdp));
  }

  /** @param {Description} description @returns {{changes: string[], who: string[]}} */
  #changesOf({ sdp }) {
    const before = this.leg?.remoteSdp ?? null;
    return this.#situation.hasFocus
      ? forwardingChanges(before, sdp)
      : { changes: changesBetween(before, sdp), who: [] };
  }

  /**
   * Whether the offer contains a change that the user must agree to. The other side may send less without asking. In a
   * conference, a hold is already in force when the focus reports it.
   *
   * @param {ModReceived} event @param {string[]} changes
   */
  #isNews({ kind }, changes) {
    if (this.#situation.hasFocus) return changes.some((change) => change.endsWith("-on"));
    const takesAway = changes.length > 0 && changes.every((change) => change.endsWith("-off"));
    return !(kind === "mod" && takesAway);
  }

  async #acceptPending() {
    const { pending } = this;
    if (!pending || pending.mine) return;
    const { hasFocus } = this.#situation;
    const leg = pending.restart || !this.leg ? this.#makeLeg() : this.leg;
    pending.leg = leg;
    const prepared = await this.#prepareAnswer(pending, leg);
    if (prepared === null) return;
    // The focus sends media at once. Firefox plays nothing on a section whose audio arrived before the section's
    // description.
    if (hasFocus) await prepared.commit();
    try {
      const { type, sdp } = prepared.description;
      await this.#put("accept-conference-mod", { modId: pending.modId, type, sdp });
    } catch (error) {
      return this.#onAnswerFailed(pending, leg, prepared, error);
    }
    if (!hasFocus) await prepared.commit();
    this.#use(leg);
    this.emit("accepted", pending);
    this.#finish(pending, "accepted");
  }

  /**
   * @param {Modification} pending
   * @param {PeerLeg} leg
   * @returns {Promise<import("./peer.js").PreparedAnswer | null>} null if the offer is unusable; it is then rejected
   */
  async #prepareAnswer(pending, leg) {
    try {
      return await leg.answer(pending.description, this.#wishes(this.holding));
    } catch (error) {
      if (error instanceof CallOver) throw error;
      if (leg !== this.leg) leg.close();
      this.emit("notice", { code: "unusable-offer", error });
      await this.#settlePending({ mine: false, outcome: "rejected" });
      return null;
    }
  }

  /**
   * The enabler refused this side's answer, or cannot be reached.
   *
   * @param {Modification} pending
   * @param {PeerLeg} leg
   * @param {import("./peer.js").PreparedAnswer} prepared
   * @param {unknown} error
   */
  async #onAnswerFailed(pending, leg, prepared, error) {
    const { hasFocus } = this.#situation;
    const isNew = leg !== this.leg;
    if (isNew) leg.close();
    else if (!hasFocus) await prepared.abandon();
    // In a call with a focus, the answer is already in force and cannot be taken back.
    if (error instanceof NetworkError || (hasFocus && !isNew)) this.emit("doubt", null);
    this.#finish(pending, "expired");
    if (!(error instanceof Refusal) || error.code !== "modification-settled") throw error;
    if (hasFocus) this.emit("contradiction", null);
    else this.confirm();
  }

  // ── settling ────────────────────────────────────────────────────────────

  /**
   * Apply an event about a modification. An event that arrives twice changes nothing the second time.
   *
   * @param {NegotiationEvent} event
   */
  async handle(event) {
    await this.#apply(event);
    this.emit("change", null);
  }

  /** @param {NegotiationEvent} event */
  async #apply(event) {
    switch (event.type) {
      case "session-open":
      case "mod-accepted":
        return this.#onAccepted(event);
      case "mod-received":
        return this.#onReceived(event);
      case "mod-rejected":
        return this.#isNotFollowed(event) ? this.#onNotFollowed(event) : this.#onUndone(event, "rejected");
      case "mod-cancelled":
        return this.#onUndone(event, "cancelled");
      case "mod-expired":
        return this.#onUndone(event, "expired");
    }
  }

  /** @param {SessionOpen | ModAccepted} event */
  async #onAccepted(event) {
    const { pending } = this;
    const isAnswer =
      pending?.mine && (event.modId === pending.modId || (event.type === "session-open" && pending.kind === "call"));
    if (!pending || !isAnswer || !pending.leg || !event.description) return;
    await pending.leg.acceptAnswer(event.description);
    this.#use(pending.leg);
    this.holding = pending.holding;
    this.emit("accepted", pending);
    this.#finish(pending, "accepted");
  }

  /**
   * Whether a `mod-rejected` concerns a modification that is already settled here.
   *
   * @param {ModRejected} event
   */
  #isNotFollowed({ modId }) {
    return this.#situation.hasFocus && this.pending?.modId !== modId;
  }

  /**
   * Handle a `mod-rejected` for a settled modification. Either another participant did not follow a change that the
   * focus accepted, or the focus cannot use this side's answer. In the second case both sides start afresh.
   *
   * @param {ModRejected} event
   */
  #onNotFollowed({ modId, participant, kind, from }) {
    if (typeof participant === "object") {
      this.emit("notice", { code: "mine-rejected", kind, who: participant.username });
    } else if (from?.participant === "focus" && modId === this.#settledModId && this.#situation.isOpen) {
      this.emit("doubt", null);
      this.emit("contradiction", null);
    }
  }

  /**
   * @param {ModRejected | ModCancelled | ModExpired} event
   * @param {Outcome} outcome
   */
  async #onUndone(event, outcome) {
    const { pending } = this;
    if (!pending || pending.modId !== event.modId) return;
    const reason = event.type === "mod-rejected" ? event.reason : undefined;
    await this.#undo(pending, outcome);
    const { mine, asking, kind } = pending;
    // A call with a focus cannot continue without an answer to its first offer.
    if (this.#situation.hasFocus && mine && this.leg?.remoteSdp === null)
      return void this.emit("hopeless", reason ?? "media-unavailable");
    if (mine || asking) this.emit("notice", { code: `${mine ? "mine" : "theirs"}-${outcome}`, kind, reason });
  }

  /** @param {{mine: boolean, outcome: "rejected" | "cancelled"}} which */
  async #settlePending({ mine, outcome }) {
    const { pending } = this;
    if (!pending || pending.mine !== mine) return;
    try {
      await this.#put("rejectCancel-conference-mod", { modId: pending.modId });
    } catch (error) {
      // The modification was accepted, or expired, at the same moment. An event that is on its way says which.
      if (error instanceof Refusal && error.code === "modification-settled") return;
      throw error;
    }
    await this.#undo(pending, outcome);
  }

  /**
   * Compare the pending modification with those that are pending at the enabler, after events were lost.
   *
   * @param {WireModification[]} known
   */
  async compare(known) {
    const { pending } = this;
    // While a peer call rings, its modification is pending only here, not at the enabler.
    if (!pending || (pending.kind === "call" && !this.#situation.hasFocus)) return;
    if (known.some(({ modId }) => modId === pending.modId)) return;
    // The event that settled the modification was lost.
    await this.#undo(pending, "expired");
    this.emit("doubt", null);
  }

  /**
   * @param {Modification} pending
   * @param {Outcome} outcome
   */
  async #undo(pending, outcome) {
    if (pending.leg && pending.leg !== this.leg) pending.leg.close();
    else if (pending.mine) await pending.leg?.rollback();
    this.#finish(pending, outcome);
  }

  /**
   * @param {Modification} pending
   * @param {Outcome} outcome
   */
  #finish(pending, outcome) {
    this.#settledModId = pending.modId;
    if (this.pending === pending) this.pending = null;
    pending.settle(outcome);
    this.emit("change", null);
  }

  /** @param {Partial<Modification> & Pick<Modification, "modId" | "kind" | "mine" | "description">} modification */
  #expect(modification) {
    let settle = /** @type {(outcome: Outcome) => void} */ (/** @type {unknown} */ (null));
    const settled = new Promise((/** @type {(outcome: Outcome) => void} */ resolve) => (settle = resolve));
    this.pending = {
      asking: false,
      restart: false,
      holding: false,
      changes: [],
      who: [],
      leg: null,
      expiresAt: null,
      ...modification,
      settled,
      settle,
    };
    this.emit("change", null);
    return this.pending;
  }

  // ── legs ────────────────────────────────────────────────────────────────

  #makeLeg() {
    const leg = this.#newLeg();
    leg.on("media", () => {
      if (leg === this.leg) this.emit("media", null);
    });
    leg.on("connection", (state) => {
      if (leg === this.leg) this.emit("connection", state);
    });
    return leg;
  }

  /** Replace the leg in use by another one. @param {PeerLeg} leg */
  #use(leg) {
    if (leg === this.leg) return;
    this.leg?.close();
    this.#begin(leg);
    this.emit("media", null);
  }

  /** @param {PeerLeg} leg */
  #begin(leg) {
    this.leg = leg;
    this.emit("leg", leg);
  }
}
