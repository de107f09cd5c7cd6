import { Emitter } from "./emitter.js";
import { NetworkError, Refusal, SbeError } from "./errors.js";
import { PeerLeg } from "./peer.js";
import { changesBetween } from "./sdp.js";
import { sleep } from "./waiting.js";

/**
 * @typedef {import("./types.js").Conference} Conference
 * @typedef {import("./types.js").Description} Description
 * @typedef {import("./types.js").Participant} Participant
 * @typedef {import("./types.js").Session} Session
 * @typedef {import("./types.js").WireEvent} WireEvent
 * @typedef {import("./rest.js").Rest} Rest
 * @typedef {import("./media.js").LocalMedia} LocalMedia
 * @typedef {import("./waiting.js").SerialQueue} SerialQueue
 * @typedef {import("./peer.js").Wishes} Wishes
 *
 * @typedef {"calling" | "open" | "on-hold" | "held" | "moving" | "moved" | "ended"} CallState
 * @typedef {"accepted" | "rejected" | "cancelled" | "expired" | "ended"} Outcome
 *
 * @typedef {object} Modification the one that is pending, whoever made it
 * @property {string} modId
 * @property {string} kind
 * @property {boolean} mine
 * @property {boolean} asking it waits for this side's person
 * @property {boolean} restart
 * @property {boolean} holding whether this side is on hold once it is accepted
 * @property {string[]} changes what the other side's offer turns on and off
 * @property {Description} description
 * @property {PeerLeg | null} leg the leg that made the offer, for one's own
 * @property {string | null} expiresAt
 * @property {Promise<Outcome>} settled
 * @property {(outcome: Outcome) => void} settle
 *
 * @typedef {object} Notice something that a person should be told once
 * @property {string} code
 * @property {string} [kind]
 * @property {string} [reason]
 * @property {unknown} [error]
 *
 * @typedef {object} Surroundings
 * @property {Rest} rest
 * @property {string} conferencesUrl
 * @property {Session} session
 * @property {LocalMedia} media
 * @property {SerialQueue} queue events and negotiations run through it, one at a time
 * @property {{askBeforeAccepting: boolean, holdDirection: "recvonly" | "inactive"}} preferences
 */

// A second offer waits for the first one to settle, which the enabler bounds at 30 s; and each try may lose the race again.
const GLARE_ATTEMPTS = 8;
const GLARE_WAIT_MS = 31_000;
const ICE_RESTARTS = 3;

/**
 * This session's seat in one conference: its peer connection, its pending modification, and what it knows of the others.
 *
 * @extends {Emitter<{change: null, notice: Notice, media: import("./peer.js").RemoteMedia}>}
 */
export class Call extends Emitter {
  /** @type {Conference | null} */
  conference = null;
  /** @type {PeerLeg | null} */
  leg = null;
  /** @type {Modification | null} */
  pending = null;
  /** @type {"calling" | "open" | "moving" | "moved" | "ended"} */
  #phase = "calling";
  #video = false;
  #holding = false;
  #myId = "";
  #lastModId = "";
  #restarts = 0;
  #unsure = false;
  /** Why it ended, as the enabler put it, or `here` when this side ended it. */
  endReason = "";
  /** Whom this side called, until the conference says it better. */
  to = "";
  /** The same, as it was dialled: a username, or a number as `tel:`. */
  address = "";
  /** @type {string | null} */
  movedTo = null;
  /** Until when a move rings, as the enabler told. @type {string | null} */
  ringsUntil = null;
  /** @type {Date | null} */
  openedAt = null;

  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    super();
    this.around = surroundings;
    this.#unlisten = surroundings.media.on("change", () => void this.leg?.setTracks(this.#wishes()));
  }

  #unlisten;

  get confId() {
    return this.conference?.id ?? null;
  }

  /** @returns {CallState} */
  get state() {
    if (this.#phase !== "open") return this.#phase;
    if (this.me?.state === "on-hold") return "on-hold";
    return this.otherMoves || this.other?.state === "on-hold" ? "held" : "open";
  }

  get me() {
    return this.conference?.participants.find((participant) => participant.id === this.#myId) ?? null;
  }

  /** The other party. In `peer` topology there is exactly one; one who left stays named until the call is gone. */
  get other() {
    const others = this.conference?.participants.filter((participant) => participant.id !== this.#myId) ?? [];
    return others.find((participant) => participant.state !== "left") ?? others[0] ?? null;
  }

  /** Whether the other party is between two devices, so that nothing comes from it and nothing can be offered to it. */
  get otherMoves() {
    return this.other?.state === "moving";
  }

  get connection() {
    return this.leg?.pc.connectionState ?? "new";
  }

  // ── starting ────────────────────────────────────────────────────────────

  /**
   * This function will invite an address with this side's offer. What is sent is what the local media has open.
   *
   * @param {string} to a username, or a number as `tel:+15550100`
   * @param {{video: boolean, name?: string}} options
   */
  async invite(to, { video, name }) {
    this.address = to;
    this.to = to.replace(/^tel:/, "");
    this.#video = video;
    await this.around.queue.run(async () => {
      const leg = this.#newLeg();
      this.leg = leg;
      try {
        const offer = await leg.createOffer(this.#wishes());
        const { headers, body } = await this.around.rest.send({
          method: "POST",
          url: this.around.conferencesUrl,
          body: { to: [to], topology: "peer", ...(name ? { name } : {}), ...offer },
        });
        this.#learn(body);
        this.#expect({ modId: headers.get("x-mod-id") ?? "", kind: "call", mine: true, description: offer, leg });
      } catch (error) {
        this.#end("not-placed");
        throw error;
      }
    });
  }

  /**
   * This function will answer an invitation: with an answer to the caller's offer, or, for a move, with an offer of its own.
   *
   * @param {WireEvent} invitation
   * @param {{video: boolean}} options
   */
  async answer(invitation, { video }) {
    this.#video = video;
    this.conference = invitation.conference ?? null;
    await this.around.queue.run(async () => {
      const leg = this.#newLeg();
      this.leg = leg;
      try {
        const offer = invitation.description;
        const mine = offer ? (await leg.answer(offer, this.#wishes())).description : await leg.createOffer(this.#wishes());
        const { headers } = await this.#put("conference-answer", mine);
        await this.reread();
        this.#open();
        if (!offer) this.#expect({ modId: headers.get("x-mod-id") ?? "", kind: "move", mine: true, description: mine, leg });
      } catch (error) {
        this.#end("not-answered");
        throw error;
      }
    });
  }

  /**
   * This function will take the seat again after the page was reloaded: the peer connection died with the page, so
   * a new one is offered. Its o= line tells the other side to build a new one as well.
   *
   * @param {Conference} conference
   */
  async rejoin(conference) {
    this.#learn(conference);
    this.#open();
    this.#holding = this.me?.state === "on-hold";
    this.#video = this.around.media.camera !== null;
    for (const { modId } of conference.pendingModifications) await this.#put("rejectCancel-conference-mod", { modId });
    await this.#startAfresh();
  }

  // ── changing ────────────────────────────────────────────────────────────

  /**
   * This function will offer what the local media has open now, and return how the offer was settled.
   *
   * @param {{iceRestart?: boolean}} [options]
   * @returns {Promise<Outcome>}
   */
  async modify({ iceRestart = false } = {}) {
    const modification = await this.#offer({ action: "initiate-conference-mod", kind: "mod", holding: this.#holding, iceRestart });
    return modification.settled;
  }

  /**
   * This function will open the camera and send it: by itself where the m-line already allows it, else by a modification.
   *
   * @returns {Promise<Outcome>}
   */
  async addVideo() {
    await this.around.media.openCamera();
    if (this.leg?.maySend("camera") || this.state === "on-hold") return "accepted";
    const video = this.#video;
    this.#video = true;
    return this.#orElse(
      () => this.modify(),
      () => {
        this.#video = video;
        this.around.media.close("camera");
      },
    );
  }

  /**
   * This function will turn the camera off, which needs no one's consent. The other side is told by a modification, so that it
   * need not take the last picture for a live one; whether it settles that or not changes nothing here.
   *
   * @returns {Promise<void>}
   */
  async stopVideo() {
    this.around.media.close("camera");
    if (this.state === "on-hold" || !this.leg?.maySend("camera")) return;
    try {
      await this.modify();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  /** @returns {Promise<Outcome>} */
  async shareScreen() {
    await this.around.media.openScreen();
    return this.#orElse(() => this.modify(), () => this.around.media.close("screen"));
  }

  /** @returns {Promise<Outcome>} */
  async stopScreen() {
    this.around.media.close("screen");
    return this.#phase === "open" && this.leg?.maySend("screen") ? this.modify() : "accepted";
  }

  /** @returns {Promise<Outcome>} */
  hold() {
    // From the press of the button nothing is sent any more, whenever the other side accepts.
    this.around.media.paused = true;
    return this.#orElse(
      async () => (await this.#offer({ action: "initiate-conference-hold", kind: "hold", holding: true })).settled,
      () => (this.around.media.paused = this.#holding),
    );
  }

  /** @returns {Promise<Outcome>} */
  async resume() {
    const modification = await this.#offer({ action: "initiate-conference-resume", kind: "resume", holding: false });
    return modification.settled;
  }

  /**
   * This function will move the seat to another device of the same user: hold, then end this leg within the move window (5 s).
   *
   * @returns {Promise<{outcome: string, moveRefused?: string}>}
   */
  async move() {
    this.around.media.paused = true;
    try {
      await this.#offer({ action: "initiate-call-hold", kind: "hold", holding: true });
    } catch (error) {
      this.around.media.paused = this.#holding;
      throw error;
    }
    return this.around.queue.run(async () => {
      const { body } = await this.around.rest.send({ method: "DELETE", url: this.#url });
      if (body?.outcome === "moving") this.#handOver(body.ringsUntil);
      else this.#end(body?.moveRefused ?? "here");
      return { outcome: body?.outcome, moveRefused: body?.moveRefused };
    });
  }

  /** Accepts the modification that the other side waits for. @returns {Promise<void>} */
  accept() {
    return this.around.queue.run(() => this.#acceptPending());
  }

  /** @returns {Promise<void>} */
  reject() {
    return this.around.queue.run(() => this.#settlePending({ mine: false, outcome: "rejected" }));
  }

  /** Takes back one's own pending modification. @returns {Promise<void>} */
  cancel() {
    return this.around.queue.run(() => this.#settlePending({ mine: true, outcome: "cancelled" }));
  }

  /** Ends the call here at once; the enabler is told as soon as it can be reached. @returns {Promise<void>} */
  async hangUp() {
    const url = this.confId ? this.#url : null;
    this.#end("here");
    if (url === null) return;
    try {
      await this.around.rest.send({ method: "DELETE", url });
    } catch (error) {
      // Someone else ended it first: that is what was wanted.
      if (!(error instanceof Refusal && (error.status === 404 || error.status === 409))) throw error;
    }
  }

  /**
   * This function will end the call on this side only, because the enabler will not hear of it any more.
   *
   * @param {string} reason
   */
  abandon(reason) {
    this.#end(reason);
  }

  // ── what the enabler tells ──────────────────────────────────────────────

  /**
   * This function will apply one event. It runs inside the queue, and an event that comes twice changes nothing.
   *
   * @param {WireEvent} event
   */
  async handle(event) {
    if (this.#phase === "ended") return;
    if (event.conference) this.#learn(event.conference);
    if (typeof event.participant === "object") this.#learnParticipant(event.participant);
    switch (event.type) {
      case "session-open":
      case "mod-accepted":
        await this.#onAccepted(event);
        break;
      case "mod-received":
        await this.#onReceived(event);
        break;
      case "mod-rejected":
        await this.#onUndone(event, "rejected");
        break;
      case "mod-cancelled":
        await this.#onUndone(event, "cancelled");
        break;
      case "mod-expired":
        await this.#onUndone(event, "expired");
        break;
      case "participant-left":
        this.#onLeft(event);
        break;
      case "move-expired":
        this.emit("notice", { code: "move-expired" });
        break;
      case "session-terminated":
        this.#end(event.reason ?? "terminated");
        break;
    }
    this.emit("change", null);
  }

  /** This function will compare with what the enabler holds, after events were lost or an answer never came. */
  async reread() {
    if (this.confId === null || this.#phase === "ended") return;
    let conference;
    try {
      conference = (await this.around.rest.send({ method: "GET", url: this.#url })).body;
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) return this.#end("elsewhere");
      throw error;
    }
    this.#learn(conference);
    if (conference.state === "session-terminated") return this.#end("elsewhere");
    if (this.me?.sessionId && this.me.sessionId !== this.around.session.id) return this.#handedOver(this.me);
    const { pending } = this;
    const known = conference.pendingModifications.some((/** @type {{modId: string}} */ { modId }) => modId === pending?.modId);
    if (pending && pending.kind !== "call" && !known) {
      // It was settled while nobody listened, and nobody can tell how: undo it here and begin anew.
      await this.#undo(pending, "expired");
      this.#unsure = true;
    }
    this.emit("change", null);
  }

  /** This function will make both sides agree again where a lost answer left it open whether they do. */
  async reconcile() {
    if (!this.#unsure || this.#phase !== "open") return;
    this.#unsure = false;
    await this.#startAfresh();
  }

  // ── offers ──────────────────────────────────────────────────────────────

  async #startAfresh() {
    const offer = { action: "initiate-conference-mod", kind: "mod", holding: this.#holding, fresh: true };
    return (await this.#offer(offer)).settled;
  }

  /**
   * This function will offer, and settle glare the way the protocol rules it: the enabler lets exactly one of two
   * offers win; the loser rolls back, lets the winner's be settled and offers again after a random pause
   * (compare RFC 3261 section 14.1).
   *
   * @param {{action: string, kind: string, holding: boolean, iceRestart?: boolean, fresh?: boolean}} plan
   * @returns {Promise<Modification>}
   */
  async #offer(plan) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.around.queue.run(() => this.#offerOnce(plan));
      } catch (error) {
        if (!(error instanceof Refusal) || error.code !== "modification-pending" || attempt + 1 === GLARE_ATTEMPTS) throw error;
        await this.#untilSettled(Number(error.fields.retryAfterMs) || 0);
        await sleep(50 + Math.random() * 150 * (attempt + 1));
      }
    }
  }

  /** @param {{action: string, kind: string, holding: boolean, iceRestart?: boolean, fresh?: boolean}} plan */
  async #offerOnce({ action, kind, holding, iceRestart = false, fresh = false }) {
    if (this.#phase !== "open") throw new SbeError("The call is not open.");
    // As the enabler would answer: there is nobody who could settle it.
    if (this.otherMoves) throw new Refusal({ status: 409, code: "participant-moving", detail: "The other side is moving to another device." });
    if (this.pending) throw new Refusal({ status: 409, code: "modification-pending", detail: "Another change is still being settled." });
    const leg = fresh || !this.leg ? this.#newLeg() : this.leg;
    const undo = () => (leg === this.leg ? leg.rollback() : leg.close());
    try {
      const description = await leg.createOffer(this.#wishes(holding), { iceRestart });
      const { headers } = await this.#put(action, description);
      return this.#expect({ modId: headers.get("x-mod-id") ?? "", kind, mine: true, holding, description, leg });
    } catch (error) {
      if (this.#isOpen()) await undo();
      if (error instanceof NetworkError) this.#unsure = true;
      throw error;
    }
  }

  #isOpen() {
    return this.#phase === "open";
  }

  /** @param {number} retryAfterMs how long the pending one may still take, when the enabler said so */
  async #untilSettled(retryAfterMs) {
    const stop = new AbortController();
    // Its event may still be on the way: look again on every change.
    const off = this.on("change", () => {
      if (this.pending === null) stop.abort();
    });
    const limit = this.pending ? GLARE_WAIT_MS : Math.min(Math.max(retryAfterMs, 200), 2_000);
    await sleep(limit, stop.signal);
    off();
  }

  // ── settling ────────────────────────────────────────────────────────────

  /** @param {WireEvent} event */
  async #onAccepted(event) {
    const { pending } = this;
    const isAnswer = pending?.mine && (event.modId === pending.modId || (event.type === "session-open" && pending.kind === "call"));
    if (!pending || !isAnswer || !pending.leg || !event.description) return;
    await pending.leg.acceptAnswer(event.description);
    this.#use(pending.leg);
    this.#holding = pending.holding;
    this.around.media.paused = pending.holding;
    if (pending.kind === "call") this.#open();
    this.#mark(this.me, pending.kind);
    this.#finish(pending, "accepted");
  }

  /** @param {WireEvent} event */
  async #onReceived(event) {
    const { modId, description } = event;
    if (!modId || !description || modId === this.#lastModId || modId === this.pending?.modId) return;
    // One pending at a time is the enabler's rule: if ours is still open here, its end got lost.
    if (this.pending) await this.#undo(this.pending, "expired");
    const restart = Boolean(event.restart) || !this.leg || this.leg.comesFromAnotherConnection(description.sdp);
    const changes = changesBetween(this.leg?.remoteSdp ?? null, description.sdp);
    const takesAway = changes.length > 0 && changes.every((change) => change.endsWith("-off"));
    // Nobody is asked whether the other side may send less.
    const asking = this.around.preferences.askBeforeAccepting && !restart && !(event.kind === "mod" && takesAway);
    this.#expect({
      modId,
      kind: event.kind ?? "mod",
      mine: false,
      asking,
      restart,
      description,
      changes,
      expiresAt: event.expiresAt ?? null,
    });
    if (!asking) await this.#acceptPending();
  }

  async #acceptPending() {
    const { pending } = this;
    if (!pending || pending.mine) return;
    const old = this.leg;
    const leg = pending.restart || !old ? this.#newLeg() : old;
    let prepared;
    try {
      prepared = await leg.answer(pending.description, this.#wishes());
    } catch (error) {
      // An offer that this browser cannot use is refused in words that the other side understands.
      if (leg !== old) leg.close();
      this.emit("notice", { code: "unusable-offer", error });
      return this.#settlePending({ mine: false, outcome: "rejected" });
    }
    try {
      const { type, sdp } = prepared.description;
      await this.#put("accept-conference-mod", { modId: pending.modId, type, sdp });
    } catch (error) {
      if (leg === old) await prepared.abandon();
      else leg.close();
      if (error instanceof NetworkError) this.#unsure = true;
      this.#finish(pending, "expired");
      if (error instanceof Refusal && error.code === "modification-settled") return this.#confirm();
      throw error;
    }
    await prepared.commit();
    this.#use(leg);
    this.#mark(this.other, pending.kind);
    this.#finish(pending, "accepted");
  }

  /**
   * This function will offer what is in force once more. An offer that was taken back while it was being answered had to be
   * rolled back here, and a browser that stopped sending for it starts again only when a description says so.
   */
  #confirm() {
    if (this.#phase !== "open") return;
    // Not awaited: it runs through the queue, in which this is running. A refusal is no loss: the call is over, or is being moved.
    this.modify().catch((error) => {
      if (!(error instanceof Refusal)) this.emit("notice", { code: "failed", error });
    });
  }

  /** @param {{mine: boolean, outcome: "rejected" | "cancelled"}} which */
  async #settlePending({ mine, outcome }) {
    const { pending } = this;
    if (!pending || pending.mine !== mine) return;
    try {
      await this.#put("rejectCancel-conference-mod", { modId: pending.modId });
    } catch (error) {
      // Accepted, or expired, in the same instant: its event is on the way and says which.
      if (error instanceof Refusal && error.code === "modification-settled") return;
      throw error;
    }
    await this.#undo(pending, outcome);
  }

  /**
   * @param {WireEvent} event
   * @param {Outcome} outcome
   */
  async #onUndone(event, outcome) {
    const { pending } = this;
    if (!pending || pending.modId !== event.modId) return;
    await this.#undo(pending, outcome);
    if (pending.mine || pending.asking) {
      this.emit("notice", { code: pending.mine ? `mine-${outcome}` : `theirs-${outcome}`, kind: pending.kind, reason: event.reason });
    }
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
    this.#lastModId = pending.modId;
    if (this.pending === pending) this.pending = null;
    pending.settle(outcome);
    this.emit("change", null);
  }

  /** @param {Partial<Modification> & Pick<Modification, "modId" | "kind" | "mine" | "description">} modification */
  #expect(modification) {
    let settle = (/** @type {Outcome} */ _outcome) => {};
    const settled = new Promise((/** @type {(outcome: Outcome) => void} */ resolve) => (settle = resolve));
    this.pending = { asking: false, restart: false, holding: false, changes: [], leg: null, expiresAt: null, ...modification, settled, settle };
    this.emit("change", null);
    return this.pending;
  }

  // ── knowing ─────────────────────────────────────────────────────────────

  /** @param {Conference} conference */
  #learn(conference) {
    this.conference = conference;
    const mine = conference.participants.find(({ sessionId }) => sessionId === this.around.session.id);
    if (mine) this.#myId = mine.id;
  }

  /** @param {Participant} participant */
  #learnParticipant(participant) {
    const { conference } = this;
    if (!conference) return;
    const others = conference.participants.filter(({ id }) => id !== participant.id);
    this.conference = { ...conference, participants: [...others, participant] };
    if (participant.sessionId === this.around.session.id) this.#myId = participant.id;
    const elsewhere = participant.sessionId !== null && participant.sessionId !== this.around.session.id;
    if (participant.id === this.#myId && elsewhere) this.#handedOver(participant);
  }

  /** @param {Participant | null} participant @param {string} kind of the modification that was accepted */
  #mark(participant, kind) {
    const state = kind === "hold" ? "on-hold" : kind === "resume" ? "accepted" : null;
    if (participant && state) this.#learnParticipant({ ...participant, state });
  }

  /** @param {WireEvent} event */
  #onLeft(event) {
    const left = typeof event.participant === "object" ? event.participant : null;
    if (left?.id !== this.#myId) return;
    const reason = event.reason ?? "removed";
    // While moving it is one's own other device that did not answer, or declined.
    this.#end(this.#phase === "moving" ? `move-${reason}` : reason);
  }

  #open() {
    this.#phase = "open";
    this.openedAt ??= new Date();
    this.emit("change", null);
  }

  /** @param {string | undefined} ringsUntil */
  #handOver(ringsUntil) {
    this.#phase = "moving";
    this.ringsUntil = ringsUntil ?? null;
    this.#releaseMedia();
    this.emit("change", null);
  }

  /** @param {Participant} participant */
  #handedOver(participant) {
    if (this.#phase === "moved") return;
    this.#phase = "moved";
    this.movedTo = participant.device ?? null;
    this.#releaseMedia();
    this.emit("change", null);
  }

  /** @param {string} reason */
  #end(reason) {
    if (this.#phase === "ended") return;
    this.endReason = reason;
    this.#phase = "ended";
    this.#releaseMedia();
    this.emit("change", null);
  }

  #releaseMedia() {
    this.#unlisten();
    const { pending } = this;
    this.pending = null;
    if (pending?.leg && pending.leg !== this.leg) pending.leg.close();
    this.leg?.close();
    this.around.media.closeAll();
    pending?.settle("ended");
  }

  // ── plumbing ────────────────────────────────────────────────────────────

  get #url() {
    return `${this.around.conferencesUrl}/${this.confId}`;
  }

  /** @param {string} action @param {object} body */
  #put(action, body) {
    return this.around.rest.send({ method: "PUT", url: this.#url, action, body });
  }

  /** @returns {Wishes} */
  #wishes(holding = this.#holding) {
    const { media, preferences } = this.around;
    return { audio: media.microphone, camera: media.camera, screen: media.screen, video: this.#video, hold: holding ? preferences.holdDirection : null };
  }

  #newLeg() {
    const leg = new PeerLeg(this.around.session.iceServers);
    leg.on("media", (remote) => {
      if (leg === this.leg) this.emit("media", remote);
    });
    leg.on("connection", (state) => {
      if (leg !== this.leg) return;
      if (state === "connected") this.#restarts = 0;
      if (state === "failed") void this.#restartIce(leg);
      this.emit("change", null);
    });
    return leg;
  }

  /** @param {PeerLeg} leg */
  #use(leg) {
    if (leg === this.leg) return;
    this.leg?.close();
    this.leg = leg;
    this.emit("media", leg.remote);
  }

  /**
   * This function will offer an ICE restart (RFC 8829 section 3.5.1) on a path that broke. Both sides see it break; the host goes first.
   * Whoever moves has closed this connection for good, and brings another one: that is no path that broke.
   *
   * @param {PeerLeg} leg
   */
  async #restartIce(leg) {
    if (this.otherMoves) return;
    if (this.#restarts >= ICE_RESTARTS) return this.emit("notice", { code: "media-lost" });
    this.#restarts += 1;
    if (this.me?.role !== "host") await sleep(3_000);
    if (leg !== this.leg || this.connection !== "failed" || !this.#isOpen()) return;
    try {
      await this.modify({ iceRestart: true });
    } catch (error) {
      // It began to move in the meantime.
      if (error instanceof Refusal && error.code === "participant-moving") return;
      this.emit("notice", { code: "media-lost", error });
    }
  }

  /**
   * @param {() => Promise<Outcome>} attempt
   * @param {() => void} otherwise runs unless the outcome is `accepted`
   */
  async #orElse(attempt, otherwise) {
    /** @type {Outcome | null} */
    let outcome = null;
    try {
      outcome = await attempt();
      return outcome;
    } finally {
      if (outcome !== "accepted") otherwise();
    }
  }
}
