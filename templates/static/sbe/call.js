import { Chat } from "./chat.js";
import { Emitter } from "./emitter.js";
import { CallOver, NetworkError, Refusal, SbeError } from "./errors.js";
import { FocusLeg, forwardingChanges } from "./focus.js";
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
 * @typedef {"focus" | "peer"} Topology
 *
 * @typedef {Participant & import("./peer.js").RemoteMedia & {speaking: boolean, interrupted: boolean, weak: boolean}} RemoteParticipant
 * somebody else, with the tracks that come from them now; `interrupted` while the focus does not hear of them, `weak` while too much is lost
 * between them and the focus
 *
 * @typedef {object} Modification the one that is pending, whoever made it
 * @property {string} modId
 * @property {string} kind
 * @property {boolean} mine
 * @property {boolean} asking it waits for this side's person
 * @property {boolean} restart
 * @property {boolean} holding whether this side is on hold once it is accepted
 * @property {string[]} changes what the other side's offer turns on and off
 * @property {string[]} who whose tracks they are, by participant ID, where a focus offers them
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
 * @property {string} [who] the name of whom it is about, where it is not simply the other side
 * @property {unknown} [error]
 *
 * @typedef {object} Surroundings
 * @property {Rest} rest
 * @property {string} conferencesUrl
 * @property {Session} session
 * @property {LocalMedia} media
 * @property {SerialQueue} queue events and negotiations run through it, one at a time
 * @property {{askBeforeAccepting: boolean, holdDirection: "recvonly" | "inactive"}} preferences
 * @property {() => void} closeMedia closes what `media` has open, unless another call uses it
 */

// A second offer waits for the first one to settle, which the enabler bounds at 30 s; and each try may lose the race again.
const GLARE_ATTEMPTS = 8;
const GLARE_WAIT_MS = 31_000;
const ICE_RESTARTS = 3;
// A little longer than the focus waits before it gives up a connection that it has called interrupted, or says again that
// one is poor.
const TROUBLE_MS = 20_000;

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
  /** @type {Topology} */
  topology = "peer";
  /** Whom this side called, as it was dialled: usernames, or numbers as `tel:`. @type {string[]} */
  addresses = [];
  /** Whether this side has placed the call. */
  placed = false;
  /** Who speaks now, by participant ID, as far as the focus tells. @type {string | null} */
  speaker = null;
  /** Whose connection to the focus is in trouble, with the timers after which that counts no more. @type {Map<string, {connection: "poor" | "disconnected", timer: number}>} */
  #troubles = new Map();
  chat = new Chat((participant) => this.others.some(({ id }) => id === participant));
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
    const others = this.conference?.participants.filter(({ id, state }) => id !== this.#myId && !["left", "invited"].includes(state)) ?? [];
    return others.length > 0 && others.every(({ state }) => state === "on-hold" || state === "moving") ? "held" : "open";
  }

  get hasFocus() {
    return this.topology === "focus";
  }

  get me() {
    return this.conference?.participants.find((participant) => participant.id === this.#myId) ?? null;
  }

  /**
   * Everybody else who has a seat or is being rung, in the order of their coming, with their tracks.
   *
   * @returns {RemoteParticipant[]}
   */
  get others() {
    const others = this.conference?.participants.filter(({ id, state }) => id !== this.#myId && state !== "left") ?? [];
    return others.map((participant) => {
      const trouble = this.#troubles.get(participant.id)?.connection;
      return { ...participant, ...this.#tracksOf(participant), speaking: participant.id === this.speaker, interrupted: trouble === "disconnected", weak: trouble === "poor" };
    });
  }

  /** The tracks of the other party. */
  get remote() {
    return this.#tracksOf(this.other);
  }

  /** @param {Participant | null} participant */
  #tracksOf(participant) {
    const { leg } = this;
    if (leg instanceof FocusLeg) return leg.tracksOf(participant?.id ?? "");
    return leg?.remote ?? { audio: null, camera: null, screen: null };
  }

  /** The other party. In `peer` topology there is exactly one; one who left stays named until the call is gone. */
  get other() {
    const others = this.conference?.participants.filter((participant) => participant.id !== this.#myId) ?? [];
    return others.find((participant) => participant.state !== "left") ?? others[0] ?? null;
  }

  /** Whether the other party is between two devices, so that nothing comes from it and nothing can be offered to it. */
  get otherMoves() {
    return !this.hasFocus && this.other?.state === "moving";
  }

  get connection() {
    return this.leg?.pc.connectionState ?? "new";
  }

  // ── starting ────────────────────────────────────────────────────────────

  /**
   * This function will invite addresses with this side's offer. What is sent is what the local media has open.
   *
   * @param {string[]} to usernames, or numbers as `tel:+15550100`
   * @param {{video: boolean, topology: Topology, access?: "invited" | "open", name?: string}} options
   */
  async invite(to, { video, topology, access, name }) {
    this.topology = topology;
    this.addresses = to;
    this.placed = true;
    this.#video = video;
    await this.around.queue.run(async () => {
      const leg = this.#newLeg();
      this.#begin(leg);
      try {
        const offer = await leg.createOffer(this.#wishes());
        const { headers, body } = await this.around.rest.send({
          method: "POST",
          url: this.around.conferencesUrl,
          body: { to, topology, ...(access ? { access } : {}), ...(name ? { name } : {}), ...offer },
        });
        this.#learn(body);
        // Given up while the request was on its way.
        if (this.#phase === "ended") return this.#leave();
        this.#expect({ modId: headers.get("x-mod-id") ?? "", kind: "call", mine: true, description: offer, leg });
      } catch (error) {
        this.#end("not-placed");
        throw error;
      }
    });
  }

  /**
   * This function will answer an invitation: with an answer to the caller's offer, or, for a move and towards a focus,
   * with an offer of its own. An open conference needs no invitation.
   *
   * @param {Pick<WireEvent, "conference" | "description" | "reason">} invitation
   * @param {{video: boolean}} options
   */
  async answer(invitation, { video }) {
    this.#video = video;
    this.conference = invitation.conference ?? null;
    this.topology = this.conference?.topology ?? "peer";
    await this.around.queue.run(async () => {
      const leg = this.#newLeg();
      this.#begin(leg);
      try {
        const offer = invitation.description;
        const mine = offer ? (await leg.answer(offer, this.#wishes())).description : await leg.createOffer(this.#wishes());
        const { headers } = await this.#put("conference-answer", mine);
        await this.reread();
        if (this.#phase === "ended") return;
        this.#open();
        const kind = invitation.reason === "move" ? "move" : "call";
        if (!offer) this.#expect({ modId: headers.get("x-mod-id") ?? "", kind, mine: true, description: mine, leg });
      } catch (error) {
        this.#end("not-answered");
        throw error;
      }
    });
  }

  /**
   * This function will enter an open conference, of which only the ID is known.
   *
   * @param {string} confId
   * @param {{video: boolean}} options
   */
  join(confId, options) {
    const conference = { id: confId, topology: /** @type {const} */ ("focus"), access: "open", name: "", state: /** @type {const} */ ("session-open"), createdAt: "", endedAt: null, participants: [], pendingModifications: [] };
    return this.answer({ conference }, options);
  }

  /**
   * This function will take the seat again after the page was reloaded: the peer connection died with the page, so
   * a new one is offered. Its o= line tells the other side to build a new one as well.
   *
   * @param {Conference} conference
   */
  async rejoin(conference) {
    this.topology = conference.topology;
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
    await this.#unmuteVideo();
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
    await this.#unmuteVideo();
    return this.#orElse(() => this.modify(), () => this.around.media.close("screen"));
  }

  /** What the host has muted, only oneself unmutes. */
  async #unmuteVideo() {
    if (this.me?.muted.video) await this.mute({ video: false });
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

  // ── the others ──────────────────────────────────────────────────────────

  /**
   * This function will mute or unmute what this side sends, and let the others know where a focus can tell them.
   * A microphone is silent at once, whatever becomes of the request.
   *
   * @param {{audio?: boolean, video?: boolean}} wanted
   */
  async mute(wanted) {
    if (wanted.audio !== undefined) this.around.media.muted = wanted.audio;
    if (this.hasFocus && this.me && ["calling", "open"].includes(this.#phase)) await this.muteParticipant(this.#myId, wanted);
  }

  /**
   * This function will mute somebody at the focus. The host mutes others; only they themselves unmute.
   *
   * @param {string} id of the participant
   * @param {{audio?: boolean, video?: boolean}} wanted
   */
  async muteParticipant(id, wanted) {
    await this.around.rest.send({ method: "PUT", url: `${this.#url}/participants/${id}/mute`, body: wanted });
    const participant = this.conference?.participants.find((each) => each.id === id);
    if (participant) this.#learnParticipant({ ...participant, muted: { ...participant.muted, ...wanted } });
    this.emit("change", null);
  }

  /** The host's. @param {string} id of the participant */
  async removeParticipant(id) {
    await this.around.rest.send({ method: "DELETE", url: `${this.#url}/participants/${id}` });
  }

  /** The host's. @param {string} to a username, or a number as `tel:+15550100` */
  async inviteMore(to) {
    const { body } = await this.around.rest.send({ method: "POST", url: `${this.#url}/participants`, body: { to } });
    this.#learnParticipant(body);
    this.emit("change", null);
  }

  /** @param {string} text @returns {boolean} false while it cannot be sent */
  say(text) {
    return this.chat.send(this.#myId, text);
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
    try {
      await this.#apply(event);
    } catch (error) {
      // Whoever hangs up does not wait for what the other side has just begun.
      if (!(error instanceof CallOver)) throw error;
    }
    this.emit("change", null);
  }

  /** @param {WireEvent} event */
  async #apply(event) {
    switch (event.type) {
      case "session-open":
        if (event.description) await this.#onAccepted(event);
        else this.#open();
        break;
      case "mod-accepted":
        await this.#onAccepted(event);
        break;
      case "mod-received":
        await this.#onReceived(event);
        break;
      case "mod-rejected":
        if (!this.#onNotFollowed(event)) await this.#onUndone(event, "rejected");
        break;
      case "mod-cancelled":
        await this.#onUndone(event, "cancelled");
        break;
      case "mod-expired":
        await this.#onUndone(event, "expired");
        break;
      case "participant-left":
        await this.#onLeft(event);
        break;
      case "participant-muted":
        this.#onMuted(event);
        break;
      case "active-speaker":
        this.speaker = typeof event.participant === "string" ? event.participant : null;
        break;
      case "quality":
        this.#onQuality(event);
        break;
      case "move-expired":
        this.emit("notice", { code: "move-expired" });
        break;
      case "session-terminated":
        this.#end(event.reason ?? "terminated");
        break;
    }
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
    if (this.hasFocus && conference.state === "session-open" && this.#phase === "calling") this.#open();
    const { pending } = this;
    const known = conference.pendingModifications.some((/** @type {{modId: string}} */ { modId }) => modId === pending?.modId);
    if (pending && (pending.kind !== "call" || this.hasFocus) && !known) {
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
    try {
      const description = await leg.createOffer(this.#wishes(holding), { iceRestart });
      const { headers } = await this.#put(action, description);
      if (!this.#isOpen()) throw new CallOver();
      return this.#expect({ modId: headers.get("x-mod-id") ?? "", kind, mine: true, holding, description, leg });
    } catch (error) {
      if (leg !== this.leg) leg.close();
      else if (this.#isOpen()) await leg.rollback();
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
    if (pending.kind === "call" && !this.hasFocus) this.#open();
    this.#mark(this.me, pending.kind);
    this.#finish(pending, "accepted");
  }

  /** @param {WireEvent} event */
  async #onReceived(event) {
    const { modId, description } = event;
    if (!modId || !description || modId === this.#lastModId || modId === this.pending?.modId) return;
    // One pending at a time is the enabler's rule: if ours is still open here, its end got lost.
    if (this.pending) await this.#undo(this.pending, "expired");
    const restart = Boolean(event.restart) || !this.leg || (!this.hasFocus && this.leg.comesFromAnotherConnection(description.sdp));
    const before = this.leg?.remoteSdp ?? null;
    const { changes, who } = this.hasFocus ? forwardingChanges(before, description.sdp) : { changes: changesBetween(before, description.sdp), who: [] };
    const asking = this.around.preferences.askBeforeAccepting && !restart && this.#isNews(event, changes);
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

  /**
   * Whether there is anything to ask a person about. Nobody is asked whether the other side may send less; and in a
   * conference somebody's hold is in force already when the focus tells the others.
   *
   * @param {WireEvent} event @param {string[]} changes
   */
  #isNews({ kind }, changes) {
    if (this.hasFocus) return changes.some((change) => change.endsWith("-on"));
    const takesAway = changes.length > 0 && changes.every((change) => change.endsWith("-off"));
    return !(kind === "mod" && takesAway);
  }

  async #acceptPending() {
    const { pending } = this;
    if (!pending || pending.mine) return;
    const old = this.leg;
    const leg = pending.restart || !old ? this.#newLeg() : old;
    pending.leg = leg;
    let prepared;
    try {
      prepared = await leg.answer(pending.description, this.#wishes());
    } catch (error) {
      if (error instanceof CallOver) throw error;
      // An offer that this browser cannot use is refused in words that the other side understands.
      if (leg !== old) leg.close();
      this.emit("notice", { code: "unusable-offer", error });
      return this.#settlePending({ mine: false, outcome: "rejected" });
    }
    // The focus sends at once, and Firefox stays deaf on a line whose sound came before the line was in force again.
    if (this.hasFocus) await prepared.commit();
    try {
      const { type, sdp } = prepared.description;
      await this.#put("accept-conference-mod", { modId: pending.modId, type, sdp });
    } catch (error) {
      if (leg !== old) leg.close();
      else if (!this.hasFocus) await prepared.abandon();
      this.#unsure ||= error instanceof NetworkError || (this.hasFocus && leg === old);
      this.#finish(pending, "expired");
      if (error instanceof Refusal && error.code === "modification-settled") return this.hasFocus ? this.#reconcileSoon() : this.#confirm();
      throw error;
    }
    if (!this.hasFocus) await prepared.commit();
    this.#use(leg);
    // The focus tells for all how somebody's state has changed.
    if (!this.hasFocus) this.#mark(this.other, pending.kind);
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
    // Without its first answer there is nothing that the call could go on with.
    if (this.hasFocus && pending.mine && this.leg?.remoteSdp === null) return this.#giveUp(event.reason ?? "media-unavailable");
    if (pending.mine || pending.asking) {
      this.emit("notice", { code: pending.mine ? `mine-${outcome}` : `theirs-${outcome}`, kind: pending.kind, reason: event.reason });
    }
  }

  /**
   * This function will take note that somebody does not follow a change that the focus has accepted long since; or
   * that the focus cannot use this side's answer, and then both begin anew.
   *
   * @param {WireEvent} event
   * @returns {boolean} whether it was that
   */
  #onNotFollowed({ modId, participant, kind, from }) {
    if (!this.hasFocus || this.pending?.modId === modId) return false;
    if (typeof participant === "object") {
      this.emit("notice", { code: "mine-rejected", kind, who: participant.username });
    } else if (from?.participant === "focus" && modId === this.#lastModId && this.#isOpen()) {
      this.#unsure = true;
      this.#reconcileSoon();
    }
    return true;
  }

  #reconcileSoon() {
    // Not awaited: it runs through the queue, in which this is running.
    this.reconcile().catch((error) => this.emit("notice", { code: "media-lost", error }));
  }

  /** @param {string} reason */
  #giveUp(reason) {
    this.#end(reason);
    this.#leave();
  }

  #leave() {
    this.around.rest.send({ method: "DELETE", url: this.#url }).catch(() => undefined);
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
    this.pending = { asking: false, restart: false, holding: false, changes: [], who: [], leg: null, expiresAt: null, ...modification, settled, settle };
    this.emit("change", null);
    return this.pending;
  }

  // ── knowing ─────────────────────────────────────────────────────────────

  /** @param {Conference} conference */
  #learn(conference) {
    this.conference = conference;
    const mine = conference.participants.filter(({ sessionId }) => sessionId === this.around.session.id);
    // An invitation after one has left makes a second seat. The older one stays vacated.
    const seat = mine.find(({ state }) => state !== "left") ?? mine.at(-1);
    if (seat) this.#myId = seat.id;
    // Muted on another device, or before the page was reloaded.
    if (seat?.muted.audio && !this.around.media.muted) this.around.media.muted = true;
  }

  /** @param {Participant} participant */
  #learnParticipant(participant) {
    const { conference } = this;
    if (!conference) return;
    const { participants } = conference;
    const isNew = participants.every(({ id }) => id !== participant.id);
    // Everybody keeps their place.
    const now = isNew ? [...participants, participant] : participants.map((each) => (each.id === participant.id ? participant : each));
    this.conference = { ...conference, participants: now };
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
  async #onLeft(event) {
    const left = typeof event.participant === "object" ? event.participant : null;
    const reason = event.reason ?? "removed";
    if (left?.id !== this.#myId) {
      // Whoever comes back to this seat has a connection of its own.
      this.#forgetTrouble(left?.id);
      if (left && this.hasFocus) this.emit("notice", { code: "left", reason, who: left.username });
      return;
    }
    if (this.hasFocus && this.#phase !== "moving" && (await this.#stillSits())) return;
    // While moving it is one's own other device that did not answer, or declined.
    this.#end(this.#phase === "moving" ? `move-${reason}` : reason);
  }

  /** Whether the enabler has this device in its seat: an event read late may tell of an earlier stay there. */
  async #stillSits() {
    try {
      const { body } = await this.around.rest.send({ method: "GET", url: this.#url });
      this.#learn(body);
    } catch {
      return false;
    }
    return this.me?.sessionId === this.around.session.id && this.me.state !== "left";
  }

  /** @param {string | undefined} participant */
  #forgetTrouble(participant) {
    if (participant === undefined) return;
    clearTimeout(this.#troubles.get(participant)?.timer);
    this.#troubles.delete(participant);
  }

  /**
   * The connection of somebody else to the focus broke, is poor, or is fine again. That it is fine may be missed, and the
   * focus waits for 15 s only, or says again that it is poor: so this is not believed for ever.
   *
   * @param {WireEvent} event
   */
  #onQuality({ participant, connection }) {
    if (typeof participant !== "string") return;
    this.#forgetTrouble(participant);
    if (connection !== "disconnected" && connection !== "poor") return;
    const forget = () => {
      this.#troubles.delete(participant);
      this.emit("change", null);
    };
    this.#troubles.set(participant, { connection, timer: setTimeout(forget, TROUBLE_MS) });
  }

  /**
   * Muted by the host: what is withheld at the focus is not captured here either.
   *
   * @param {WireEvent} event
   */
  #onMuted({ participant }) {
    if (typeof participant !== "object" || participant.id !== this.#myId) return;
    const { media } = this.around;
    const { audio, video } = participant.muted;
    if (audio && !media.muted) {
      media.muted = true;
      this.emit("notice", { code: "muted-by-host", kind: "audio" });
    }
    if (video && (media.camera || media.screen)) {
      media.close("camera");
      media.close("screen");
      this.#confirm();
      this.emit("notice", { code: "muted-by-host", kind: "video" });
    }
  }

  #open() {
    if (this.#phase === "ended") return;
    this.#phase = "open";
    this.openedAt ??= new Date();
    if (this.#unsure) this.#reconcileSoon();
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
    this.around.closeMedia();
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
    // Towards a focus the first video line is the camera's by its place, so it is always there.
    const video = this.#video || this.hasFocus;
    return { audio: media.microphone, camera: media.camera, screen: media.screen, video, hold: holding ? preferences.holdDirection : null };
  }

  #newLeg() {
    const leg = this.hasFocus ? new FocusLeg(this.around.session.iceServers) : new PeerLeg(this.around.session.iceServers);
    leg.on("media", () => {
      if (leg === this.leg) this.emit("media", this.remote);
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
    this.#begin(leg);
    this.emit("media", this.remote);
  }

  /** Takes the place of `leg`, and its channel that of the old one's. @param {PeerLeg} leg */
  #begin(leg) {
    this.leg = leg;
    if (leg instanceof FocusLeg) this.chat.attach(leg.chat);
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
    if (!this.hasFocus && this.me?.role !== "host") await sleep(3_000);
    if (leg !== this.leg || this.connection !== "failed" || !this.#isOpen()) return;
    try {
      // A focus that knows this connection no more needs a new one.
      if (this.hasFocus && this.#restarts > 1) await this.#startAfresh();
      else await this.modify({ iceRestart: true });
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
